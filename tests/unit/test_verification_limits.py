"""Verification of hostile files takes bounded time and memory, and ends no process but its own."""

from __future__ import annotations

import errno
import os
import queue
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sshrender.coordinator.workers import pagedelivery
from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.coordinator.workers.storageprobe import StorageProbe
from sshrender.coordinator.workers.verificationqueue import VerificationQueue
from sshrender.coordinator.workers.verificationresults import (
    DocumentGone,
    Rejected,
    Result,
    StorageTrouble,
    SyncRefused,
    VerificationTask,
    Verified,
    Waits,
)
from sshrender.coordinator.workers.verifier import MAX_THREADS, Verifier
from sshrender.core import events as ev
from sshrender.job.documentidentity import DocumentReplaced
from sshrender.job.lease import LeaseLost
from sshrender.job.output import publish
from sshrender.job.verification import inflate, process, worker
from sshrender.job.verification.errors import VerificationFailed
from sshrender.job.verification.process import Verifications
from sshrender.job.verification.verify import Expected, verify, verify_bytes
from sshrender.renderers.devices import DEVICES
from tests import pdfs
from tests.stretch import stretched, wait_until

BOX = (203.0, 101.0)
DPI = 50
FORMATS = (
    *("png16m", "png256", "pngmono", "jpeg", "tiff24nc", "tiffg4", "tifflzw", "tiffpack", "bmp16m"),
    *("ppm", "pbmraw", "pamcmyk32", "pcx24b", "psdcmyk", "xcf", "miff24"),
)


def _expected(name: str, *, is_sized: bool = True) -> Expected:
    return Expected(DEVICES[name], DPI, BOX, is_sized=is_sized)


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def _png(
    data: bytes,
    size: tuple[int, int] = (141, 70),
    *,
    colours: int = 2,
    interlaced: int = 0,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    header = struct.pack(">IIBBBBB", *size, 8, colours, 0, 0, interlaced)
    chunks = _chunk(b"IHDR", header) + before + _chunk(b"IDAT", data)
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"") + after


