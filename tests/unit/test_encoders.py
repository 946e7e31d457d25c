"""The encoder keeps every pixel, whatever the raster, the library and the number of threads are."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sshrender.job.verification import png as verification
from sshrender.job.verification.pagefile import PageFile
from sshrender.renderers import ghostscript
from sshrender.renderers.encoders import adler, deflate, difference, isal, raster, thumbnail
from sshrender.renderers.encoders.rows import RowEncoder, Span
from sshrender.runner.rendering import pageencoder, stripes
from sshrender.runner.rendering.pageencoder import EncodingFailed, PageEncoder
from sshrender.runner.rendering.rendererinterface import RasterFile

MODES = {"P4": "1", "P5": "L", "P6": "RGB", "P7": "RGBA"}


def _page(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    """White paper with runs, noise and repeated rows."""
    page = Image.new("RGBA", (width, height), (255, 255, 255, 255))
    noise = Image.frombytes("L", (width, height), os.urandom(width * height))
    for top in range(seed % 7, height, 23):
        band = (0, top, width * 2 // 3, min(height, top + 1 + seed % 5))
        page.paste((top % 256, 40, 200 - top % 90, 128), band)
        page.paste(noise.crop((0, top, width // 3, min(height, top + 2))), (width // 4, top))
    return page.convert(mode)


def _written(page: Image.Image) -> bytes:
    """The raster of a page as programs write it."""
    if page.mode == "RGBA":
        head = f"P7\nWIDTH {page.width}\nHEIGHT {page.height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\n"
        return head.encode() + b"ENDHDR\n" + page.tobytes()
    data = io.BytesIO()
    page.save(data, "PPM")
    return data.getvalue()


def _greys(page: Image.Image) -> bytes:
    """The raster of a grey page as bmpgray writes it."""
    data = io.BytesIO()
    page.save(data, "BMP")
    return data.getvalue()


def _encoded(
    encoder: PageEncoder, data: bytes, folder: Path, has_thumbnail: bool = False
) -> tuple[bytes, bytes]:
    """The file, and the thumbnail."""
    source, target = folder / "raster", folder / "page.png"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    small = encoder.encode(RasterFile(str(source), b"", has_thumbnail), str(target))
    assert not source.exists()
    return target.read_bytes(), small


def _assert_same(data: bytes, page: Image.Image) -> None:
    verification.measure(PageFile.in_memory(data), lambda _: None)
    with Image.open(io.BytesIO(data)) as found:
        assert (found.mode, found.size) == (page.mode, page.size)
        assert found.tobytes() == page.tobytes()


@pytest.mark.parametrize("mode", MODES.values())
@pytest.mark.parametrize("size", [(1, 1), (7, 40), (333, 1), (1241, 500)])
def test_pixels_are_kept(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    page = _page(mode, *size)
    encoder = PageEncoder()
    for _ in range(2):  # an encoder is used for page after page
        data, small = _encoded(encoder, _written(page), tmp_path)
        _assert_same(data, page)
        assert small == b""


@pytest.mark.parametrize("library", ["ISA-L where it is installed", "zlib"])
@pytest.mark.parametrize("preference", [0, 1000])
def test_filtered_or_not_the_pixels_are_kept(
    library: str, preference: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(deflate, "_PREFER_FILTERED", preference)
    if library == "zlib":
        monkeypatch.setattr(isal, "load", lambda: None)
    encoder, page = PageEncoder(), _page("RGB", 800, 400)
    _assert_same(_encoded(encoder, _written(page), tmp_path)[0], page)
    assert encoder._rows is not None
    assert encoder._rows._is_filtered == bool(preference)


@pytest.mark.parametrize("width", [4, 5, 1237])
def test_a_bitmap_of_greys_is_turned_over(width: int, tmp_path: Path) -> None:
    page = _page("L", width, 300)
    _assert_same(_encoded(PageEncoder(), _greys(page), tmp_path)[0], page)


def test_every_library_keeps_the_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = _page("RGB", 800, 400)
    monkeypatch.setattr(isal, "load", lambda: None)
    _assert_same(_encoded(PageEncoder(), _written(page), tmp_path)[0], page)
    monkeypatch.setattr(difference, "with_libgmp", lambda: None)
    _assert_same(_encoded(PageEncoder(), _written(page), tmp_path)[0], page)


def test_a_library_that_fails_is_replaced_in_the_middle_of_a_page(tmp_path: Path) -> None:
    class Fails(isal.Isal):
        def __init__(self) -> None:
            self.calls = 0

        def deflate(self, data: memoryview, history: int = 0) -> bytes | None:
            self.calls += 1
            stream = zlib.compressobj(1, zlib.DEFLATED, -15)
            block = stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)
            return block if self.calls < 5 else None

    stream = Fails()
    encoder = PageEncoder()
    encoder._rows = RowEncoder(deflate.Deflater(stream), difference.with_integers())
    page = _page("RGB", 800, 900)
    _assert_same(_encoded(encoder, _written(page), tmp_path)[0], page)
    assert stream.calls >= 5


class _Help(stripes.Helpers):
    """Helpers that need no lock."""

    def __init__(self, count: int) -> None:
        self.count, self.done = count, 0

    def start(self, stripes: stripes.Stripes, make: Callable[[], stripes.Encode]) -> list:  # type: ignore[type-arg]
        import threading

        def work() -> None:
            encode = make()
            stripes.add_thread()
            while not stripes.is_over:
                self.done += stripes.work(encode)

        threads = [threading.Thread(target=work) for _ in range(self.count)]
        for each in threads:
            each.start()
        return threads


@pytest.mark.parametrize("helpers", [0, 3])
def test_stripes_of_several_threads_make_one_file(
    helpers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pageencoder, "STRIPED_FROM", 1)
    monkeypatch.setattr(pageencoder, "CHUNK", 1000)
    monkeypatch.setattr(stripes, "STRIPE", 20_000)
    page = _page("RGB", 300, 1000)
    data, _ = _encoded(PageEncoder(_Help(helpers)), _written(page), tmp_path)
    _assert_same(data, page)
    assert data.count(b"IDAT") > 3


def test_what_fails_in_a_helper_fails_the_page() -> None:
    shared = stripes.Stripes([Span(n, n + 1) for n in range(4)])

    def fail(_: Span) -> stripes.Stripe:
        raise EncodingFailed("damaged")

    with pytest.raises(EncodingFailed):
        shared.work(fail)
    with pytest.raises(EncodingFailed):
        list(shared.in_order(lambda span: stripes.Stripe(b"", 1, 0)))


@pytest.mark.parametrize("cut", [0, 3, 20, 500])
def test_a_raster_that_is_cut_off_is_no_page(cut: int, tmp_path: Path) -> None:
    data = _written(_page("RGB", 100, 100))
    with pytest.raises(EncodingFailed):
        _encoded(PageEncoder(), data[:cut], tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=200), st.sampled_from(["P4", "P5", "P6", "P7\n", "BM", ""]))
@settings(max_examples=200)
def test_no_header_is_taken_for_what_it_is_not(tail: bytes, kind: str) -> None:
    try:
        found = raster.parse(kind.encode() + tail)
    except ValueError:
        return
    assert found.width > 0
    assert found.height > 0
    assert found.offset <= raster.MAX_HEADER


@given(st.binary(min_size=3, max_size=400), st.integers(1, 40))
@settings(max_examples=60)
def test_both_ways_to_subtract_agree(data: bytes, row: int) -> None:
    rows = bytearray(row) + bytearray(data)
    expected = bytes((rows[at] - rows[at - row]) & 255 for at in range(row, len(rows)))
    ways = [difference.with_integers(), difference.with_libgmp() or difference.with_integers()]
    for way in ways:
        assert bytes(way(rows, row, len(data), row)[: len(data)]) == expected


@given(st.binary(max_size=9000), st.integers(0, 65520), st.integers(0, 65520))
@settings(max_examples=60)
def test_every_library_adds_up_the_same(data: bytes, first: int, second: int) -> None:
    value = first | second << 16
    ways = [adler.best(), adler.of_library("libdeflate.so.0", "libdeflate_adler32") or adler.with_zlib]
    for way in ways:
        assert way(memoryview(bytearray(data)), value) == zlib.adler32(data, value)
    assert adler.of_library("libdeflate.so.0", "libdeflate_crc32") is None


@given(st.integers(1, 3000), st.integers(1, 5000), st.binary(max_size=50))
@settings(max_examples=60)
def test_checksums_of_repeated_rows_are_computed(count: int, length: int, before: bytes) -> None:
    count = min(count, 200_000 // length + 1)
    rows = (bytes([deflate.UP]) + bytes(length - 1)) * count
    checksum = deflate.Checksum(zlib.adler32(before))
    checksum.add_repeated(count, length)
    assert checksum.value == zlib.adler32(before + rows)
    assert deflate.combined(zlib.adler32(before), zlib.adler32(rows), len(rows)) == checksum.value


@pytest.mark.parametrize("mode", MODES.values())
@pytest.mark.parametrize("size", [(40, 30), (1240, 1754), (3000, 10), (9, 4000)])
def test_a_thumbnail_is_small_and_alike(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    page = Image.new("L", size, 255)
    page.paste(0, (0, 0, size[0], size[1] // 2))
    _, small = _encoded(PageEncoder(), _written(page.convert(mode)), tmp_path, has_thumbnail=True)
    verification.measure(PageFile.in_memory(small), lambda _: None)
    with Image.open(io.BytesIO(small)) as found:
        assert max(found.size) <= ghostscript.THUMBNAIL
        grey = found.convert("L")
        if found.height > 2:
            top = grey.getpixel((0, 0))
            assert isinstance(top, int)
            assert top < 128
            assert grey.getpixel((found.width - 1, found.height - 1)) == 255


def test_a_thumbnail_has_the_colours_of_the_page() -> None:
    data = b"P6 900 900 255\n" + bytes([200, 100, 0]) * (900 * 900)

    def read(targets: Sequence[memoryview], offset: int) -> None:
        for target in targets:
            target[:] = data[offset : offset + len(target)]
            offset += len(target)

    small = thumbnail.ThumbnailMaker().make(read, raster.parse(data[:100]), 224)
    with Image.open(io.BytesIO(small)) as found:
        colour = found.convert("RGB").getpixel((5, 5))
    assert isinstance(colour, tuple)
    assert all(abs(one - other) < 8 for one, other in zip(colour, (200, 100, 0), strict=True))
