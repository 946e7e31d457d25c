"""Count the bytes that a TIFF's compressed strips decode to.

LZW, fax and JPEG are not decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import PageFile

NONE, LZW, PACKBITS = 1, 5, 32773
FAX = (2, 3, 4)
DEFLATE = (8, 32946)
JPEG = (7,)

_OUTPUT = 64 << 10
_LZW_CLEAR, _LZW_END, _LZW_LONGEST = 256, 257, 4096
"""Codes; the bytes that one code stands for at most: each new one has one more than an earlier."""


def check(file: PageFile, compression: int, offset: int, count: int, expected: int) -> None:
    """Raise VerificationFailed if a strip holds another number of bytes than it should."""
    if compression == NONE:
        require(count >= expected, "the TIFF has too few pixels")
    elif compression == PACKBITS:
        _require_bytes(_packbits(file.blocks(offset, offset + count), expected), expected)
    elif compression in DEFLATE:
        _require_bytes(_deflate(file.blocks(offset, offset + count), expected), expected)
    elif compression == LZW:
        _check_lzw(file, offset, count, expected)
    else:
        require(compression in (*FAX, *JPEG), "the TIFF is compressed in an unknown way")


def _require_bytes(found: int, expected: int) -> None:
    require(found >= expected, "the TIFF has too few pixels")


def _packbits(blocks: Iterator[bytes], expected: int) -> int:
    """PackBits (TIFF 6.0, section 9): n < 128: n + 1 bytes follow; n > 128: one that counts 257 - n."""
    total = skip = 0
    # ``skip`` is how far the last code reaches into the next block.
    for block in blocks:
        at = skip
        while at < len(block):
            code = block[at]
            if code < 128:
                at += code + 2
                total += code + 1
            else:
                # 128 is a code without a meaning, which is skipped.
                at += 1 if code == 128 else 2
                total += 0 if code == 128 else 257 - code
        skip = at - len(block)
        # One code more than needed is enough to know.
        if total > expected + 128:
            break
    require(skip == 0 or total > expected + 128, "the TIFF is cut off")
    return total


def _deflate(blocks: Iterator[bytes], expected: int) -> int:
    total = 0
    inflater = zlib.decompressobj()
    try:
        for block in blocks:
            rest = block
            while rest and not inflater.eof and total <= expected:
                total += len(inflater.decompress(rest, _OUTPUT))
                rest = inflater.unconsumed_tail
        while not inflater.eof and total < expected:
            more = len(inflater.decompress(b"", _OUTPUT))
            if not more:
                break
            total += more
    except zlib.error:
        raise VerificationFailed("the TIFF is damaged") from None
    return total


def _check_lzw(file: PageFile, offset: int, count: int, expected: int) -> None:
    """LZW (TIFF 6.0, section 13): its first and last code, and whether so many can hold the pixels.

    It is not decoded: in Python that takes seconds for each megabyte, and honest pages have dozens.
    """
    require(count >= 3, "the TIFF is cut off")
    head, tail = file.read(offset, 2), file.read(offset + count - 3, 3)
    # The first code has nine bits.
    require(int.from_bytes(head, "big") >> 7 == _LZW_CLEAR, "the TIFF is damaged")
    # Each code has nine bits at least.
    require(count * 8 // 9 * _LZW_LONGEST >= expected, "the TIFF has too few pixels")
    bits = int.from_bytes(tail, "big")
    is_ended = any(
        bits >> padding & (1 << width) - 1 == _LZW_END and not bits & (1 << padding) - 1
        # The end code may have 9 to 12 bits, and up to 7 bits of padding follow it.
        for width in range(9, 13)
        for padding in range(8)
    )
    require(is_ended, "the TIFF is cut off")
