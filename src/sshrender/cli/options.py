"""Options that several commands share. Their values are None unless the user typed them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import completion
from sshrender.config.settingnames import variable


def _option(*names: str, key: str, help_: str, metavar: str | None = None, **extra: Any) -> Any:
    return typer.Option(*names, envvar=variable(key), help=help_, metavar=metavar, **extra)


Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job's name, a unique beginning of one, or its folder.",
        autocompletion=completion.jobs,
    ),
]
Hosts = Annotated[Path | None, _option("--hosts", key="hosts", help_="Inventory.", metavar="FILE")]
On = Annotated[
    str | None,
    _option(
        "--on",
        key="on",
        help_="Only these hosts of it.",
        metavar="NODESET",
        autocompletion=completion.hosts,
    ),
]
Avoid = Annotated[
    str | None,
    _option(
        "--avoid",
        key="avoid",
        help_="Not these hosts of it.",
        metavar="NODESET",
        autocompletion=completion.hosts,
    ),
]
Pin = Annotated[
    list[str] | None,
    _option(
        "--pin",
        key="pin",
        help_="These pages only on these hosts: 1-3=node[01-04]. May be repeated.",
        metavar="LIST=NODESET",
    ),
]
San = Annotated[
    Path | None,
    _option("--san", key="san", help_="The shared folder as this machine sees it.", metavar="DIR"),
]
Output = Annotated[
    Path | None,
    _option(
        "--output",
        "-o",
        key="output",
        help_="Where to deliver. [default: <stem>-pages/]",
        metavar="DIR",
    ),
]
Dpi = Annotated[
    str | None, _option("--dpi", "-r", key="dpi", help_="Resolution. [default: 150]", metavar="N")
]
Device = Annotated[
    str | None,
    _option(
        "--device",
        key="device",
        autocompletion=completion.devices,
        help_="Any Ghostscript raster device. [default: png16m]",
        metavar="NAME",
    ),
]
Pages = Annotated[
    str | None,
    _option("--pages", key="pages", help_="1-10,15,20-, odd, even; ^3 leaves out.", metavar="LIST"),
]
PasswordFile = Annotated[
    Path | None,
    _option(
        "--password-file",
        key="password_file",
        help_="Its first line opens the PDF.",
        metavar="FILE",
    ),
]
Split = Annotated[
    str | None,
    _option(
        "--split",
        key="split",
        help_="Cut the PDF into parts of N pages. [default: none]",
        metavar="none|auto|N",
    ),
]
PageTimeout = Annotated[
    str | None,
    _option(
        "--page-timeout",
        key="page_timeout",
        help_="A page may take so long. [default: 10m]",
        metavar="TIME",
    ),
]
PageMemory = Annotated[
    str | None,
    _option(
        "--page-memory",
        key="page_memory",
        help_="A renderer may be so large. [default: 2G]",
        metavar="SIZE",
    ),
]
Hedge = Annotated[
    bool,
    _option(
        "--hedge/--no-hedge",
        key="hedge",
        help_="Let idle hosts draw again what others are long about.",
    ),
]
Recipe = Annotated[
    str | None,
    _option(
        "--recipe",
        key="recipe",
        autocompletion=completion.recipes,
        help_="What draws the pages, instead of Ghostscript.",
        metavar="NAME",
    ),
]
Fallback = Annotated[
    list[str] | None,
    _option(
        "--fallback",
        key="fallback",
        autocompletion=completion.recipes,
        help_="What draws pages that it cannot draw. May be repeated.",
        metavar="NAME",
    ),
]
Mixed = Annotated[
    bool,
    _option("--mixed", key="mixed", help_="Let hosts draw whose pictures differ from the others'."),
]
Retries = Annotated[
    str | None,
    _option(
        "--retries",
        key="retries",
        help_="Hosts that a page may fail on. [default: 3]",
        metavar="N",
    ),
]
Wait = Annotated[
    str | None,
    _option(
        "--wait",
        key="wait",
        help_="How long to wait for an idle host. [default: 30s]",
        metavar="TIME",
    ),
]
Deadline = Annotated[
    str | None,
    _option("--deadline", key="deadline", help_="End the run after so long.", metavar="TIME"),
]
Priority = Annotated[
    str | None,
    _option(
        "--priority",
        key="priority",
        help_="Who goes first: -1024 to 1023. [default: 0]",
        metavar="N",
    ),
]
Limit = Annotated[
    str | None,
    _option("--limit", key="limit", help_="Slots at once for this job, at most.", metavar="N"),
]
MailTo = Annotated[
    str | None,
    _option("--mail-to", key="mail_to", help_="Tell them when it is over.", metavar="ADDRESS"),
]
MailWhen = Annotated[
    str | None,
    _option(
        "--mail-when",
        key="mail_when",
        help_="Of which ends. [default: always]",
        metavar="always|failure",
        autocompletion=completion.one_of("always", "failure"),
    ),
]
Strict = Annotated[bool, _option("--strict", key="strict", help_="A suspect page counts as failed.")]
Overview = Annotated[
    bool,
    _option(
        "--overview/--no-overview",
        key="overview",
        help_="Draw thumbnails, and write an HTML sheet of all pages at the end.",
    ),
]
Sandbox = Annotated[
    str | None,
    _option(
        "--sandbox",
        key="sandbox",
        autocompletion=completion.one_of("none", "bwrap"),
        help_="Keep renderers in bubblewrap. [default: none]",
        metavar="none|bwrap",
    ),
]
Assemble = Annotated[
    str | None,
    _option(
        "--assemble",
        key="assemble",
        autocompletion=completion.one_of("pdf", "tiff", "zip", "cbz"),
        help_="Make one file of all pages, too.",
        metavar="pdf|tiff|zip|cbz",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan, the hosts and the space needed; do nothing.")
]
Progress = Annotated[
    str | None,
    _option(
        "--progress",
        key="progress",
        autocompletion=completion.one_of("auto", "tui", "board", "plain", "jsonl", "none"),
        help_="How progress is shown. [default: auto]",
        metavar="auto|tui|board|plain|jsonl|none",
    ),
]
Quiet = Annotated[bool, _option("--quiet", "-q", key="quiet", help_="Say nothing when all is well.")]
Verbose = Annotated[int, _option("--verbose", "-v", key="verbose", help_="Say more.", count=True)]
Json = Annotated[
    bool,
    typer.Option("--json", envvar="SSHRENDER_JSON", help="Print the summary as one JSON object."),
]
Color = Annotated[
    str | None,
    _option(
        "--color",
        key="color",
        help_="Use colour.",
        metavar="auto|always|never",
        autocompletion=completion.one_of("auto", "always", "never"),
    ),
]
LogFile = Annotated[
    Path | None,
    _option("--log-file", key="log_file", help_="Where a traceback goes.", metavar="FILE"),
]
SshConfig = Annotated[
    Path | None,
    _option("--ssh-config", key="ssh_config", help_="Instead of ~/.ssh/config.", metavar="FILE"),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="SSHRENDER_CONFIG", help="Settings.", metavar="FILE"),
]


def typed(context: typer.Context) -> dict[str, Any]:
    """The options that the user typed, by their setting's name."""
    from sshrender.config.settings import Settings

    return {
        key: context.params[key]
        for key in Settings.model_fields
        if key in context.params
        and getattr(context.get_parameter_source(key), "name", "") == "COMMANDLINE"
    }
