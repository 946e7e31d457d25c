"""A slot renders rasters and encodes them; what cannot be a raster is written by Ghostscript."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshrender.renderers import ghostscript
from sshrender.renderers.encoders import thumbnail
from sshrender.renderers.encoders.raster import Raster
from sshrender.renderers.encoders.rows import RowEncoder, Span
from sshrender.renderers.encoding import AUTO, GHOSTSCRIPT, raster_device
from sshrender.runner.host import (
    hostfacts,
    localworkspace,
    processlimits,
    rasterfolders,
    scratch,
)
from sshrender.runner.host.rasterfolders import RasterFolders, RasterRequest
from sshrender.runner.rendering import pageencoder, stripes, warmrenderer
from sshrender.runner.rendering.finalizer import MAX_RASTERS, Finalizer
from sshrender.runner.rendering.pageencoder import PageEncoder
from sshrender.runner.rendering.rendererinterface import RasterFile, RenderedFile
from sshrender.runner.rendering.warmsession import Answer, Session
from sshrender.runner.slots import slotlocks
from sshrender.runner.slots.taskqueue import Task, TaskQueue
from sshrender.runner.wire import Wire
from sshrender.storage import primitives
from tests import pdfs
from tests.plain import page_content
from tests.unit import slots

PAGES = 12
LARGE = 7
"""A page of another size than the others."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder with its document, beside folders for rasters in memory and on disk."""
    if not rasterfolders._PLAIN.fullmatch(str(tmp_path)):
        pytest.skip(f"no rasters in a folder that Ghostscript would read otherwise: {tmp_path}")
    for name in ("memory", "disk", "job", "job/work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "disk"))
    monkeypatch.setenv("SSHRENDER_SLOT_NAMESPACE", uuid.uuid4().hex[:12])
    monkeypatch.setattr(rasterfolders, "MEMORY", str(tmp_path / "memory"))
    pages = [pdfs.text_page(number, 300, 200) for number in range(1, PAGES + 1)]
    pages[LARGE - 1] = pdfs.text_page(LARGE, 600, 500)
    pages[2] = pdfs.bad_operator_page()
    pdfs.write(tmp_path / "job" / "source.pdf", pages)
    return tmp_path


def _rendered(folder: Path, device: str = "png16m", pages: int = PAGES) -> list[dict[str, Any]]:
    """The messages of a slot that renders all pages as rasters, with thumbnails."""
    found = raster_device(device, (), AUTO)
    assert found is not None
    return slots.rendered(
        folder / "job",
        range(1, pages + 1),
        slots.SETUP._replace(device=device, thumbnails="jpeg"),
        rasters=RasterFolders(RasterRequest(*found), 1, 2 << 30),
    )


def _plain(folder: Path, device: str = "png16m") -> dict[str, Path]:
    """The pages that plain Ghostscript writes."""
    (folder / "plain").mkdir()
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r72"]
    subprocess.run(
        [*command, f"-sOutputFile={folder}/plain/p%d", str(folder / "job" / "source.pdf")],
        check=True,
        capture_output=True,
    )
    return {path.name: path for path in (folder / "plain").iterdir()}


def _assert_same(folder: Path, messages: list[dict[str, Any]], plain: dict[str, Path]) -> list[str]:
    """Every page was rendered as Ghostscript does, and no raster is left; return the identical files."""
    assert [each for each in messages if each["type"] in ("failed", "trouble")] == []
    found = {path.name: path for path in (folder / "job" / "work").iterdir()}
    assert set(found) == set(plain)
    for name, path in found.items():
        assert page_content(path) == page_content(plain[name]), name
    assert [path for place in ("memory", "disk") for path in (folder / place).glob("*/s*")] == []
    return sorted(name for name in found if found[name].read_bytes() == plain[name].read_bytes())


@pytest.mark.parametrize("device", ["png16m", "pnggray", "pngmono"])
def test_pages_and_thumbnails_come_from_rasters(folder: Path, device: str) -> None:
    messages = _rendered(folder, device)
    assert _assert_same(folder, messages, _plain(folder, device)) == []
    thumbnails = [each["page"] for each in messages if each["type"] == "thumbnail"]
    assert sorted(thumbnails) == list(range(1, PAGES + 1))
    assert [each["page"] for each in messages if each["type"] == "suspected"] == [3]


def test_a_page_too_large_for_memory_goes_to_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = pageencoder.PageEncoder.encode

    def note(self: pageencoder.PageEncoder, raster: Any, path: str, check: Any) -> bytes:
        seen.append(Path(raster.path).parents[1].name)
        return encode(self, raster, path, check)

    monkeypatch.setattr(pageencoder.PageEncoder, "encode", note)
    monkeypatch.setattr(RasterFolders, "_memory_limit", lambda *_: 200_000)
    assert _assert_same(folder, _rendered(folder), _plain(folder)) == []
    assert seen == ["memory"] * (LARGE - 1) + ["disk"] + ["memory"] * (PAGES - LARGE)


def test_a_page_too_large_for_the_disk_is_written_by_ghostscript(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RasterFolders, "_memory_limit", lambda *_: 200_000)
    monkeypatch.setattr(RasterFolders, "_disk_limit", lambda *_: 200_000)
    messages = _rendered(folder)
    written = _assert_same(folder, messages, _plain(folder))
    assert f"p{LARGE}" in written
    assert "p1" not in written
    # The diagnostic of a page before it is not lost when the renderer is replaced.
    assert [each["page"] for each in messages if each["type"] == "suspected"] == [3]


GB = 1 << 30
A0 = 1_673_783_100
"""Bytes of the raster of an A0 page at 600 dpi."""


@pytest.mark.parametrize(
    ("free", "available", "slots", "fits"),
    [
        # Two rasters in a quarter of the memory, and in half of the file system.
        (24 * GB, 16 * GB, 1, True),
        (24 * GB, 16 * GB, 2, False),
        (24 * GB, 32 * GB, 2, True),
        (8 * GB, 64 * GB, 1, True),
        # Two would leave 0.9 GB of such a /tmp to all other programs.
        (4 * GB, 64 * GB, 1, False),
    ],
)
def test_large_rasters_in_a_tmpfs_leave_memory_and_room_to_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, available: int, slots: int, fits: bool
) -> None:
    monkeypatch.setattr(scratch, "is_in_memory", lambda path: True)
    monkeypatch.setattr(primitives, "free_bytes", lambda path: free)
    monkeypatch.setattr(hostfacts, "memory", lambda name: available)
    folders = RasterFolders(RasterRequest("bmp16m", 24), slots, 2 * GB)
    limit = folders._disk_limit(str(folder))
    assert (limit >= A0) is fits
    taken = limit * slots * rasterfolders.LARGE_PER_SLOT
    assert taken <= min(free / 2, rasterfolders.MEMORY_SHARE * available)


