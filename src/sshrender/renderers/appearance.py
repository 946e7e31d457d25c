"""The appearance of pages, apart from device and resolution: smoothing, box, JPEG quality, fixed size.

Each is one option of the command, and becomes switches of Ghostscript here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sshrender.renderers import switches
from sshrender.renderers.devices import Device

SMOOTH_UP_TO = 200
"""Dots per inch up to which ``auto`` smooths: above, the steps are smaller than the eye resolves at
reading distance, and smoothing more than doubles the time of pages of text (measured)."""

SMOOTH_BITS = 4
"""Bits of ``auto``: the most that Ghostscript has (Use.htm, TextAlphaBits)."""


class Appearance(NamedTuple):
    """``vertical_dpi`` 0: as the horizontal one. ``antialias``: bits, 0 for none. ``box`` empty: media.

    ``jpeg_quality`` None: the device's own. ``size``: pixels of every page, which is fitted into it.
    """

    vertical_dpi: float = 0
    antialias: int = 0
    box: str = ""
    jpeg_quality: int | None = None
    size: tuple[int, int] | None = None


def antialias_bits(
    wanted: str, device: Device, dpi: tuple[float, float], options: Sequence[str] = ()
) -> int:
    """Return the bits of ``--antialias``: auto, none, 2 or 4. A user's own switches turn auto off."""
    if wanted == "none":
        # Values other than auto are a choice of the user and hold on every device.
        return 0
    if wanted != "auto":
        return int(wanted)
    is_useful = device.is_smooth and max(dpi) <= SMOOTH_UP_TO
    return SMOOTH_BITS if is_useful and not switches.sets_antialiasing(options) else 0


def ghostscript_switches(look: Appearance, options: Sequence[str] = ()) -> list[str]:
    """Return the switches of Ghostscript. The user's own ``options`` come last, so that they count."""
    found = []
    if look.antialias:
        found += [f"-dTextAlphaBits={look.antialias}", f"-dGraphicsAlphaBits={look.antialias}"]
    if look.box in switches.BOX_SWITCHES:
        found.append(switches.BOX_SWITCHES[look.box])
    if look.jpeg_quality is not None:
        found.append(f"-dJPEGQ={look.jpeg_quality}")
    if look.size is not None:
        # FIXEDMEDIA keeps the size that -g gives; without it each page would set its own.
        found += ["-g{}x{}".format(*look.size), "-dFIXEDMEDIA", "-dPDFFitPage"]
    return [*found, *options]


def resolution(dpi: float, look: Appearance) -> str:
    """Return the resolution as Ghostscript's ``-r`` takes it: 150 or 204x98."""
    return f"{dpi:g}x{look.vertical_dpi:g}" if look.vertical_dpi else f"{dpi:g}"


def page_box(look: Appearance, options: Sequence[str]) -> str:
    """Return the box that gives a page its size: media, crop, trim, bleed or art; empty: not known."""
    # The size then follows from a switch and not from a box of the page.
    if switches.has_own_size(options):
        return ""
    chosen = ([switches.BOX_SWITCHES[look.box]] if look.box in switches.BOX_SWITCHES else []) + [
        *options
    ]
    # Without a switch the MediaBox decides. With two, a page that lacks the first box has another one.
    found = switches.boxes(chosen) or ["media"]
    return found[0] if len(found) == 1 else ""
