"""Formats whose size follows from their header: BMP, the PNM family and PAM, PCX, PSD, XCF, MIFF."""

from __future__ import annotations

import re
import struct

from sshrender.job.verification.buffer import Buffer, Size
from sshrender.job.verification.errors import VerificationFailed, require

_PNM = re.compile(rb"P([1-6])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+(\d+))?\s")
_PAM_FIELD = re.compile(rb"(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d+)")
_MIFF_FIELD = re.compile(rb"(?i)(columns|rows)=(\d+)")
HEADER = 4096


def measure_bmp(data: Buffer) -> Size:
    """BITMAPFILEHEADER and BITMAPINFOHEADER; uncompressed, so the file's size is known."""
    require(data[:2] == b"BM" and len(data) >= 54, "not a BMP")
    start = struct.unpack("<I", data[10:14])[0]
    width, height = struct.unpack("<ii", data[18:26])
    (bits,) = struct.unpack("<H", data[28:30])
    row = (width * bits + 31) // 32 * 4
    require(len(data) >= start + row * abs(height), "the BMP is cut off")
    return width, abs(height)


def measure_pnm(data: Buffer) -> Size:
    """PBM, PGM and PPM, plain and raw (netpbm's pbm(5), pgm(5), ppm(5)), and PAM (pam(5))."""
    if data[:2] == b"P7":
        return _measure_pam(data)
    match = _PNM.match(_pnm_header(data))
    if match is None:
        raise VerificationFailed("not a PNM")
    kind, width, height = (int(match.group(n)) for n in (1, 2, 3))
    start = match.end() if kind not in (1, 4) else match.end(3) + 1
    depth = 3 if kind in (3, 6) else 1
    if kind in (4, 5, 6):
        wide = 2 if kind != 4 and int(match.group(4) or 255) > 255 else 1
        row = (width + 7) // 8 if kind == 4 else width * depth * wide
        require(len(data) - start == row * height, "the PNM is cut off")
    else:
        samples = _count_samples(data, start, dense=kind == 1)
        require(samples == width * height * depth, "the PNM is cut off")
        require(data[-1:] == b"\n", "the PNM is cut off in its last number")
    return width, height


def _pnm_header(data: Buffer) -> bytes:
    """The head of the file; a bitmap has no maximum, so none is read from its pixels."""
    head = bytes(data[:HEADER])
    return head if head[:2] not in (b"P1", b"P4") else head[:200]


def _count_samples(data: Buffer, start: int, dense: bool) -> int:
    """Samples of a plain file; those of a plain PBM need no space between them."""
    text = bytes(data[start:])
    return sum(text.count(digit) for digit in (b"0", b"1")) if dense else len(text.split())


def _measure_pam(data: Buffer) -> Size:
    head, end, _ = bytes(data[:HEADER]).partition(b"ENDHDR\n")
    fields = {name: int(value) for name, value in _PAM_FIELD.findall(head)}
    require(bool(end) and len(fields) == 4, "not a PAM")
    wide = 2 if fields[b"MAXVAL"] > 255 else 1
    expected = fields[b"WIDTH"] * fields[b"HEIGHT"] * fields[b"DEPTH"] * wide
    require(len(data) - len(head) - len(end) == expected, "the PAM is cut off")
    return fields[b"WIDTH"], fields[b"HEIGHT"]


def measure_pcx(data: Buffer) -> Size:
    """ZSoft PCX: run-length coded; every row of every plane must be there."""
    require(data[:1] == b"\x0a" and len(data) > 128, "not a PCX")
    left, top, right, bottom = struct.unpack("<HHHH", data[4:12])
    planes, per_row = struct.unpack("<BH", data[65:68])
    width, height = right - left + 1, bottom - top + 1
    expected = planes * per_row * height
    palette = 769 if planes == 1 and data[3] == 8 else 0
    found = _pcx_bytes(bytes(data[128 : len(data) - palette]))
    require(found >= expected, "the PCX is cut off")
    return width, height