def test_where_rasters_are_cut_off_ghostscript_writes_the_pages(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ghostscript does not report that the memory was full."""

    class Cuts(Session):
        def answer(self, timeout: float) -> Answer:
            answer = super().answer(timeout)
            for path in (folder / "memory").glob("*/s*.3"):
                os.truncate(path, 100)
            return answer

    monkeypatch.setattr(warmrenderer, "Session", Cuts)
    assert len(_assert_same(folder, _rendered(folder), _plain(folder))) > PAGES / 2


def test_without_memory_for_rasters_they_go_to_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasterfolders, "MEMORY", str(folder / "missing"))
    assert _assert_same(folder, _rendered(folder), _plain(folder)) == []


@pytest.mark.parametrize("lacks", ["folders", "long files"])
def test_without_room_for_rasters_ghostscript_writes_the_pages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    if lacks == "folders":
        monkeypatch.setattr(rasterfolders, "MEMORY", str(folder / "missing"))
        monkeypatch.setattr(localworkspace, "largest_folder", lambda: str(folder / "missing"))
    else:  # as after ``ulimit -f 100``: the pages' files are shorter than that
        at_most = processlimits.at_most

        def limited(kind: int, wanted: int) -> int:
            return at_most(kind, min(wanted, 102_400) if kind == resource.RLIMIT_FSIZE else wanted)

        monkeypatch.setattr(processlimits, "at_most", limited)
    assert len(_assert_same(folder, _rendered(folder), _plain(folder))) == PAGES


def _page(number: int, *, is_large: bool = False) -> RenderedFile:
    task = Task(f"1.{number}", number, "source.pdf", number, f"work/p{number}")
    raster = RasterFile(f"/raster{number}", is_large=is_large)
    return RenderedFile(task, f"work/w{number}", None, 0.1, 0.1, [], raster=raster)


def test_the_renderer_does_not_wait_for_rasters_that_are_gathered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports are gathered while pages wait in the queue, and rasters have little room."""
    gathered: list[float] = []

    def encode(_self: pageencoder.PageEncoder, _raster: Any, path: str, _check: Any) -> bytes:
        Path(path).write_bytes(b"page")
        return b""

    class Room(threading.Semaphore):
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            if timeout is not None:
                gathered.append(timeout)
            return super().acquire(blocking, timeout)

    monkeypatch.setattr(pageencoder.PageEncoder, "encode", encode)
    monkeypatch.setattr("sshrender.runner.rendering.finalizer.GATHER", 600.0)
    tasks = TaskQueue()
    tasks.put(Task("1.99", 99, "source.pdf", 99, "work/p99"))
    finalizer = Finalizer(Wire(os.open(os.devnull, os.O_WRONLY), "mark"), str(folder / "job"), tasks)
    finalizer._raster_room = Room(MAX_RASTERS)
    finalizer.start()
    work = folder / "job" / "work"
    for number in range(1, 9):
        finalizer.submit(_page(number))
        while number > 1 and not (work / f"p{number - 1}").exists():
            time.sleep(0.001)
    finalizer.finish()
    assert gathered == []
    assert len(list(work.iterdir())) == 8


def test_other_pages_wait_while_a_large_raster_is_encoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only for two large ones of a slot there is room on the disk."""
    begun, may_end = threading.Event(), threading.Event()

    def encode(_self: pageencoder.PageEncoder, _raster: Any, path: str, _check: Any) -> bytes:
        begun.set()
        may_end.wait(60)
        Path(path).write_bytes(b"page")
        return b""

    monkeypatch.setattr(pageencoder.PageEncoder, "encode", encode)
    wire = Wire(os.open(os.devnull, os.O_WRONLY), "mark")
    finalizer = Finalizer(wire, str(folder / "job"), TaskQueue())
    finalizer.start()
    pages = [_page(1, is_large=True), _page(2)]
    finalizer.submit(pages[0])
    assert begun.wait(60)
    second = threading.Thread(target=finalizer.submit, args=(pages[1],))
    second.start()
    second.join(0.1)
    assert second.is_alive()
    may_end.set()
    second.join()
    finalizer.finish()
    assert sorted(path.name for path in (folder / "job" / "work").iterdir()) == ["p1", "p2"]


@pytest.mark.parametrize("reason", ["killed", "timeout"])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_encoding_in_progress_stops(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reason: str, threads: int
) -> None:
    """Of a page that is cancelled, or whose time is over; the page after it is encoded."""
    begun = threading.Event()
    encode = RowEncoder.encode

    def endless(self: RowEncoder, read: Any, form: Raster, span: Span) -> Iterator[bytes]:
        while form.width == 9:
            begun.set()
            read([memoryview(bytearray(form.row_bytes))], form.offset)
        yield from encode(self, read, form, span)

    class Helps(stripes.Helpers):
        def start(self, stripes: stripes.Stripes, make: Any) -> list[threading.Thread]:
            thread = threading.Thread(target=self._help, args=(stripes, make))
            thread.start()
            return [thread]

    monkeypatch.setattr(RowEncoder, "encode", endless)
    if threads == 2:
        monkeypatch.setattr(pageencoder, "STRIPED_FROM", 1)
    rasters = [folder / "memory" / name for name in ("one", "two")]
    for path, width in zip(rasters, (9, 8), strict=True):
        path.write_bytes(b"P6 %d 40 255\n" % width + bytes(width * 3 * 40))
    source, target = os.pipe()
    finalizer = Finalizer(
        Wire(target, "mark"), str(folder / "job"), TaskQueue(),
        encoder=PageEncoder(Helps(2, slotlocks.JobShare("job"), lambda: True)),
        page_timeout=60.0 if reason == "killed" else 0.5,
    )  # fmt: skip
    finalizer.start()
    for n, path in enumerate(rasters, 1):
        raster = RasterFile(str(path), b"", is_large=threads == 2)
        task = Task(f"1.{n}", n, "source.pdf", n, f"work/p{n}")
        # Handed over in a thread of its own: a large one waits for the one before it.
        page = RenderedFile(task, f"work/w{n}", None, 0.0 if n == 1 else -60.0, 0.1, [], raster=raster)
        threading.Thread(target=finalizer.submit, args=(page,)).start()
        assert begun.wait(60)
    if reason == "killed":
        finalizer.cancel("1.1")
        finalizer.cancel("9.9")
    with os.fdopen(source) as lines:
        found = [json.loads(lines.readline().partition(" ")[2]) for _ in range(2)]
    finalizer.finish()
    assert [(each["type"], each["page"], each.get("kind")) for each in found] == [
        ("failed", 1, reason),
        ("rendered", 2, None),
    ]
    assert [path.name for path in (folder / "job" / "work").iterdir()] == ["p2"]
    assert list((folder / "memory").iterdir()) == []


def test_pages_are_encoded_at_the_priority_of_the_renderers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of the host comes first; requests are answered at once all the same."""
    before, seen = os.getpriority(os.PRIO_PROCESS, 0), set()
    encode = pageencoder.PageEncoder.encode

    def note(self: pageencoder.PageEncoder, raster: Any, path: str, check: Any) -> bytes:
        seen.add(os.getpriority(os.PRIO_PROCESS, 0))
        return encode(self, raster, path, check)

    monkeypatch.setattr(pageencoder.PageEncoder, "encode", note)
    _rendered(folder, pages=2)
    assert seen == {19}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_page_does_not_fail_with_its_thumbnail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> bytes:
        raise OverflowError("int too big to convert")

    monkeypatch.setattr(thumbnail.ThumbnailMaker, "make", breaks)
    messages = _rendered(folder, pages=2)
    assert [each["page"] for each in messages if each["type"] == "rendered"] == [1, 2]
    assert [each for each in messages if each["type"] in ("failed", "thumbnail")] == []


def test_a_renderer_that_is_killed_leaves_no_raster(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Session):
        asked = 0

        def tell(self, number: int, thumbnail_of: int | None = None) -> None:
            Dies.asked += 1
            if Dies.asked == 4:
                self._tell(ghostscript.page_lines(number, "lost"))
                self._tell(["quit"])
            super().tell(number, thumbnail_of)

    monkeypatch.setattr(warmrenderer, "Session", Dies)
    messages = _rendered(folder)
    assert len([each for each in messages if each["type"] == "failed"]) <= 2
    assert [path for place in ("memory", "disk") for path in (folder / place).glob("*/s*")] == []


@pytest.mark.parametrize(
    ("device", "options", "encoder", "expected"),
    [
        ("png16m", (), AUTO, "ppmraw"),
        ("png16m", ("-dUseCropBox", "-dTextAlphaBits=4"), AUTO, "ppmraw"),
        ("png16m", ("-dDownScaleFactor=2",), AUTO, None),
        ("png16m", ("-dAnySwitch=1",), AUTO, None),
        ("png16m", (), GHOSTSCRIPT, None),
        ("pnggray", (), AUTO, "bmpgray"),
        ("png16malpha", (), AUTO, None),
        ("jpeg", (), AUTO, None),
    ],
)
def test_rasters_only_where_the_pixels_are_the_same(
    device: str, options: tuple[str, ...], encoder: str, expected: str | None
) -> None:
    found = raster_device(device, options, encoder)
    assert (found and found.name) == expected


def test_an_encoder_that_breaks_fails_its_page_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, the page is reported, and the pages after it are encoded."""
    encode, calls = pageencoder.PageEncoder.encode, []

    def breaks(self: pageencoder.PageEncoder, raster: Any, path: str, check: Any) -> bytes:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("no memory")
        return encode(self, raster, path, check)

    monkeypatch.setattr(pageencoder.PageEncoder, "encode", breaks)
    messages = _rendered(folder)
    failed = [(each["page"], each["reason"]) for each in messages if each["type"] == "failed"]
    assert failed == [(2, "MemoryError: no memory")]
    assert len([each for each in messages if each["type"] == "rendered"]) == PAGES - 1
