"""Makes the completion scripts for bash, zsh and fish from the tree of commands.

``python -m docs.diagrams --write`` writes them into ``completions/``. The scripts know commands, options
and fixed values themselves, so that the Tab key answers at once. They ask the program only for hosts,
jobs and recipes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from sshrender.cli import completion
from sshrender.cli.app import app

FOLDER = Path(__file__).parents[1] / "completions"

FILES, FOLDERS, DOCUMENTS, NONE = "files", "folders", "documents", "none"
_BY_VALUE_NAME = {"FILE": FILES, "DIR": FOLDERS, "PDF": DOCUMENTS}
_DYNAMIC = {
    each.__name__: each.__name__ for each in (completion.hosts, completion.jobs, completion.recipes)
}
"""What the program is asked for, by the function in cli/completion.py that answers."""

_DEFAULT = re.compile(r"\s*\\?\[default: [^\]]*\]")

_MADE = "made from the commands: python -m docs.diagrams --write"


@dataclass(frozen=True)
class Value:
    """What may follow an option, or an argument.

    ``kind``: files, folders, documents, none, words, or the name of what the program is asked for.
    """

    name: str
    kind: str
    words: tuple[str, ...] = ()
    is_repeated: bool = False


@dataclass(frozen=True)
class Option:
    """``value`` None: a flag."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    is_repeated: bool


@dataclass(frozen=True)
class Command:
    """``path``: as typed, without the program's name. ``commands``: the names and helps of a group's."""

    path: str
    help: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Value, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()

    @property
    def function(self) -> str:
        """The end of a shell function's name."""
        return self.path.replace(" ", "_")


def commands() -> list[Command]:
    """Return the whole tree, the program itself first, with an empty path."""
    return list(_walk(typer.main.get_command(app), ""))


def scripts() -> dict[Path, str]:
    """Return the text of each script."""
    from docs import completionscripts

    tree = commands()
    made = {
        "sshrender.bash": completionscripts.bash(tree),
        "_sshrender": completionscripts.zsh(tree),
        "sshrender.fish": completionscripts.fish(tree),
    }
    return {FOLDER / name: text.replace("@MADE@", _MADE) for name, text in made.items()}


def _walk(found: Any, path: str) -> Iterator[Command]:
    below = getattr(found, "commands", {})
    yield Command(
        path,
        _first_line(found.help),
        tuple(_options(found)),
        tuple(_value(each) for each in found.params if each.param_type_name == "argument"),
        tuple((name, _first_line(each.help)) for name, each in below.items()),
    )
    for name, each in below.items():
        yield from _walk(each, f"{path} {name}".strip())


def _options(found: Any) -> Iterator[Option]:
    for each in found.params:
        if each.param_type_name == "option":
            is_flag = each.is_flag or each.count
            help_ = _DEFAULT.sub("", each.help or "").replace("\\[", "[")
            value = None if is_flag else _value(each)
            yield Option(tuple(each.opts), help_, value, bool(each.multiple or each.count))
            if each.secondary_opts:
                yield Option(tuple(each.secondary_opts), f"Turn {each.opts[0]} off.", None, False)
    yield Option(("--help", "-h"), "Show this message and exit.", None, False)


def _value(param: Any) -> Value:
    name = param.metavar or param.name.upper()
    is_repeated = param.nargs == -1
    offered = _offer(param)
    if offered is not None and offered.__name__ in _DYNAMIC:
        return Value(name, _DYNAMIC[offered.__name__], (), is_repeated)
    if offered is not None:
        return Value(name, "words", tuple(offered("")), is_repeated)
    return Value(name, _BY_VALUE_NAME.get(name, NONE), (), is_repeated)


def _offer(param: Any) -> Any:
    """Return the function of cli/completion.py that typer has wrapped twice; None if there is none."""
    found = getattr(param, "_custom_shell_complete", None)
    if found is None:
        return None
    (inner,) = [cell.cell_contents for cell in found.__closure__]
    return inner.__wrapped__


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0].strip()
