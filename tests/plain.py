"""What a test adds to plain Ghostscript so that it renders as ``render`` does by default."""

from __future__ import annotations

SMOOTHED = ("-dTextAlphaBits=4", "-dGraphicsAlphaBits=4")
"""``--antialias auto`` on a device with 8 bits a component, up to 200 dpi."""
