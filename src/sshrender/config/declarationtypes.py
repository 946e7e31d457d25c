"""The fields of a setting's declaration, among them its panel in ``--help``.

No ``from __future__ import annotations`` here, as in declaration.py.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, get_args

from sshrender.config.settingnames import option, variable


class Panel(StrEnum):
    """A group of options in ``--help``, in this order."""

    FILES = "Input and output"
    HOSTS = "Hosts"
    RENDERING = "Rendering"
    FAILURE = "Failure and time"
    QUEUE = "Queue"
    OUTPUT = "Output of the program"
    FILE_ONLY = "Settings without an option"


EVERYWHERE = frozenset({"render", "submit", "resume"})
"""The commands that take an option unless its declaration names fewer."""

NEW_JOBS = frozenset({"render", "submit"})
"""Commands for settings of a job's identity: another value is another job, so ``resume`` has none."""

FOREGROUND = frozenset({"render", "resume"})
"""Commands for settings of a run that the user watches."""

NOWHERE: frozenset[str] = frozenset()
"""No command: only files and variables can set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All that is known of one setting."""

    # ``name`` and ``type`` are filled in from the field (declaration._declared).
    name: str = ""
    type: Any = None
    default: Any = None
    help: str
    panel: Panel
    metavar: str = ""
    example: str = ""
    """A value as a user would type it, if neither the choices nor the default are one."""
    short: str = ""
    """A short option, as in ``-o``."""
    default_text: str = ""
    """The default for ``--help``, if it is not a value but a rule."""
    show: Callable[[Any], str] = str
    """Returns a default as the user would type it."""
    completion: str = ""
    """The name of the function in cli/completion.py that offers values."""
    commands: frozenset[str] = EVERYWHERE
    goes_with_job: bool = False
    """Whether a job remembers the value, so that any coordinator uses it."""
    has_variable: bool = True
    parse: Callable[[Any], Any] | None = None
    """Returns the value for what an option, a variable or a file says. Raises ValueError."""
    check: Callable[[Any], Any] | None = None
    """Returns the value, after its type has been checked. Raises ValueError."""
    limits: Mapping[str, float] | None = None
    """Bounds by pydantic's names: gt, ge, lt, le."""

    @property
    def option(self) -> str:
        """The long option."""
        return option(self.name)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable(self.name)

    @property
    def is_flag(self) -> bool:
        """Whether the option takes no value."""
        return self.type is bool

    @property
    def is_counted(self) -> bool:
        """Whether the option takes no value and may be repeated, as ``-vv``."""
        # An int without a metavar takes no value: it counts how often it is given.
        return self.type is int and not self.metavar

    @property
    def is_list(self) -> bool:
        """Whether the option may be given several times."""
        return bool(self.type == tuple[str, ...])

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a setting that has few."""
        # Literal may stand alone or in a union with None.
        members = [self.type, *get_args(self.type)]
        return next((get_args(each) for each in members if _is_literal(each)), ())

    @property
    def flags(self) -> tuple[str, ...]:
        """The option's names as Typer takes them; a flag that is on by default can be turned off."""
        # Typer makes both options from ``--x/--no-x``.
        long = f"{self.option}/--no-{self.option[2:]}" if self.default is True else self.option
        return (long, self.short) if self.short else (long,)

    @property
    def value_name(self) -> str:
        """The name of the value in ``--help``."""
        return self.metavar or "|".join(self.choices)

    @property
    def example_value(self) -> str:
        """A value of the option, as a shell takes it."""
        return self.example or next(iter(self.choices), "") or self.show(self.default)

    def help_text(self, command: str = "") -> str:
        """Return the help text, followed by the default that the option has in this command."""
        if self.is_counted:
            return self.help
        # resume takes the job's value, whatever the default of this machine is.
        if command == "resume" and self.goes_with_job:
            return f"{self.help} [default: as the job has it]"
        if command == "alter":
            return f"{self.help} [default: unchanged]"
        # True and False first: str(True) is not what a user types.
        shown = "on" if self.default is True else "off" if self.default is False else ""
        shown = self.default_text or shown or self.show(self.default)
        return f"{self.help} [default: {shown}]"

    @property
    def manual_marker(self) -> str:
        """The line of mdoc that begins the setting's paragraph in sshrender-render(1)."""
        names = [f"Fl {self.short[1:]}"] if self.short else []
        names.append(f"Fl Fl {self.option[2:]}")
        if self.default is True:
            names.append(f"Fl Fl no-{self.option[2:]}")
        words = self.choices or tuple(filter(None, self.metavar.split("|")))
        values = []
        # A macro of mdoc holds for the words after it: Cm is repeated only after a name (Ar).
        for before, word in zip(("A", *words), words, strict=False):
            is_name = word.isupper()
            macro = "Ar " if is_name else "Cm " if before.isupper() else ""
            values.append(macro + word.replace("=", " Ns = Ns Ar "))
        return re.sub(r"\s+", " ", f".It {' , '.join(names)} {' | '.join(values)}").strip()


def _is_literal(type_: Any) -> bool:
    return getattr(type_, "__origin__", None) is Literal


def setting(default: Any, help_: str, panel: Panel, **details: Any) -> Any:
    """Return a field of ``Settings``. ``details`` are those of ``Declared``."""
    declared = Declared(help=help_, panel=panel, default=default, **details)
    # A dataclass refuses a mutable default.
    made: dict[str, Any] = {"default_factory": dict} if default == {} else {"default": default}
    return field(metadata={"declared": declared}, **made)
