"""Decides which jobs are rendered as rasters and encoded by the runner, and on which device.

A raster must have the pixels that Ghostscript's PNG device would have written. For each device here
that was compared on 55 odd PDFs at 40, 60 and 150 dpi, with and without anti-aliasing. The switches here
act on the size of the page, or on how it is interpreted, for any device; those that change pixels were
compared as well. What is not listed is left to Ghostscript.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sshrender.renderers import switches

AUTO, GHOSTSCRIPT = "auto", "ghostscript"
"""Values of the setting ``encoder``."""


class RasterDevice(NamedTuple):
    """A device that writes rasters, and its bits per pixel."""

    name: str
    bits: int


_RASTERS = {
    "png16m": RasterDevice("ppmraw", 24),
    "pnggray": RasterDevice("bmpgray", 8),
    "pngmono": RasterDevice("pbmraw", 1),
}
"""By the device that a job names. pgmraw rounds greys to other values than pnggray; no device writes the
coverage of png16malpha and pngalpha into a raster."""

_ALIKE = frozenset(
    (
        *("TextAlphaBits", "GraphicsAlphaBits", "UseCropBox", "UseTrimBox", "UseBleedBox", "UseArtBox"),
        *("FIXEDMEDIA", "PDFFitPage", "FitPage", "PAPERSIZE", "DEFAULTPAPERSIZE", "NoUserUnit"),
        *("DEVICEWIDTHPOINTS", "DEVICEHEIGHTPOINTS", "ShowAnnots", "ShowAcroForm", "Printed"),
        *("DOINTERPOLATE", "NOINTERPOLATE", "RenderIntent", "OutputICCProfile"),
    )
)
"""Switches with which both devices make the same pixels."""


def raster_device(device: str, options: Sequence[str], encoder: str) -> RasterDevice | None:
    """Return the device for the rasters of a job; None: Ghostscript writes its files.

    ``options``: the switches of the user. ``encoder``: the setting.
    """
    # A switch that is not listed may change pixels on one device and not on the other.
    if encoder == GHOSTSCRIPT or any(switches.parse(each).name not in _ALIKE for each in options):
        return None
    return _RASTERS.get(device)