ROWS = zlib.compress(bytes(70 * (1 + 141 * 3)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A sound page of each kind of format."""
    folder = tmp_path_factory.mktemp("pages")
    document = pdfs.write(folder / "one.pdf", [pdfs.text_page(1, *BOX)])
    for name in FORMATS:
        command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={name}", f"-r{DPI}"]
        subprocess.run([*command, f"-sOutputFile={folder / name}", str(document)], check=True)
    return {name: (folder / name).read_bytes() for name in FORMATS}


UNUSED = {"xcf": 12}
"""Bytes at the end that nothing refers to: Ghostscript 10.00 writes one level more than it lists."""


@given(name=st.sampled_from(FORMATS), part=st.floats(0, 1, exclude_max=True))
@settings(max_examples=150, deadline=None)
def test_no_truncated_page_is_verified(pages: dict[str, bytes], name: str, part: float) -> None:
    data = pages[name]
    needed = len(data) - UNUSED.get(name, 0)
    kept = min(int(part * len(data)), needed - 1)  # the largest part below 1 may round to all of it
    with pytest.raises(VerificationFailed):
        verify_bytes(data[:kept], _expected(name))


@given(
    name=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6),
    near=st.sampled_from([64, 1 << 20]),
)
@settings(max_examples=300, deadline=None)
def test_damage_is_a_failed_verification_and_nothing_else(
    pages: dict[str, bytes], name: str, changes: list[tuple[int, int]], near: int
) -> None:
    data = bytearray(pages[name])
    for at, value in changes:
        data[at % min(near, len(data))] = value
    for expected in (_expected(name), _expected(name, is_sized=False)):
        try:
            verify_bytes(bytes(data), expected)
        except VerificationFailed:
            continue


@pytest.mark.parametrize(
    "head",
    [
        b"P6" + b" " * 60 + b"x",
        b"P6" + b"# \n" * 1300 + b"x",
        b"P6 " + b"9" * 4000,
        b"P7\n" + b"WIDTH " * 600,
        b"id=ImageMagick " + b"columns=" * 500,
    ],
)
def test_a_header_without_an_end_is_refused_at_once(head: bytes) -> None:
    """In a process that can be ended: an expression that backtracks holds the interpreter's lock."""
    code = (
        "import sys; from sshrender.job.verification.verify import *;"
        "from sshrender.renderers.devices import DEVICES;"
        "verify_bytes(sys.stdin.buffer.read(), Expected(DEVICES[sys.argv[1]], 50, None))"
    )
    device = "miff24" if head[:2] == b"id" else "ppmraw"
    answer = subprocess.run(
        [sys.executable, "-c", code, device],
        input=head,
        capture_output=True,
        timeout=stretched(60),
        check=False,
    )
    assert b"VerificationFailed" in answer.stderr


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_png(zlib.compress(b"\0")), id="one byte of pixels"),
        pytest.param(_png(ROWS[:-6]), id="pixels without their end"),
        pytest.param(_png(zlib.compress(bytes(70 * 424 + 1))), id="a byte too many"),
        pytest.param(_png(zlib.compress(b"\5" + bytes(70 * 424 - 1))), id="an unknown filter"),
        pytest.param(_png(ROWS + b"x"), id="data after the pixels"),
        pytest.param(_png(ROWS, after=b"x"), id="data after the end"),
        pytest.param(_png(ROWS, before=_chunk(b"tRNS", b"x")), id="transparency of a wrong length"),
        pytest.param(_png(ROWS, before=_chunk(b"PLTE", b"xy")), id="a palette of a wrong length"),
        pytest.param(_png(ROWS, before=_chunk(b"gAMA", b"x")), id="a gamma of a wrong length"),
        pytest.param(_png(ROWS, before=_chunk(b"acTL", bytes(8))), id="an animation"),
        pytest.param(_png(ROWS, before=_chunk(b"ABCD", b"")), id="an unknown critical chunk"),
        pytest.param(_png(zlib.compress(bytes(70 * 142)), colours=3), id="indices without a palette"),
        pytest.param(
            _png(ROWS, before=_chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(2 << 20)))),
            id="a profile that grows",
        ),
    ],
)
@pytest.mark.parametrize("has_library", [True, False])
def test_a_png_that_no_viewer_could_show_whole_is_refused(
    data: bytes, has_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_library:
        monkeypatch.setattr(inflate, "library", lambda: None)
    assert verify_bytes(_png(ROWS), _expected("png16m"))
    with pytest.raises(VerificationFailed):
        verify_bytes(data, _expected("png16m"))


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_an_interlaced_png_is_counted_by_its_passes(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(inflate, "MAX_INPUT", most)
    passes = [(18, 9), (18, 9), (36, 9), (35, 18), (71, 17), (70, 35), (141, 35)]
    raw = bytes(sum((1 + 3 * width) * rows for width, rows in passes))
    found = verify_bytes(_png(zlib.compress(raw), interlaced=1), _expected("png16m"))
    assert (found.width, found.height) == (141, 70)
    with pytest.raises(VerificationFailed):
        verify_bytes(_png(zlib.compress(raw[:-1]), interlaced=1), _expected("png16m"))


def _tiff(entries: list[tuple[int, int, int, int]], rest: bytes) -> bytes:
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + bytes(4) + rest


@pytest.mark.parametrize("number", [200, 1000])
def test_a_tiff_of_a_megabyte_takes_no_more_memory_than_that(number: int) -> None:
    """Each of its tags names the same 250,000 numbers."""
    tags = [(256, 4, 1, 141), (257, 4, 1, 70)]
    tags += [(1000 + n, 4, 250_000, 20_000) for n in range(number)]
    data = _tiff(tags, bytes(1_100_000))
    tracemalloc.start()
    try:
        with pytest.raises(VerificationFailed):
            verify_bytes(data, _expected("tiff24nc"))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_strips_that_overlap_are_no_page() -> None:
    """A small file cannot stand for a large page."""
    tags = [(256, 3, 1, 141), (257, 3, 1, 70), (258, 3, 1, 8), (259, 3, 1, 1), (277, 3, 1, 3)]
    tags += [(278, 3, 1, 35), (273, 4, 2, 8 + 2 + 7 * 12 + 4), (279, 4, 2, 8 + 2 + 7 * 12 + 12)]
    tags.sort()
    count, start = 141 * 3 * 35, 200
    table = struct.pack("<IIII", start, start, count, count)
    with pytest.raises(VerificationFailed):
        verify_bytes(_tiff(tags, table + bytes(start + count)), _expected("tiff24nc"))


def test_a_noisy_lzw_tiff_of_a4_at_300_dpi_is_verified_within_its_time(
    tmp_path: Path, verifications: Verifications
) -> None:
    path = tmp_path / "noise.tif"
    band = Image.effect_noise((2480, 3508), 90)
    Image.merge("RGB", (band, band.rotate(180), band)).save(path, "TIFF", compression="tiff_lzw")
    expected = Expected(DEVICES["tiff24nc"], 300, (595.2, 841.92))
    assert _check(verifications, path, expected)
    whole = path.read_bytes()
    with Image.open(path) as image:
        tags: Any = image.getexif()
        last = tags[273][-1] + tags[279][-1]
    path.write_bytes(whole[: last - 3] + b"\xff" * 3 + whole[last:])
    with pytest.raises(VerificationFailed, match="cut off"):
        _check(verifications, path, expected)


def test_a_jpeg_without_data_for_its_pixels_is_refused(pages: dict[str, bytes]) -> None:
    whole = pages["jpeg"]
    scan = whole.index(b"\xff\xda")
    (length,) = struct.unpack(">H", whole[scan + 2 : scan + 4])
    with pytest.raises(VerificationFailed, match="too little"):
        verify_bytes(whole[: scan + 2 + length] + b"\0\xff\xd9", _expected("jpeg"))


def test_a_progressive_jpeg_of_many_scans_is_refused(pages: dict[str, bytes]) -> None:
    """A viewer decodes the whole image for each of them."""
    whole = pages["jpeg"]
    scan = whole.index(b"\xff\xda")
    bomb = whole[:scan] + whole[scan:-2] * 65 + whole[-2:]
    with pytest.raises(VerificationFailed, match="too many scans"):
        verify_bytes(bomb, _expected("jpeg"))


def test_an_image_whose_size_no_page_tells_has_bounded_pixels() -> None:
    data = _png(b"", (1 << 16, 1 << 15))
    with pytest.raises(VerificationFailed, match="too many pixels"):
        verify_bytes(data, _expected("png16m", is_sized=False))


def test_a_page_of_600_dpi_is_inflated_at_once_and_in_pieces_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verifications: Verifications
) -> None:
    path = tmp_path / "page"
    Image.new("RGB", (4961, 7016), "white").save(path, "PNG")
    expected = Expected(DEVICES["png16m"], 600, (595.3, 841.9))
    assert inflate.MAX_OUTPUT >= 3 * 4961 * 7016 + 7016
    assert _check(verifications, path, expected)

    def short(data: bytes, size: int) -> memoryview | None:
        raise MemoryError

    monkeypatch.setattr(inflate, "library", lambda: short)
    assert verify(path, expected)


def test_threads_are_added_while_pages_arrive_faster_than_they_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def wait(path: Path) -> int:
        release.wait(600)
        raise VerificationFailed(str(path))

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4))
    monkeypatch.setattr(pagedelivery, "open_page", wait)
    made = Verifier(_Sizes(), lambda: None, lambda result: None)
    try:
        for page in range(400):  # each thread takes a page, and waits; how soon depends on the machine
            made.submit(_task(tmp_path, "one", page, _expected("png16m")))
            time.sleep(0.01)
            if page >= 12 and len(made._workers) >= 4:
                break
        assert len(made._workers) == 4
    finally:
        made.stop()
        release.set()


