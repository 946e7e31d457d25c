"""How a TIFF's strips are compressed: each is decoded as far as it takes to count its bytes."""

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


def check(file: PageFile, compression: int, offset: int, count: int, expected: int) -> None:
    """Raises VerificationFailed where a strip holds another number of bytes than it should."""
    if compression == NONE:
        require(count >= expected, "the TIFF has too few pixels")
    elif compression == PACKBITS:
        _require_bytes(_packbits(file.blocks(offset, offset + count), expected), expected)
    elif compression in DEFLATE:
        _require_bytes(_deflate(file.blocks(offset, offset + count), expected), expected)
    elif compression == LZW:
        _require_bytes(_lzw(file.blocks(offset, offset + count), expected), expected)
    else:
        require(compression in (*FAX, *JPEG), "the TIFF is compressed in an unknown way")


def _require_bytes(found: int, expected: int) -> None:
    require(found >= expected, "the TIFF has too few pixels")


def _packbits(blocks: Iterator[bytes], expected: int) -> int:
    """PackBits (TIFF 6.0, section 9): n < 128: n + 1 bytes follow; n > 128: one that counts 257 - n."""
    total = skip = 0
    for block in blocks:
        at = skip
        while at < len(block):
            code = block[at]
            if code < 128:
                at += code + 2
                total += code + 1
            else:
                at += 1 if code == 128 else 2
                total += 0 if code == 128 else 257 - code
        skip = at - len(block)
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


def _lzw(blocks: Iterator[bytes], expected: int) -> int:
    """LZW (TIFF 6.0, section 13): only the length of what each code stands for is kept."""
    clear, end = 256, 257
    lengths = [1] * 258
    total = previous = 0
    bits, buffer, width = 0, 0, 9
    for block in blocks:
        for byte in block:
            buffer = (buffer << 8 | byte) & 0xFFFFF
            bits += 8
            if bits < width:
                continue
            bits -= width
            code = buffer >> bits & (1 << width) - 1
            if code == clear:
                del lengths[258:]
                previous, width = 0, 9
                continue
            if code == end:
                return total
            require(
                code <= len(lengths) and (code < len(lengths) or previous > 0), "the TIFF is damaged"
            )
            length = lengths[code] if code < len(lengths) else previous + 1
            if previous and len(lengths) < 4096:
                lengths.append(previous + 1)
                if len(lengths) + 1 in (512, 1024, 2048):
                    width += 1  # one code early, as TIFF has it
            total, previous = total + length, length
        if total > expected:
            break
    return total
