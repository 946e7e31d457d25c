"""Say in words how a job's pages are rendered, for every view that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sshrender.views.text import clean

_FILE = re.compile(r"profile-([0-9a-f]{8})[0-9a-f]{56}\.icc")
"""The file of an ICC profile in the job's folder (job/iccprofiles.py)."""


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return the settings of ``job.json`` in words: device, resolution, and what differs from plain."""
    return ", ".join(_words(settings))


def resolution_in_words(settings: Mapping[str, Any]) -> str:
    """Return ``150``, or ``204x98`` if the two directions differ."""
    vertical = settings.get("vertical_dpi") or 0
    return f"{settings['dpi']:g}x{vertical:g}" if vertical else f"{settings['dpi']:g}"


def _words(settings: Mapping[str, Any]) -> Iterator[str]:
    recipes = settings.get("recipes", ())
    by = f" by {clean(', else '.join(str(recipe['name']) for recipe in recipes))}" if recipes else ""
    yield f"{_made(settings, recipes)}{by} at {resolution_in_words(settings)} dpi"
    if settings.get("antialias"):
        yield f"smoothed ({settings['antialias']} bits)"
    if settings.get("box"):
        yield f"{settings['box']} box"
    if settings.get("size"):
        yield "fitted into {}x{} pixels".format(*settings["size"])
    if settings.get("jpeg_quality") is not None:
        yield f"JPEG quality {settings['jpeg_quality']}"
    if settings.get("encoder") == "ghostscript":
        yield "PNG files as Ghostscript writes them"
    for option in settings.get("options", ()):
        yield clean(_shown(option, settings.get("profile_name", "")))


def _made(settings: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]]) -> str:
    """Return what is made: the pages of a device, or what a recipe that is not built in writes."""
    for recipe in recipes:
        if recipe["extension"]:
            return f"{clean(recipe['format'])} pages"
    return clean(str(settings["device"]))


def _shown(option: str, name: str) -> str:
    """Return a switch with the profile as its user named it; of others the beginning of the digest."""
    # ``-s`` or ``-d`` are the first two characters.
    if name and option[2:].startswith("OutputICCProfile"):
        return _FILE.sub(lambda _: name, option)
    return _FILE.sub(r"profile-\1….icc", option)
