"""A ZIP file of a job's pages whose bytes are computed when they are read, from any byte on.

The pages are stored, not deflated: they are compressed already. The layout follows from the names and
sizes alone, so that an interrupted download can be resumed on any machine. Format: APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sshrender.api.web.pagefiles import read_part

_LIMIT32, _LIMIT16 = 0xFFFFFFFF, 0xFFFF
_DOS_DATE = 0x21
"""1980-01-01, the first date of the format: the bytes must not depend on when they are asked for."""

_UTF8 = 0x800
_VERSION = 45
"""4.5: the first version with 64-bit sizes."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive. ``sha256``: as verified; it identifies the content."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(slots=True)
class PageArchive:
    """The archive of these members. ``size`` in bytes; ``etag`` changes with any content.

    ``sums``: checksums by SHA-256 that are known already; new ones are added to it, by any thread.
    """

    members: Sequence[Member]
    sums: dict[str, int] = field(default_factory=dict)
    size: int = 0
    etag: str = ""
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The layout comes first: it needs names and sizes only, so no page is read for it.
        digest, at = hashlib.sha256(), 0
        for member in self.members:
            digest.update(f"{member.name} {member.size} {member.sha256}\n".encode())
            # Where each member begins, and at the end where the directory begins.
            self._starts.append(at)
            # The header's length does not depend on the checksum, so 0 stands for it.
            at += len(_local(member, 0)) + member.size
        self._starts.append(at)
        # Checksums of 0, for the same reason.
        self.size = at + len(self._directory(dict.fromkeys((each.name for each in self.members), 0)))
        # An entity tag is opaque (RFC 9110, 8.8.3); 128 bits tell archives apart.
        self.etag = digest.hexdigest()[:32]

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to ``end``, exclusive. Raises PageChanged or OSError.

        A block is empty if a page was read for its checksum alone.
        """
        # strict=False: the last start is that of the directory and has no member.
        for member, at in zip(self.members, self._starts, strict=False):
            head = len(_local(member, 0))
            # The range begins after this member.
            if at + head + member.size <= start:
                continue
            if at >= end:
                return
            # The checksum is in the header, so the page is read once for it before its first byte is
            # sent.
            if start < at + head:
                yield _local(member, self._sum(member))[max(0, start - at) : end - at]
            # Both within the member's content; _content() yields nothing if they cross.
            first, last = max(0, start - at - head), min(member.size, end - at - head)
            yield from _content(member, first, last)
        directory_at = self._starts[-1]
        if end > directory_at:
            # The directory has the checksums of all pages: those that are not known yet are read for it.
            sums = {}
            for member in self.members:
                # Other requests get this thread after each page: even the last byte alone needs all
                # pages.
                if member.sha256 not in self.sums:
                    yield b""
                sums[member.name] = self._sum(member)
            yield self._directory(sums)[max(0, start - directory_at) : end - directory_at]

    def _sum(self, member: Member) -> int:
        """Return the CRC-32 of a member; it is computed once."""
        # Two requests may compute the same one meanwhile: that is better than to wait for a page.
        known = self.sums.get(member.sha256)
        if known is None:
            known = 0
            for block in _content(member, 0, member.size):
                known = zlib.crc32(block, known)
            self.sums[member.sha256] = known
        return known

    def _directory(self, sums: dict[str, int]) -> bytes:
        parts = [
            _central(member, sums[member.name], at)
            for member, at in zip(self.members, self._starts, strict=False)
        ]
        data, start, count = b"".join(parts), self._starts[-1], len(self.members)
        # The end of the central directory in its 64-bit form, always: its size is then the same for any
        # archive.
        end = struct.pack(
            "<IQHHIIQQQQ", 0x06064B50, 44, _VERSION, _VERSION, 0, 0, count, count, len(data), start
        )
        locator = struct.pack("<IIQI", 0x07064B50, 0, start + len(data), 1)
        # 0xFFFF and 0xFFFFFFFF mean: see the 64-bit record.
        short = min(count, _LIMIT16)
        last = struct.pack(
            "<IHHHHIIH",
            0x06054B50,
            0,
            0,
            short,
            short,
            min(len(data), _LIMIT32),
            min(start, _LIMIT32),
            0,
        )
        return data + end + locator + last


def _local(member: Member, crc: int) -> bytes:
    name = member.name.encode()
    is_large = member.size >= _LIMIT32
    # Field 1: both sizes in 64 bits (4.5.3), for a local header always both.
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size) if is_large else b""
    size = min(member.size, _LIMIT32)
    head = struct.pack(
        "<IHHHHHIIIHH",
        0x04034B50,
        _VERSION,
        _UTF8,
        0,
        0,
        _DOS_DATE,
        crc,
        size,
        size,
        len(name),
        len(extra),
    )
    return head + name + extra


def _central(member: Member, crc: int, at: int) -> bytes:
    name = member.name.encode()
    is_large, is_far = member.size >= _LIMIT32, at >= _LIMIT32
    longs = ([member.size, member.size] if is_large else []) + ([at] if is_far else [])
    # Only the values that do not fit, in a fixed order (4.5.3).
    extra = struct.pack(f"<HH{len(longs)}Q", 1, 8 * len(longs), *longs) if longs else b""
    size = min(member.size, _LIMIT32)
    head = struct.pack(
        "<IHHHHHHIIIHHHHHII",
        # 3 in the upper byte: made on Unix, so the upper half of the attributes is a file mode.
        *(0x02014B50, 3 << 8 | _VERSION, _VERSION, _UTF8, 0, 0, _DOS_DATE, crc, size, size),
        *(len(name), len(extra), 0, 0, 0, 0o100644 << 16, min(at, _LIMIT32)),
    )
    return head + name + extra


def _content(member: Member, start: int, end: int) -> Iterator[bytes]:
    """Yield bytes of a member's file. Raises PageChanged or OSError."""
    # A part that is cut short is an error: the layout, and so all that follows, would be wrong.
    return read_part(member.path, start, end) if start < end else iter(())
