"""Tells the options, values and arguments of a command line apart, as typer's parser does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a word is. ATTACHED: a short option with its value, as in ``-ofolder``."""

    OPTION = "option"
    ATTACHED = "attached"
    VALUE = "value"
    ARGUMENT = "argument"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Word:
    """One word. ``option``: the parameter that it names, or whose value it is."""

    text: str
    kind: Kind
    option: Any = None
    lacks_value: bool = False


def read(params: Iterable[Any], args: Sequence[str]) -> Iterator[Word]:
    """Yield each word of a command line; ``--`` itself is left out."""
    known = by_name(params)
    rest = iter(args)
    for text in rest:
        if text == "--":
            yield from (Word(each, Kind.ARGUMENT) for each in rest)
        elif len(text) < 2 or not text.startswith("-"):
            yield Word(text, Kind.ARGUMENT)
        else:
            found = _long(known, text) if text.startswith("--") else _short(known, text)
            value = next(rest, None) if found.lacks_value else None
            yield found if value is None else Word(text, found.kind, found.option)
            if value is not None:
                yield Word(value, Kind.VALUE, found.option)


def by_name(params: Iterable[Any]) -> dict[str, Any]:
    """Return the options of a command by each of their names."""
    return {
        name: each
        for each in params
        if each.param_type_name == "option"
        for name in (*each.opts, *each.secondary_opts)
    }


def takes_value(option: Any) -> bool:
    """Return whether an option has a value: neither a flag nor counted."""
    return not (option.is_flag or option.count)


def _long(known: dict[str, Any], text: str) -> Word:
    name, sign, _ = text.partition("=")
    option = known.get(name)
    if option is None:
        return Word(text, Kind.UNKNOWN)
    return Word(text, Kind.OPTION, option, lacks_value=takes_value(option) and not sign)


def _short(known: dict[str, Any], text: str) -> Word:
    """Return the word of short options, as in ``-qv`` or ``-r150``."""
    option = None
    for at, letter in enumerate(text[1:], 2):
        option = known.get(f"-{letter}")
        if option is None:
            return Word(text, Kind.UNKNOWN)
        if takes_value(option):
            # The rest of the word is the value, if there is any.
            is_last = at == len(text)
            return Word(text, Kind.OPTION if is_last else Kind.ATTACHED, option, lacks_value=is_last)
    return Word(text, Kind.OPTION, option)
