"""Ghostscript's raster devices that write one file per page: extension and format of each.

Devices that write several files per page (tiffsep, tiffsep1), that print, that show a window or that
write a document (pdfwrite, pdfimage) are not supported.
"""

from __future__ import annotations

import difflib
from typing import Dict, List, NamedTuple


class Device(NamedTuple):
    """One raster device. ``format`` selects how its files are verified (job/verification).

    ``bits``: bits per pixel, for the raw formats. ``shrink``: by which factor the device itself scales
    the page down (psdcmykog, measured: 206 x 292 pixels where the others make 413 x 585).
    ``is_smooth``: its files have 8 bits for each component. ``can_downscale``: it has the parameter
    DownScaleFactor (getdeviceprops, Ghostscript 10.00), and does not crash of it, as psdrgb16 does.
    ``adjusts_width``: it makes the widths of fax machines (AdjustWidth) of those that are near.
    """

    name: str
    extension: str
    format: str
    bits: int = 0
    shrink: int = 1
    is_smooth: bool = False
    can_downscale: bool = False
    adjusts_width: bool = False


_FAX = frozenset(("tiffcrle", "tiffg3", "tiffg32d", "tiffg4"))
_SMOOTH = (
    "png16m png16malpha pngalpha pnggray jpeg jpeggray jpegcmyk tiffgray tiff24nc tiff32nc tiffscaled8"
    " tiffscaled24 tiffscaled32 bmpgray bmp16m bmp32b pgm pgmraw ppm ppmraw pgnm pgnmraw pnm pnmraw pam"
    " pamcmyk32 pcxgray pcx24b psdrgb psdcmyk psdcmykog xcf xcfcmyk miff24"
)
_DOWNSCALING = (
    "png16m png16malpha pngalpha pnggray pngmonod jpeg jpeggray jpegcmyk tiffscaled tiffscaled4"
    " tiffscaled8 tiffscaled24 tiffscaled32 psdrgb psdcmyk"
)


def _device(name: str, extension: str, format_: str, bits: int = 0, shrink: int = 1) -> Device:
    is_smooth, can_downscale = (name in names.split() for names in (_SMOOTH, _DOWNSCALING))
    return Device(name, extension, format_, bits, shrink, is_smooth, can_downscale, name in _FAX)


def _family(extension: str, format_: str, names: str) -> List[Device]:
    return [_device(name, extension, format_) for name in names.split()]


_ALL = [
    *_family("png", "png", "png16m png16malpha png256 png16 png48 pngalpha pnggray pngmono pngmonod"),
    *_family("jpg", "jpeg", "jpeg jpeggray jpegcmyk"),
    *_family(
        "tif",
        "tiff",
        "tiffgray tiff12nc tiff24nc tiff32nc tiff48nc tiff64nc tiffcrle tiffg3 tiffg32d tiffg4"
        " tifflzw tiffpack tiffscaled tiffscaled4 tiffscaled8 tiffscaled24 tiffscaled32",
    ),
    *_family("bmp", "bmp", "bmpmono bmpgray bmp16 bmp256 bmp16m bmp32b"),
    *_family("pbm", "pnm", "pbm pbmraw"),
    *_family("pgm", "pnm", "pgm pgmraw"),
    *_family("ppm", "pnm", "ppm ppmraw"),
    *_family("pnm", "pnm", "pgnm pgnmraw pnm pnmraw"),
    # The devices of this row have CMYK inside and write RGB (Devices.htm).
    *_family("ppm", "pnm", "pkm pkmraw"),
    *_family("pam", "pnm", "pam pamcmyk4 pamcmyk32"),
    *_family("pcx", "pcx", "pcxmono pcxgray pcx16 pcx256 pcx24b pcxcmyk"),
    *_family("psd", "psd", "psdrgb psdrgb16 psdcmyk psdcmyk16"),
    _device("psdcmykog", "psd", "psd", shrink=2),
    *_family("xcf", "xcf", "xcf xcfcmyk"),
    *_family("miff", "miff", "miff24"),
    _device("bit", "raw", "raw", bits=1),
    # One bit for each component, the default of these devices; a pixel is padded to four bits.
    _device("bitrgb", "raw", "raw", bits=4),
    _device("bitcmyk", "raw", "raw", bits=4),
]

DEVICES: Dict[str, Device] = {device.name: device for device in _ALL}


# Parts of names, as ``gray`` in tiffgray; names that no part fits are listed in the function.
_GREY = ("gray", "mono", "pgm", "pgnm", "pbm", "tiffg3", "tiffg4", "tiffcrle", "tifflzw", "tiffpack")


def thumbnail_device(name: str) -> str:
    """Return the device for the thumbnails of ``name``'s pages: with colours or without."""
    is_grey = any(word in name for word in _GREY) or name in ("bit", "tiffscaled", "tiffg32d")
    return "jpeggray" if is_grey else "jpeg"


_CMYK = ("tiff32nc", "tiff64nc", "tiffscaled4", "tiffscaled32", "bmp32b", "pkm", "pkmraw", "pam")


def colour_space(name: str) -> str:
    """Return the colours of a device as ICC profiles call them; empty if they vary."""
    if name.startswith("xcf"):
        return ""
    if "cmyk" in name or name in _CMYK:
        return "CMYK"
    is_grey = thumbnail_device(name) == "jpeggray" or name == "tiffscaled8"
    return "GRAY" if is_grey else "RGB"


def nearest(name: str) -> List[str]:
    """Return known devices whose names resemble ``name``, for hints."""
    return difflib.get_close_matches(name.lower(), DEVICES, n=3, cutoff=0.5)
