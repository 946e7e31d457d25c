"""Say in words how a job's pages are rendered, for every view that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sshrender.views.text import clean


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return the settings of ``job.json`` in words: device, resolution, and what differs from plain."""
    return ", ".join(_words(settings))


def _words(settings: Mapping[str, Any]) -> Iterator[str]:
    vertical = settings.get("vertical_dpi") or 0
    resolution = f"{settings['dpi']:g}x{vertical:g}" if vertical else f"{settings['dpi']:g}"
    yield f"{settings['device']} at {resolution} dpi"
    if settings.get("antialias"):
        yield f"smoothed ({settings['antialias']} bits)"
    if settings.get("box"):
        yield f"{settings['box']} box"
    if settings.get("size"):
        yield "fitted into {}x{} pixels".format(*settings["size"])
    if settings.get("jpeg_quality") is not None:
        yield f"JPEG quality {settings['jpeg_quality']}"
    yield from (clean(option) for option in settings.get("options", ()))
