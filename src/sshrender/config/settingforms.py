"""Say in words what a setting takes, and which values there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from sshrender.config.declaration import SETTINGS
from sshrender.config.declarationtypes import Declared
from sshrender.config.recipes import BUILT_IN, SHIPPED
from sshrender.config.settingnames import option
from sshrender.config.units import parse_duration, parse_size
from sshrender.renderers.devices import DEVICES

_FORMS = {
    "dpi": "a number such as 150, or two such as 204x98",
    "size": "a size such as A4, 210x297mm or 1240x1754px",
    "gs_options": "a switch of Ghostscript such as -dNAME=VALUE or -sNAME=VALUE",
    "pages": "a page list such as 1-10,15,20- or odd or ^3",
    "split": "none, auto or a number of pages",
    "on": "a node set such as node[01-16],big",
    "avoid": "a node set such as node[01-16],big",
    "engine": "the name of a pool of the inventory",
    "pin": "pages and hosts such as 7=node3 or 1-3,9=node[01-04]",
    "device": "a raster device of Ghostscript that writes one file per page",
    "recipe": "the name of a recipe",
    "fallback": "the name of a recipe, or several with commas between",
    "recipes": "tables, as [recipes.NAME]",
    "mail_to": "an address such as ann@example.org, or several with commas between",
    "on_done": "a command and its arguments",
}
"""Forms that the type does not tell."""


def form(declared: Declared) -> str:
    """Return what a setting takes, in words that follow *must be*."""
    if declared.choices:
        return _alternatives(declared.choices)
    if declared.name in _FORMS:
        return _FORMS[declared.name]
    # A union has its members, any other type itself.
    kinds = {declared.type, *get_args(declared.type)}
    # The function tells more than the type: times are floats and sizes are ints.
    if declared.parse is parse_duration:
        return "a time such as 90, 45s, 10m or 1h30m" + _bounds(declared)
    if declared.parse is parse_size:
        return "a size such as 512M or 2G" + _bounds(declared)
    if bool in kinds:
        return "true or false"
    if int in kinds:
        return "a whole number" + _bounds(declared)
    if float in kinds:
        return "a number" + _bounds(declared)
    return "a path" if Path in kinds else "text"


_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def _bounds(declared: Declared) -> str:
    limits = declared.limits or {}
    words = [f"{_BOUNDS[key]} {declared.show(limit)}" for key, limit in limits.items()]
    return f", {' and '.join(words)}" if words else ""


def _alternatives(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def values(declared: Declared, own_recipes: Iterable[str] = ()) -> list[str]:
    """Return every value that a setting may have, if it has few; none if its form says it all."""
    if declared.name == "device":
        return list(DEVICES)
    if declared.completion == "recipes":
        # Sources in their order, each name once.
        return list(dict.fromkeys([BUILT_IN, *SHIPPED, *own_recipes]))
    return list(declared.choices)


def wrong_value(declared: Declared, value: Any) -> str:
    """Say that the setting does not take this value: what it takes, and the nearest value."""
    text = f"must be {form(declared)}"
    # 0.5: a value with a few wrong letters still has a neighbour.
    near = difflib.get_close_matches(str(value).lower(), values(declared), n=1, cutoff=0.5)
    return f"{text} (did you mean {near[0]}?)" if near else text


def named(text: str) -> Declared | None:
    """Return the setting with this name, also with hyphens, as its option; None if there is none."""
    # Users may type the option, the key of a file, or the word between.
    return SETTINGS.get(text.removeprefix("--").replace("-", "_"))


def nearest_name(text: str) -> str | None:
    """Return the setting whose name resembles a text."""
    key = text.removeprefix("--").replace("-", "_")
    found = difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.5)
    return found[0] if found else None


def listing(keys: Iterable[str]) -> str:
    """Return the command that lists what these settings take."""
    return " ".join(["sshrender config values", *dict.fromkeys(keys)])


def described(declared: Declared, own_recipes: Iterable[str] = ()) -> list[str]:
    """Return lines that say what a setting takes: one for each value, or one with its form."""
    found = values(declared, own_recipes)
    if declared.name == "device":
        width = max(map(len, found))
        return [f"{name:{width}}  .{DEVICES[name].extension}" for name in found]
    return found or [form(declared)]


def label(declared: Declared) -> str:
    """Return how a setting is given: its option, or its key in a file if it has no option."""
    return option(declared.name) if declared.commands else declared.name