def _sparse(path: Path, size: int, head: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def test_a_file_larger_than_the_page_can_be_is_refused_unread(tmp_path: Path) -> None:
    path = _sparse(tmp_path / "page", 4 << 40)
    with pytest.raises(VerificationFailed, match="more than a page"):
        verify(path, _expected("png16m"))
    with pytest.raises(VerificationFailed, match="more than a page"):
        verify(path, _expected("png16m", is_sized=False), limit=8 << 30)


@pytest.fixture
def verifications() -> Iterator[Verifications]:
    """A process."""
    one = Verifications()
    yield one
    one.stop()


def _check(one: Verifications, path: Path, expected: Expected) -> object:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return one.verify(descriptor, expected)
    finally:
        os.close(descriptor)


def test_a_sparse_png_of_gigabytes_is_read_in_pieces(
    tmp_path: Path, verifications: Verifications
) -> None:
    """A chunk that is larger than the memory of the process that reads it."""
    size = worker.MEMORY + (1 << 20)
    head = _png(b"")[:33] + struct.pack(">I", size - 33 - 12) + b"tEXt"
    path = _sparse(tmp_path / "page", size, head)
    with pytest.raises(VerificationFailed, match="damaged"):
        _check(verifications, path, _expected("png16m", is_sized=False))


def test_the_process_that_reads_pages_is_limited(tmp_path: Path, verifications: Verifications) -> None:
    path = tmp_path / "page"
    path.write_bytes(_png(ROWS))
    _check(verifications, path, _expected("png16m"))
    assert verifications._child is not None
    limits = {
        kind: resource.prlimit(verifications._child._process.pid, kind)[1]
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC)
    }
    assert list(limits.values()) == [worker.MEMORY, 0, 0]


