"""Verify the PNM family, plain and raw (netpbm's pbm(5), pgm(5), ppm(5)), and PAM (pam(5))."""

from __future__ import annotations

from sshrender.job.verification.errors import VerificationFailed, require
from sshrender.job.verification.pagefile import Accept, PageFile, Size

HEADER = 4096
"""Bytes within which a header has to end."""

_DIGITS = 10
_SPACE = b" \t\n\v\f\r"


def measure(file: PageFile, accept: Accept) -> Size:
    """Return width and height. Raises VerificationFailed."""
    head = file.head(HEADER)
    if head[:2] == b"P7":
        return _measure_pam(file, head, accept)
    require(len(head) > 2 and head[0] == 0x50 and 0x31 <= head[1] <= 0x36, "not a PNM")
    kind = head[1] - 0x30
    # A plain or a raw header: numbers, with comments among them.
    width, at = _number(head, 2)
    height, at = _number(head, at)
    maximum = 1
    if kind not in (1, 4):
        maximum, at = _number(head, at)
    # One white space character ends the header; the pixels may begin with another one.
    require(at < len(head) and head[at] in _SPACE, "not a PNM")
    require(0 < maximum < 1 << 16, "not a PNM")
    accept((width, height))
    depth = 3 if kind in (3, 6) else 1
    if kind < 4:
        _measure_plain(file, at + 1, width * height * depth, maximum, kind == 1)
    else:
        # Two bytes for a sample above 255, the higher one first.
        row = (width + 7) // 8 if kind == 4 else width * depth * (2 if maximum > 255 else 1)
        # Exactly: what follows would be another image (ppm(5)).
        require(file.size - at - 1 == row * height, "the PNM is cut off")
    return width, height


def _number(head: bytes, at: int) -> tuple[int, int]:
    """Return the next number of a header and where it ends, after white space and comments."""
    start = at
    while at < len(head) and (head[at] in _SPACE or head[at] == 0x23):
        # 0x23 is #: a comment up to the end of its line.
        if head[at] == 0x23:
            at = head.find(b"\n", at)
            require(at >= 0, "not a PNM")
        at += 1
    end = at
    while end < len(head) and 0x30 <= head[end] <= 0x39:
        end += 1
    require(start < at < end <= at + _DIGITS, "not a PNM")
    return int(head[at:end]), end


def _measure_plain(file: PageFile, start: int, samples: int, maximum: int, is_dense: bool) -> None:
    """Check samples as text; those of a plain PBM need no space between them."""
    found, rest = 0, b""
    for block in file.blocks(start):
        if is_dense:
            found += block.count(b"0") + block.count(b"1")
            require(not block.translate(None, b"01" + _SPACE), "the PNM is damaged")
            continue
        require(not block.translate(None, b"0123456789" + _SPACE), "the PNM is damaged")
        words = (rest + block).split()
        # A number may be divided between two blocks.
        rest = words.pop() if words and block[-1] not in _SPACE else b""
        values = set(words)  # few, in an image: looking at each sample would take ten times as long
        require(max(map(len, (*values, rest))) <= _DIGITS, "the PNM is damaged")
        require(max(map(int, values), default=0) <= maximum, "the PNM is damaged")
        found += len(words)
    require(not rest and found == samples, "the PNM is cut off")
    # A last number that is cut short would still be a number.
    require(file.tail(1) == b"\n", "the PNM is cut off in its last number")


def _measure_pam(file: PageFile, head: bytes, accept: Accept) -> Size:
    head, end, _ = head.partition(b"ENDHDR\n")
    fields: dict[bytes, int] = {}
    for line in head.split(b"\n"):
        words = line.split()
        # Other lines (TUPLTYPE, comments) do not matter for the size.
        if len(words) == 2 and words[0] in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"):
            require(words[1].isdigit() and len(words[1]) <= _DIGITS, "not a PAM")
            fields[words[0]] = int(words[1])
    if not end or len(fields) != 4:
        raise VerificationFailed("not a PAM")
    size = fields[b"WIDTH"], fields[b"HEIGHT"]
    require(0 < fields[b"DEPTH"] <= 64 and 0 < fields[b"MAXVAL"] < 1 << 16, "not a PAM")
    accept(size)
    wide = 2 if fields[b"MAXVAL"] > 255 else 1
    expected = size[0] * size[1] * fields[b"DEPTH"] * wide
    require(file.size - len(head) - len(end) == expected, "the PAM is cut off")
    return size
