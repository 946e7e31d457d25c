"""ISA-L inflates what zlib inflates and nothing else, in bounded memory."""

from __future__ import annotations

import ctypes
import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshrender.job.verification import inflate, isalinflate
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.process import Verifications
from sshrender.job.verification.verify import Expected, verify_bytes
from sshrender.renderers.devices import DEVICES

EXPECTED = Expected(DEVICES["png16m"], 72, None, is_sized=False)
WIDTH, HEIGHT = 97, 61
ROW = 1 + 3 * WIDTH

needs_isal = pytest.mark.skipif(isalinflate.load() is None, reason="needs libisal.so.2 (libisal2)")


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def _png(stream: bytes, height: int = HEIGHT, pieces: int = 1 << 20, width: int = WIDTH) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    cut = [stream[at : at + pieces] for at in range(0, len(stream), pieces)]
    data = b"".join(_chunk(b"IDAT", each) for each in cut)
    return b"\x89PNG\r\n\x1a\n" + header + data + _chunk(b"IEND", b"")


def _rows(height: int = HEIGHT) -> bytes:
    """Rows with blank ones, repeated ones and noise."""
    noise = bytes((n * n * 7919 >> 7) % 256 for n in range(ROW - 1))
    kinds = (bytes(ROW), b"\2" + bytes(ROW - 1), b"\1" + noise, b"\4" + noise[::-1])
    return b"".join(kinds[(row // 3) % 4] for row in range(height))


def _raw(level: int, memory: int, strategy: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, memory, strategy)
    return packer.compress(_rows()) + packer.flush()


KINDS = [
    _raw(level, memory, strategy)
    for level, memory, strategy in itertools.product(
        (0, 1, 9), (1, 9), (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_RLE)
    )
]


def _wrapped(raw: bytes, content: bytes | None = None) -> bytes:
    """A zlib stream with the checksum of its content, as far as it has one."""
    if content is None:
        inflater = zlib.decompressobj(-15)
        try:
            content = inflater.decompress(raw)
            raw = raw[: len(raw) - len(inflater.unused_data)]
        except zlib.error:
            content = b""
    return b"\x78\x01" + raw + struct.pack(">I", zlib.adler32(content))


def _decision(png: bytes) -> str:
    try:
        found = verify_bytes(png, EXPECTED)
    except VerificationFailed as failed:
        return str(failed)
    return f"{found.width}x{found.height}"


def _decisions(png: bytes) -> dict[str, str]:
    """What is said of the file where the machine has only one of the libraries."""
    with pytest.MonkeyPatch.context() as patch:
        libdeflate = inflate.library()
        patch.setattr(inflate, "library", lambda: None)
        found = {"isal": _decision(png)}
        patch.setattr(isalinflate, "load", lambda: None)
        found["zlib"] = _decision(png)
        if libdeflate is not None:
            patch.setattr(inflate, "library", lambda: libdeflate)
            found["libdeflate"] = _decision(png)
    return found


@given(
    kind=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 7)), max_size=3),
    near=st.sampled_from([48, 1 << 16]),
    cut=st.integers(-6, 2),
    is_summed=st.booleans(),
    pieces=st.sampled_from([97, 1 << 20]),
)
@settings(max_examples=250, deadline=None)
def test_every_library_says_the_same_of_a_damaged_stream(
    kind: bytes, changes: list[tuple[int, int]], near: int, cut: int, is_summed: bool, pieces: int
) -> None:
    """Flipped bits, with the checksum of what they inflate to or without it, cut off or with a tail."""
    raw = bytearray(kind)
    for at, bit in changes:
        raw[at % min(near, len(raw))] ^= 1 << bit
    stream = _wrapped(bytes(raw), None if is_summed else _rows())
    stream = stream[:cut] if cut < 0 else stream + bytes(cut)
    found = _decisions(_png(stream, pieces=pieces))
    assert found["isal"] == found["zlib"]
    # Not the other way round: libdeflate reads the symbols 286 and 287, which RFC 1951 reserves, as 285.
    if found["zlib"] == "97x61":
        assert found.get("libdeflate", "97x61") == "97x61"


