"""Lay out ``--help``: at most 100 columns, flags without a type, ``--help`` itself at the end.

Typer's own layout takes the whole width of a terminal, writes ``<bool>`` behind each flag, puts
``--help`` before all panels of options, and drops ``[default: 3]``, which it takes for markup.
"""

from __future__ import annotations

import inspect
import re
import shutil
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from sshrender.cli import usagehints, values
from sshrender.config.declarationtypes import Panel

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_WIDTH = 100
"""Columns. Longer lines are hard to read, and copies of a help text go into mails and tickets."""

_VARIABLES = (
    "Each option can also be set by a variable, as in SSHRENDER_PAGE_TIMEOUT=5m, and in sshrender.toml,"
    ' as in page_timeout = "5m". "sshrender man render" explains all options.'
)

_MARKUP = re.compile(r"(?<!\\)\[(?=[a-z#/@])")
"""A bracket that rich takes for the start of a tag, unless a backslash is before it."""


class Command(TyperCommand):
    """A command with this layout, whose values are read without pydantic."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options and arguments into the context; return what is left. Raises UserError."""
        values.read_plainly(self.get_params(ctx))
        # The words of a completion are not complete.
        if not ctx.resilient_parsing:
            usagehints.refuse_mistakes(ctx, args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        params = self.get_params(ctx)
        self.help = _joined(self.help)
        _lay_out(params)
        # Commands whose options have panels are those with all settings (options.takes_settings).
        if any(getattr(each, "rich_help_panel", None) for each in params):
            help_option: Any = self.get_help_option(ctx)
            # Without a panel of its own ``--help`` would lead the list.
            help_option.rich_help_panel = Panel.OUTPUT.value
            self.epilog = _VARIABLES
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands with this layout; see Command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command's name; return what is left."""
        values.read_plainly(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        self.help = _joined(self.help)
        _lay_out(self.get_params(ctx))
        super().format_help(ctx, formatter)


def _joined(text: str | None) -> str | None:
    """Return a help text without the line ends of the source, which typer would keep as they are."""
    return text and re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text))


def _lay_out(params: Iterable[Any]) -> None:
    from typer import rich_utils  # it imports rich, which only a help text needs

    rich_utils.MAX_WIDTH = min(MAX_WIDTH, shutil.get_terminal_size().columns)
    for param in params:
        if getattr(param, "is_flag", False) or getattr(param, "count", False):
            param.metavar = ""  # an empty name of the value; None would show the type
        if param.param_type_name == "argument":
            # Typer shows Python's type, as in <list[Path]>; the help says what to give.
            param.display_type_rich = _no_type
        # Eager options, as --help and --version, have no value worth showing.
        if param.param_type_name == "option" and not param.is_eager:
            param.help = _with_default(param)
        if getattr(param, "help", None):
            # rich would take "[default: 3]" for a tag and drop it.
            param.help = _MARKUP.sub(r"\\[", param.help)


def _no_type(ctx: Any) -> None:
    """Return no type to show."""


def _with_default(option: Any) -> str:
    """Return an option's help with its default, if neither the help nor typer says it."""
    text: str = option.help or ""
    has_value = not (option.is_flag or option.count)
    # If there is a default, Typer shows it itself.
    if "[default: " in text or (has_value and option.default not in (None, "")):
        return text
    return f"{text} [default: {'none' if has_value else 'off'}]"
