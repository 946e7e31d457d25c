"""Declare every setting once: type, default, check, option, help text, panel, completion, manual.

The command line (cli/options.py), the variables and the files (config/settings.py), the help and a test
of the manual read these declarations. To add a setting, add a field to ``Settings``, use it, and
describe it in man/sshrender-render.1 under the marker that ``Declared.manual_marker`` returns.

No pydantic and no ``from __future__ import annotations`` here: ``--help`` imports this module and needs
the types themselves.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from sshrender.config import settingvalues
from sshrender.config.declarationtypes import FOREGROUND, NEW_JOBS, NOWHERE, Declared, Panel, setting
from sshrender.config.units import parse_duration, parse_size, show_duration, show_size

if TYPE_CHECKING:
    from sshrender.config.recipes import RecipeSettings

# ``parse`` reads what users type, and ``show`` writes a default in the same form.
DURATION = {"metavar": "TIME", "parse": parse_duration, "show": show_duration}
SIZE = {"metavar": "SIZE", "parse": parse_size, "show": show_size}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, in the order of ``--help``: within a panel the most used first."""

    output: Path | None = setting(
        None,
        "Deliver the pages into this folder.",
        Panel.FILES,
        metavar="DIR",
        example="pages",
        short="-o",
        default_text="<stem>-pages/",
    )
    overwrite: bool = setting(
        False,
        "Replace the pages of another document or of other settings in that folder.",
        Panel.FILES,
    )
    pages: str | None = setting(
        None,
        "Render only these pages: 1-10,15,20-, odd, even; ^3: not page 3.",
        Panel.FILES,
        metavar="LIST",
        example="1-10,15",
        default_text="all pages",
        commands=NEW_JOBS,
        check=settingvalues.page_list,
    )
    password_file: Path | None = setting(
        None,
        "Read the PDF's password from the first line of this file.",
        Panel.FILES,
        metavar="FILE",
        example="password.txt",
        default_text="no password",
        goes_with_job=True,
    )
    assemble: Literal["pdf", "tiff", "zip", "cbz"] | None = setting(
        None,
        "Also make one file of all pages.",
        Panel.FILES,
        default_text="no such file",
        goes_with_job=True,
    )
    overview: bool = setting(
        True,
        "Make thumbnails, and write an HTML page that shows all of them.",
        Panel.FILES,
        goes_with_job=True,
    )
    overview_embed: bool = setting(
        False,
        "Also write one HTML file that contains its thumbnails, next to the pages. It can be mailed.",
        Panel.FILES,
        goes_with_job=True,
    )
    split: str = setting(
        "none",
        "Cut a very large PDF into parts of N pages.",
        Panel.FILES,
        metavar="none|auto|N",
        commands=NEW_JOBS,
        # Text, because none and auto are words.
        parse=settingvalues.part_size,
    )

    hosts: Path | None = setting(
        None,
        "Read the hosts from this file, the inventory.",
        Panel.HOSTS,
        metavar="FILE",
        example="hosts.toml",
        default_text="the first hosts.toml found",
    )
    on: str | None = setting(
        None,
        "Use only these hosts, as in node[01-16],big.",
        Panel.HOSTS,
        metavar="NODESET",
        example="node1,node2",
        default_text="all hosts",
        completion="hosts",
        goes_with_job=True,
    )
    avoid: str | None = setting(
        None,
        "Do not use these hosts.",
        Panel.HOSTS,
        metavar="NODESET",
        example="node3",
        default_text="no host",
        completion="hosts",
        goes_with_job=True,
    )
    engine: str | None = setting(
        None,
        "Use only this pool of the inventory: the hosts that its batch system lends.",
        Panel.HOSTS,
        metavar="POOL",
        example="cluster",
        default_text="all pools and hosts",
        goes_with_job=True,
    )
    pin: tuple[str, ...] = setting(
        (),
        "Render these pages only on these hosts: 1-3=node[01-04]. May be repeated.",
        Panel.HOSTS,
        metavar="LIST=NODESET",
        example="1-3=node1",
        default_text="any host",
        goes_with_job=True,
        parse=settingvalues.pins,
    )
    mixed: bool = setting(
        False,
        "Also use hosts whose test page looks different.",
        Panel.HOSTS,
        goes_with_job=True,
    )
    san: Path | None = setting(
        None,
        "Use this shared folder: its path on this machine.",
        Panel.HOSTS,
        metavar="DIR",
        example="/san/sshrender",
        default_text="as in the inventory",
    )
    ssh_config: Path | None = setting(
        None,
        "Read this file instead of the user's ssh_config.",
        Panel.HOSTS,
        metavar="FILE",
        example="~/.ssh/config",
        default_text="~/.ssh/config",
    )

    # A number, or a text if both directions differ; settingvalues.resolution makes it one of them.
    dpi: float | str = setting(
        150,
        "Resolution in dots per inch; two if they differ: 204x98.",
        Panel.RENDERING,
        metavar="N",
        short="-r",
        # A resolution is a part of the job's name, so resume cannot change it.
        commands=NEW_JOBS,
        parse=settingvalues.resolution,
    )
    device: str = setting(
        "png16m",
        "Ghostscript raster device, which decides the file format.",
        Panel.RENDERING,
        metavar="NAME",
        completion="devices",
        commands=NEW_JOBS,
        check=settingvalues.known_device,
    )
    antialias: Literal["auto", "none", "2", "4"] = setting(
        "auto",
        "Smooth text and graphics; auto: 4 up to 200 dpi, on devices with 8 bits per colour.",
        Panel.RENDERING,
        commands=NEW_JOBS,
    )
    box: Literal["media", "crop", "trim", "bleed", "art"] | None = setting(
        None,
        "Render this box of each page.",
        Panel.RENDERING,
        default_text="media; a recipe's own",
        commands=NEW_JOBS,
    )
    size: str | None = setting(
        None,
        "Fit each page into this size: A4, 210x297mm, 1240x1754px.",
        Panel.RENDERING,
        metavar="SIZE",
        example="A4",
        default_text="the page's own size",
        commands=NEW_JOBS,
        check=settingvalues.page_size,
    )
    jpeg_quality: int | None = setting(
        None,
        "Quality of JPEG files, 0 to 100.",
        Panel.RENDERING,
        metavar="N",
        example="90",
        default_text="75",
        commands=NEW_JOBS,
        limits={"ge": 0, "le": 100},
    )
    encoder: Literal["auto", "ghostscript"] = setting(
        "auto",
        "Write PNG files with a fast built-in encoder (auto) or with Ghostscript: same pixels.",
        Panel.RENDERING,
        commands=NEW_JOBS,
    )
    gs_options: tuple[str, ...] = setting(
        (),
        "Pass this switch to Ghostscript: -dNAME=VALUE or -sNAME=VALUE. May be repeated.",
        Panel.RENDERING,
        metavar="SWITCH",
        example="-dNOINTERPOLATE",
        default_text="no switch",
        commands=NEW_JOBS,
        parse=settingvalues.ghostscript_switches,
    )
    recipe: str | None = setting(
        None,
        "Render with this recipe (another program) instead of Ghostscript.",
        Panel.RENDERING,
        metavar="NAME",
        example="mutool",
        default_text="ghostscript",
        completion="recipes",
        commands=NEW_JOBS,
    )
    fallback: tuple[str, ...] = setting(
        (),
        "Use this recipe for pages that the first renderer cannot render. May be repeated.",
        Panel.RENDERING,
        metavar="NAME",
        example="mutool",
        default_text="that of the recipe",
        completion="recipes",
        commands=NEW_JOBS,
        parse=settingvalues.names,
    )
    sandbox: Literal["none", "bwrap"] = setting(
        "none",
        "Run renderers in bubblewrap: they see only the document, their pages and the fonts.",
        Panel.RENDERING,
        goes_with_job=True,
    )
    # Limits one renderer; runner/host/memorylimits.py watches the memory of the host.
    page_memory: int = setting(
        2 << 30,
        "Most memory for one renderer.",
        Panel.RENDERING,
        **SIZE,
        goes_with_job=True,
        limits={"ge": 64 << 20},
    )

    retries: int = setting(
        3,
        "On how many hosts to try a page before it counts as failed.",
        Panel.FAILURE,
        metavar="N",
        goes_with_job=True,
        limits={"ge": 1, "le": 100},
    )
    page_timeout: float = setting(
        600,
        "Longest time for one page.",
        Panel.FAILURE,
        **DURATION,
        goes_with_job=True,
        limits={"gt": 0},
    )
    wait: float = setting(
        30,
        "Wait this long for an idle host.",
        Panel.FAILURE,
        **DURATION,
        goes_with_job=True,
    )
    deadline: float | None = setting(
        None,
        "Stop after this time; a later run continues.",
        Panel.FAILURE,
        **DURATION,
        example="2h",
        default_text="no limit",
        goes_with_job=True,
    )
    strict: bool = setting(
        False,
        "Count a page as failed if the renderer reported a problem with it.",
        Panel.FAILURE,
        goes_with_job=True,
    )
    hedge: bool = setting(
        True,
        "Near the end, let free hosts repeat slow pages; the first result wins.",
        Panel.FAILURE,
        goes_with_job=True,
    )

    priority: int = setting(
        0,
        "Jobs with a higher number get slots first: -1024 to 1023.",
        Panel.QUEUE,
        metavar="N",
        # Above 1023 is fairshare.TOP_PRIORITY, of a waiter that has starved.
        limits={"ge": -1024, "le": 1023},
    )
    limit: int | None = setting(
        None,
        "Render at most N pages at a time, on all hosts together.",
        Panel.QUEUE,
        metavar="N",
        example="8",
        default_text="no limit",
        limits={"ge": 1},
    )
    mail_to: str | None = setting(
        None,
        "Send mail to this address when the job ends.",
        Panel.QUEUE,
        metavar="ADDRESS",
        example="ann@example.org",
        default_text="no mail",
        goes_with_job=True,
        check=settingvalues.mail_addresses,
    )
    mail_when: Literal["always", "failure"] = setting(
        "always",
        "Send that mail always, or only if the job failed.",
        Panel.QUEUE,
        goes_with_job=True,
    )

    progress: Literal["auto", "tui", "board", "plain", "jsonl", "none"] = setting(
        "auto",
        "Show progress in this form: auto, tui, board, plain, jsonl or none.",
        Panel.OUTPUT,
        metavar="MODE",
        commands=FOREGROUND,
    )
    quiet: bool = setting(False, "Print nothing if all is well.", Panel.OUTPUT, short="-q")
    verbose: int = setting(
        0,
        "Print more; -vv also prints the command lines of ssh and Ghostscript.",
        Panel.OUTPUT,
        short="-v",
        limits={"ge": 0},
    )
    stats: bool = setting(
        False,
        "Print bytes, pages a second, CPU time, retries and the slowest pages at the end.",
        Panel.OUTPUT,
        commands=FOREGROUND,
    )
    color: Literal["auto", "always", "never"] = setting(
        "auto", "Use colours.", Panel.OUTPUT, commands=FOREGROUND
    )
    log_file: Path | None = setting(
        None,
        "Write the traceback of a bug to this file.",
        Panel.OUTPUT,
        metavar="FILE",
        example="sshrender.log",
        default_text="in ~/.local/state/sshrender",
    )

    # In quotes: the type is a pydantic model, which --help must not import.
    recipes: "dict[str, RecipeSettings]" = setting(
        {}, "The user's own recipes, by name.", Panel.FILE_ONLY, commands=NOWHERE, has_variable=False
    )
    recipes_allowed: Literal["signed", "configured"] = setting(
        "signed",
        "Which recipes of jobs may run here: those that the owner signed, or those configured here.",
        Panel.FILE_ONLY,
        commands=NOWHERE,
    )
    on_done: tuple[str, ...] = setting(
        (),
        "Command to run when a job ends.",
        Panel.FILE_ONLY,
        commands=NOWHERE,
        parse=settingvalues.command_words,
    )


def _declared(found: "dataclasses.Field[Any]") -> Declared:
    declared: Declared = found.metadata["declared"]
    # The name and the type are the field's, which the declaration alone does not know.
    return dataclasses.replace(declared, name=found.name, type=found.type)


# Read-only, because every part of the program shares it.
SETTINGS: Mapping[str, Declared] = MappingProxyType(
    {found.name: _declared(found) for found in dataclasses.fields(Settings)}
)
"""All settings by name."""
