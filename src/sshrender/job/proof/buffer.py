"""The bytes of a file as a proof sees them: mapped, so that a page of gigabytes costs no memory."""

from __future__ import annotations

import mmap

Buffer = bytes | mmap.mmap
Size = tuple[int, int]
