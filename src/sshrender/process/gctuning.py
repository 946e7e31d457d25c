"""Tunes Python's garbage collection: seldom while a command is loaded, as usual while it works."""

from __future__ import annotations

import gc

_LOADING = 100_000
"""New objects between two collections, instead of 700: importing ``render`` creates some 200,000."""

_USUAL = gc.get_threshold()


def load() -> None:
    """Collect garbage seldom while a command is being loaded, because loading creates none."""
    gc.set_threshold(_LOADING, *_USUAL[1:])


def begin() -> None:
    """Collect garbage as usual from now on, except among loaded modules, which stay in use."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
    gc.enable()