def test_a_page_that_takes_too_much_cpu_time_fails_and_the_next_is_verified(
    tmp_path: Path, verifications: Verifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page"
    path.write_bytes(_png(ROWS))
    monkeypatch.setattr(process, "seconds", lambda size, expected: 0.0)
    slow = tmp_path / "slow"
    slow.write_bytes(b"<a>" * 20_000_000)
    with pytest.raises(VerificationFailed, match="takes too"):
        _check(verifications, slow, Expected(DEVICES["png16m"]._replace(format="xml"), DPI, None))
    monkeypatch.undo()
    assert _check(verifications, path, _expected("png16m"))


def test_a_page_is_not_blamed_for_the_time_that_this_machine_did_not_give(
    tmp_path: Path, verifications: Verifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page"
    path.write_bytes(_png(ROWS))
    _check(verifications, path, _expected("png16m"))
    monkeypatch.setattr(process, "WALL_TO_CPU", 0.01)
    assert verifications._child is not None
    pid, channel = verifications._child._process.pid, verifications._child._socket

    def resume() -> None:
        """As if the coordinator had been stopped until the answer was there."""
        os.kill(pid, signal.SIGCONT)
        assert select.select([channel], [], [], stretched(30))[0]

    os.kill(pid, signal.SIGSTOP)
    with path.open("rb") as file:
        assert verifications.verify(file.fileno(), _expected("png16m"), None, resume)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError, match="too busy"):
            verifications.verify(file.fileno(), _expected("png16m"))


def test_a_process_that_something_else_ended_is_replaced(
    tmp_path: Path, verifications: Verifications
) -> None:
    path = tmp_path / "page"
    path.write_bytes(_png(ROWS))
    _check(verifications, path, _expected("png16m"))
    assert verifications._child is not None
    os.kill(verifications._child._process.pid, signal.SIGKILL)
    assert _check(verifications, path, _expected("png16m"))


class _Sizes:
    """A document that says nothing of its pages."""

    def box(self, page: int) -> tuple[float, float] | None:
        return None

    def is_sound(self) -> bool:
        return False


def _task(folder: Path, host: str, page: int, expected: Expected) -> VerificationTask:
    name = f"{host}-{page}"
    (folder / "out").mkdir(exist_ok=True)
    (folder / "pages").mkdir(exist_ok=True)
    return VerificationTask(
        host, page, name, folder / name, folder / "pages" / name, folder / "out" / name, expected
    )


def test_a_page_is_not_published_once_the_document_was_replaced(tmp_path: Path) -> None:
    def replaced() -> None:
        raise DocumentReplaced

    results: list[Result | SyncRefused | Waits] = []
    verifier = Verifier(_Sizes(), replaced, results.append)
    try:
        task = _task(tmp_path, "host", 1, _expected("png16m"))
        task.work.write_bytes(_png(ROWS))
        verifier.submit(task)
        verifier.drain(30)
    finally:
        verifier.stop()
    assert results == [DocumentGone()]
    assert list((tmp_path / "pages").iterdir()) == list((tmp_path / "out").iterdir()) == []


def _run(
    tasks: list[VerificationTask], folder: Path, timeout: float
) -> list[Result | SyncRefused | Waits]:
    results: list[Result | SyncRefused | Waits] = []
    verifier = Verifier(_Sizes(), lambda: None, results.append)
    try:
        for task in tasks:
            verifier.submit(task)
        verifier.drain(timeout)
    finally:
        verifier.stop()
    return results


def test_pages_that_are_not_visible_yet_need_no_thread_each(tmp_path: Path) -> None:
    """Five thousand of one host, and one of another host that is there."""
    results: list[Result | SyncRefused | Waits] = []
    verifier = Verifier(_Sizes(), lambda: None, results.append)
    before = threading.active_count()
    try:
        for page in range(5000):
            verifier.submit(_task(tmp_path, "absent", page, _expected("png16m")))
        last = _task(tmp_path, "present", 1, _expected("png16m"))
        last.work.write_bytes(_png(ROWS))
        verifier.submit(last)
        while not any(isinstance(result, Verified) for result in results):
            assert threading.active_count() <= before + MAX_THREADS
            time.sleep(0.02)
    finally:
        verifier.stop()
    # On a busy machine the absent pages may be announced, or given up, before the last is verified.
    assert [result for result in results if not isinstance(result, Waits | Rejected)] == [
        result for result in results if isinstance(result, Verified) and result.task == last
    ]


def test_hosts_are_verified_in_turns(tmp_path: Path) -> None:
    queue: VerificationQueue[VerificationTask] = VerificationQueue()
    for page in range(100):
        queue.put(_task(tmp_path, "flood", page, _expected("png16m")))
    queue.put(_task(tmp_path, "other", 1, _expected("png16m")))
    taken = [queue.take() for _ in range(3)]
    assert [task.host for task in taken if task is not None] == ["flood", "other", "flood"]


def test_a_page_that_ends_its_process_twice_is_its_hosts_failure_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process._Child.ask

    def ask(child: process._Child, descriptor: int, request: object, on_slow: object) -> object:
        if os.fstat(descriptor).st_size < 100:
            child.kill()
        return real(child, descriptor, request, on_slow)  # type: ignore[arg-type]

    monkeypatch.setattr(process._Child, "ask", ask)
    good, bad = (_task(tmp_path, host, 1, _expected("png16m")) for host in ("good", "bad"))
    good.work.write_bytes(_png(ROWS, before=_chunk(b"tEXt", b"Comment\0" + bytes(100))))
    bad.work.write_bytes(b"x")
    results = _run([bad, good], tmp_path, 30)
    found = {type(result): result for result in results}
    assert set(found) == {Verified, Rejected}
    rejected = found[Rejected]
    assert isinstance(rejected, Rejected)
    assert rejected.task.host == "bad"


def test_where_no_process_can_be_started_the_storage_waits_and_no_host_is_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's limit of processes (RLIMIT_NPROC): the page is tried again, and the reason is told."""

    def refuse(*words: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    task = _task(tmp_path, "good", 1, _expected("png16m"))
    task.work.write_bytes(_png(ROWS))
    (result,) = _run([task], tmp_path, 30)
    assert isinstance(result, StorageTrouble)
    assert "cannot start a process to verify pages" in result.reason


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOENT])
def test_where_no_process_can_be_started_the_look_at_the_storage_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """So the run pauses with that reason, and ends when the storage's patience does."""

    def refuse(*words: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    folder = SimpleNamespace(work=tmp_path, pages=tmp_path)
    plan: Any = SimpleNamespace(folder=folder, output=tmp_path, history=SimpleNamespace(pages={}))
    posted: queue.SimpleQueue[ev.StorageFailed | ev.StorageRecovered] = queue.SimpleQueue()
    probe = StorageProbe(plan, posted.put, 1, Verifier.trouble)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    probe.start()
    failed = posted.get(timeout=stretched(30))
    assert isinstance(failed, ev.StorageFailed)
    assert "cannot start a process to verify pages" in failed.reason
    monkeypatch.undo()
    _until_looked(probe)
    probe.start()
    assert isinstance(posted.get(timeout=stretched(30)), ev.StorageRecovered)


@pytest.mark.parametrize("name", ["pages", "work", "output"])
def test_the_look_at_the_storage_finds_that_a_folder_is_gone(tmp_path: Path, name: str) -> None:
    gone = tmp_path / name
    places = {"pages": tmp_path, "work": tmp_path, "output": tmp_path, name: gone}
    folder = SimpleNamespace(work=places["work"], pages=places["pages"])
    history = SimpleNamespace(pages={})
    plan: Any = SimpleNamespace(folder=folder, output=places["output"], history=history)
    posted: queue.SimpleQueue[ev.StorageFailed | ev.StorageRecovered] = queue.SimpleQueue()
    probe = StorageProbe(plan, posted.put, 1)
    probe.start()
    words = f"{gone} is gone; mount it, or put it back"
    assert posted.get(timeout=stretched(30)) == ev.StorageFailed(words)
    _until_looked(probe)
    gone.mkdir()
    probe.start()
    assert isinstance(posted.get(timeout=stretched(30)), ev.StorageRecovered)


def _until_looked(probe: StorageProbe) -> None:
    wait_until(lambda: probe._since is None, 30, "the end of a look", pause=0.01)


def test_a_late_delivery_leaves_the_page_that_took_the_place_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator was stopped before it delivered; another one has replaced the page since."""
    task = _task(tmp_path, "late", 1, _expected("png16m"))
    task.work.write_bytes(_png(ROWS))
    right = _png(ROWS, before=_chunk(b"tEXt", b"Comment\0right"))
    real = publish.deliver
    has_lease = [True]

    def fence() -> None:
        if not has_lease[0]:
            raise LeaseLost

    def deliver(page: int, target: Path, sha256: str) -> bool:
        if has_lease[0]:
            has_lease[0] = False
            task.final.rename(tmp_path / "as the user has it")
            task.final.write_bytes(right)
            target.write_bytes(right)
        return real(page, target, sha256)

    monkeypatch.setattr(publish, "deliver", deliver)
    answers: queue.SimpleQueue[Result | SyncRefused | Waits] = queue.SimpleQueue()
    made = Verifier(_Sizes(), fence, answers.put)
    try:
        made.submit(task)
        assert isinstance(answers.get(timeout=stretched(30)), LeaseGone)
    finally:
        made.stop()
    assert task.target.read_bytes() == right


def test_hosts_whose_pages_take_long_keep_no_other_host_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many of them as there are threads at first."""
    real, release = process._Child.ask, threading.Event()

    def ask(child: process._Child, descriptor: int, request: object, on_slow: object) -> object:
        while os.fstat(descriptor).st_size == 1 and not release.wait(0.05):
            on_slow()  # type: ignore[operator]
        return real(child, descriptor, request, on_slow)  # type: ignore[arg-type]

    monkeypatch.setattr(process._Child, "ask", ask)
    answers: queue.SimpleQueue[Result | SyncRefused | Waits] = queue.SimpleQueue()
    verifier = Verifier(_Sizes(), lambda: None, answers.put)
    try:
        for page in range(1, 4):
            for host in ("slow", "slower"):
                task = _task(tmp_path, host, page, _expected("png16m"))
                task.work.write_bytes(b"x")
                verifier.submit(task)
        good = _task(tmp_path, "good", 1, _expected("png16m"))
        good.work.write_bytes(_png(ROWS))
        verifier.submit(good)
        assert isinstance(answers.get(timeout=stretched(30)), Verified)
    finally:
        release.set()
        verifier.stop()


def test_the_process_that_reads_pages_loads_no_library_of_others() -> None:
    """It starts in some 50 ms, and what it does not load cannot be attacked."""
    code = "import sys, sshrender.job.verification.worker; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in answer.stdout.split()}
    assert not loaded & {"PIL", "pypdf", "pydantic", "fabric", "paramiko", "rich", "typer", "subprocess"}