def _pcx_bytes(coded: bytes) -> int:
    """How many bytes run-length codes stand for; in 0xC0..0xFF the low six bits are a count."""
    total, at = 0, 0
    while at < len(coded):
        if coded[at] >= 0xC0:
            total += coded[at] & 0x3F if at + 1 < len(coded) else 0
            at += 2
        else:
            run = _LITERALS.match(coded, at)
            assert run is not None
            total += run.end() - at
            at = run.end()
    return total


_LITERALS = re.compile(rb"[\x00-\xbf]+")


def measure_psd(data: Buffer) -> Size:
    """Adobe Photoshop: header, three sections with lengths, then the image data to the end."""
    require(data[:4] == b"8BPS" and len(data) >= 26, "not a PSD")
    channels, height, width, bits = struct.unpack(">HIIH", data[12:24])
    at = 26
    for _ in range(3):
        require(at + 4 <= len(data), "the PSD is cut off")
        at += 4 + struct.unpack(">I", data[at : at + 4])[0]
    require(at + 2 <= len(data), "the PSD is cut off")
    (compression,) = struct.unpack(">H", data[at : at + 2])
    if compression == 0:
        expected = at + 2 + channels * height * ((width * bits + 7) // 8)
    else:
        rows = channels * height
        require(at + 2 + 2 * rows <= len(data), "the PSD is cut off")
        lengths = struct.unpack(f">{rows}H", data[at + 2 : at + 2 + 2 * rows])
        expected = at + 2 + 2 * rows + sum(lengths)
    require(len(data) >= expected, "the PSD is cut off")
    return width, height


def measure_xcf(data: Buffer) -> Size:
    """GIMP's XCF as Ghostscript writes it: one layer, uncompressed tiles of three bytes a pixel.

    The pointers lead from the header to the layer, its hierarchy, its first level and that level's
    first tile; from there to the end of the file every pixel must have its bytes.
    """
    require(data[:9] == b"gimp xcf " and len(data) >= 64, "not an XCF")
    width, height = struct.unpack(">II", data[14:22])
    try:
        tile = _first_xcf_tile(data)
    except struct.error:
        raise VerificationFailed("the XCF is cut off") from None
    require(len(data) >= tile + width * height * 3, "the XCF is cut off")
    return width, height


def _first_xcf_tile(data: Buffer) -> int:
    layer = _word(data, _after_properties(data, 26))
    name_bytes = _word(data, layer + 12)
    hierarchy = _word(data, _after_properties(data, layer + 16 + name_bytes))
    level = _word(data, hierarchy + 12)
    return _word(data, level + 8)


def _after_properties(data: Buffer, at: int) -> int:
    """Where a list of XCF properties (type, length, bytes), ended by type 0, is over."""
    while True:
        kind, length = _word(data, at), _word(data, at + 4)
        at += 8 + length
        if kind == 0:
            return at


def _word(data: Buffer, at: int) -> int:
    return int(struct.unpack(">I", data[at : at + 4])[0])


def measure_miff(data: Buffer) -> Size:
    """ImageMagick's MIFF, 24 bits: a text header ended by a colon, then runs: colour, count less one."""
    head, colon, _ = bytes(data[:HEADER]).partition(b"\n:\n")
    require(head.lower().startswith(b"id=imagemagick") and bool(colon), "not a MIFF")
    fields = {name.lower(): int(value) for name, value in _MIFF_FIELD.findall(head)}
    require({b"columns", b"rows"} <= fields.keys(), "the MIFF has no dimensions")
    counts = data[len(head) + len(colon) :][3::4]
    pixels = fields[b"columns"] * fields[b"rows"]
    require(sum(counts) + len(counts) >= pixels, "the MIFF is cut off")
    return fields[b"columns"], fields[b"rows"]