class _Bits:
    """Writes a stream of deflate by hand (RFC 1951)."""

    def __init__(self) -> None:
        self._value = self._count = 0

    def add(self, value: int, count: int) -> _Bits:
        self._value |= value << self._count
        self._count += count
        return self

    def code(self, bits: str) -> _Bits:
        """Add a Huffman code, which begins with its highest bit."""
        return self.add(int(bits[::-1], 2), len(bits))

    def bytes(self) -> bytes:
        return self._value.to_bytes(-(-self._count // 8), "little")


def _block(literals: dict[int, int], distances: list[int], body: str, *, is_last: bool = True) -> _Bits:
    """A block with codes of its own: the lengths of codes of literals (up to 257), and of distances."""
    bits = _Bits().add(int(is_last), 1).add(2, 2)
    bits.add(0, 5).add(len(distances) - 1, 5).add(14, 4)
    # Lengths of codes 0 to 15 of 4 bits each, so that each length is written as it is.
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        bits.add(4 if symbol < 16 and symbol != 15 else 0, 3)
    lengths = [literals.get(symbol, 0) for symbol in range(257)] + distances
    for length in lengths:
        # Code n of 4 bits is n itself; without 15, the last one is missing: this set is not complete.
        bits.code(format(length, "04b"))
    return bits.code(body)


def _complete_block(literals: dict[int, int], distances: list[int], body: str) -> bytes:
    """As ``_block``, whose own code lengths are complete: 0, 1, 2 and 18 with two bits each."""
    bits = _Bits().add(1, 1).add(2, 2).add(0, 5).add(len(distances) - 1, 5).add(14, 4)
    used = (0, 1, 2, 3)
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        bits.add(2 if symbol in used else 0, 3)
    for length in [literals.get(symbol, 0) for symbol in range(257)] + distances:
        bits.code(format(used.index(length), "02b"))
    return bits.code(body).bytes()


ZEROS = bytes(ROW * HEIGHT)
BODY = "0" * len(ZEROS)


@pytest.mark.parametrize(
    ("raw", "is_sound"),
    [
        # Literal 0 is "0", the end "1"; no distance, or one that is not used.
        pytest.param(_complete_block({0: 1, 256: 1}, [0], BODY + "1"), True, id="complete"),
        pytest.param(_complete_block({0: 1, 256: 1}, [1], BODY + "1"), True, id="one distance"),
        pytest.param(_complete_block({0: 1, 256: 2}, [0], BODY + "10"), False, id="literals"),
        pytest.param(_complete_block({0: 1, 256: 1}, [2], BODY + "1"), False, id="distances"),
        pytest.param(_complete_block({0: 1, 1: 1, 256: 1}, [0], BODY + "1"), False, id="too many"),
        pytest.param(_complete_block({0: 1}, [0], BODY + "1"), False, id="no end"),
        pytest.param(_block({0: 1, 256: 1}, [0], BODY + "1").bytes(), False, id="lengths"),
        pytest.param(_Bits().add(7, 3).bytes() + bytes(9), False, id="unknown block"),
        pytest.param(_Bits().add(3, 3).code("11000110").code("0000000").bytes(), False, id="symbol 286"),
        pytest.param(
            _Bits().add(3, 3).code("00110000").code("0000001").code("11110").code("0000000").bytes(),
            False,
            id="distance 30",
        ),
        pytest.param(
            _Bits().add(3, 3).code("00110000").code("0000001").code("00001").code("0000000").bytes(),
            False,
            id="before the start",
        ),
        pytest.param(b"\1\5\0\xfb\xff" + b"abcde", False, id="stored, of another size"),
        pytest.param(b"\1\5\0\xfa\xfe" + b"abcde", False, id="stored, lengths that differ"),
    ],
)
def test_codes_that_zlib_refuses_are_refused(raw: bytes, is_sound: bool) -> None:
    """ISA-L alone accepts codes that are not complete."""
    found = _decisions(_png(_wrapped(raw, ZEROS)))
    assert found["isal"] == found["zlib"]
    assert (found["zlib"] == "97x61") is is_sound


@pytest.mark.parametrize("damage", ["sum", "short", "long", "method", "window", "check", "dictionary"])
def test_what_is_around_the_blocks_is_checked(damage: str) -> None:
    stream = bytearray(zlib.compress(_rows(), 9))
    if damage == "sum":
        stream[-1] ^= 1
    elif damage in ("short", "long"):
        stream = stream[:-1] if damage == "short" else stream + b"\0"
    else:
        first = {"method": 0x77, "window": 0x88}.get(damage, 0x78)
        flags = 0x20 if damage == "dictionary" else 0
        flags += -(first << 8 | flags) % 31
        stream[:2] = bytes((first, flags ^ (1 if damage == "check" else 0)))
    found = _decisions(_png(bytes(stream)))
    assert found["isal"] == found["zlib"] != "97x61"
    assert found.get("libdeflate", "") != "97x61"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without libdeflate. An entry for each stream that ISA-L inflated whole."""
    found: list[str] = []

    class Noted(isalinflate.Inflater):
        def finish(self) -> Iterator[memoryview]:
            yield from super().finish()
            found.append("whole")

    load: Callable[[], Any] = isalinflate._library
    monkeypatch.setattr(isalinflate, "load", lambda: Noted(load()))
    monkeypatch.setattr(inflate, "library", lambda: None)
    return found


@needs_isal
def test_a_page_of_any_size_takes_bounded_memory(calls: list[str]) -> None:
    """80 MB of pixels in blocks that reach back behind pieces of the output."""
    height = 300_000
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9)
    stream = b"".join(packer.compress(_rows(3000)) for _ in range(height // 3000)) + packer.flush()
    png = _png(stream, height)
    tracemalloc.start()
    try:
        assert verify_bytes(png, EXPECTED).height == height
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert calls == ["whole"]


def test_a_page_larger_than_memory_permits_at_once_is_verified_in_its_process(tmp_path: Path) -> None:
    """Of 282 MB of pixels; the process is limited to a gigabyte of addresses, and takes 40 MB."""
    width, height, count = 20_000, 4_700, 100
    length = 1 + 3 * width
    assert height * length > inflate.MAX_OUTPUT
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    block = packer.compress(bytes(count * length)) + packer.flush(zlib.Z_FULL_FLUSH)
    # An empty last block, and the checksum of zeros: 1, and their number (RFC 1950, 9).
    stream = b"\x78\x01" + block * (height // count) + b"\3\0"
    stream += struct.pack(">HH", height * length % 65521, 1)
    path = tmp_path / "page"
    path.write_bytes(_png(stream, height, width=width))
    one = Verifications()
    try:
        with path.open("rb") as file:
            assert one.verify(file.fileno(), EXPECTED).height == height
            assert one._child is not None
            status = Path(f"/proc/{one._child._process.pid}/status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak) << 10 < 100 << 20
    finally:
        one.stop()


@needs_isal
def test_pixels_beyond_the_page_are_not_inflated(calls: list[str]) -> None:
    bomb = zlib.compress(bytes(64 << 20))
    with pytest.raises(VerificationFailed, match="too many pixels"):
        verify_bytes(_png(bomb), EXPECTED)
    assert calls == []


@needs_isal
def test_small_blocks_are_left_to_zlib(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    png = _png(_wrapped(_raw(9, 1, zlib.Z_HUFFMAN_ONLY)))
    assert verify_bytes(png, EXPECTED)
    monkeypatch.setattr(isalinflate, "_FREE_BLOCKS", 1)
    assert verify_bytes(png, EXPECTED)
    assert calls == ["whole"]


@needs_isal
def test_a_library_of_another_form_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    find = isalinflate._library.__wrapped__
    assert find() is not None
    monkeypatch.setattr(isalinflate, "_BLOCK_STATE", isalinflate._BLOCK_STATE + 64)
    assert find() is None
    monkeypatch.undo()
    fields = isalinflate._State._fields_

    class Moved(ctypes.Structure):
        _fields_ = (("more", ctypes.c_uint64), *fields)

    monkeypatch.setattr(isalinflate, "_State", Moved)
    assert find() is None
    monkeypatch.undo()
    monkeypatch.setattr(isalinflate, "LIBRARY", "libabsent.so.9")
    assert find() is None
