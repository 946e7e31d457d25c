"""How often Python looks for garbage (gc): seldom while a command is loaded, as usual while it works."""

from __future__ import annotations

import gc

_LOADING = 100_000
"""New objects between two collections, instead of 700: importing ``render`` creates some 200,000."""

_USUAL = gc.get_threshold()


def load() -> None:
    """A command is being loaded, which makes no garbage."""
    gc.set_threshold(_LOADING, *_USUAL[1:])


def begin() -> None:
    """What lives longer than a moment begins: what was loaded stays, and what comes is looked at."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
    gc.enable()
