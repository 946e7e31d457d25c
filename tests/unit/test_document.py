"""Reading a document in a process of its own: right about sound ones, bounded about hostile ones."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NumberObject,
    StreamObject,
    TextStringObject,
)

from sshrender.coordinator import pagecount
from sshrender.document import readerprocess, reading, splitting, staging
from sshrender.document.facts import Stamp, check_file, encoded_password, read_password
from sshrender.document.opening import read_facts
from sshrender.document.reading import Reading
from sshrender.document.stagingowner import Owner
from sshrender.errors import ExitCode, UserError
from sshrender.renderers import ghostscript
from sshrender.storage import processidentity
from tests import pdfs
from tests.stretch import stretched


def _read(path: Path, password: str | None = None) -> Reading:
    found = Reading()
    found.begin(path, password)
    return found


def test_pages_and_sizes_are_the_documents_own(tmp_path: Path) -> None:
    path = pdfs.write(tmp_path / "a.pdf", pdfs.numbered(150))
    found = _read(path)
    assert found.facts() == (150, False, 0)
    box = PdfReader(path).pages[149].mediabox
    assert found.box(150) == (float(box.width), float(box.height))
    assert found.box(151) is None
    assert found.is_sound()
    found.close()


def test_sizes_are_inherited_turned_and_scaled(tmp_path: Path) -> None:
    writer = PdfWriter()
    for _ in range(3):
        writer.add_blank_page(100, 200)
    pages: Any = writer.pages
    pages[1][NameObject("/Rotate")] = NumberObject(270)
    pages[2][NameObject("/UserUnit")] = FloatObject(2)
    pages[0].pop("/MediaBox")
    root: Any = writer.root_object["/Pages"]
    root[NameObject("/MediaBox")] = ArrayObject([NumberObject(n) for n in (0, 0, 50, 60)])
    writer.write(tmp_path / "a.pdf")
    found = _read(tmp_path / "a.pdf")
    assert [found.box(page) for page in (1, 2, 3)] == [(50, 60), (200, 100), (200, 400)]
    found.close()


def test_a_page_tree_that_loops_ends(tmp_path: Path) -> None:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    root: Any = writer.root_object["/Pages"]
    root["/Kids"].append(writer.root_object.raw_get("/Pages"))
    writer.write(tmp_path / "loop.pdf")
    found = _read(tmp_path / "loop.pdf")
    assert found.box(1) == (100, 100)
    assert found.box(2) is None
    assert not found.counts_right()
    found.close()


def test_a_wrong_password_is_said_in_words(tmp_path: Path) -> None:
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(1))
    locked = pdfs.protect(plain, tmp_path / "locked.pdf", "secret")
    for password, what in ((None, "protected by a password"), ("guess", "wrong password")):
        with pytest.raises(UserError, match=what) as caught:
            _read(locked, password).facts()
        assert caught.value.code is ExitCode.DOCUMENT
    assert _read(locked, "secret").facts() == (1, True, 6)


def test_a_reader_that_dies_leaves_the_document_to_ghostscript(tmp_path: Path) -> None:
    path = pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1))
    found = Reading()
    found.close()
    found.begin(path, None)
    assert found.facts() == (None, False, 0)
    assert found.box(1) is None
    assert not found.is_sound()


def test_a_reader_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pdfs.write(tmp_path / "a.pdf", pdfs.numbered(1))
    monkeypatch.setattr(reading, "FACTS_TIMEOUT", 0.3)
    found = Reading()
    os.kill(found._worker._process.pid, signal.SIGSTOP)
    found.begin(path, None)
    assert found.facts() == (None, False, 0)
    assert found._worker._process.poll() is not None


def test_an_interrupt_while_a_dropped_reader_ends_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python ignores exceptions in what is called when an object goes."""
    end, is_dropped, has_ended = readerprocess._end, threading.Event(), threading.Event()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    reader = readerprocess.ReaderProcess()
    pid = reader._process.pid

    def end_slowly(dropped: subprocess.Popen[bytes]) -> None:
        if dropped.pid == pid:
            is_dropped.wait(5)  # never, where the one who drops it waits for this
            os.kill(os.getpid(), signal.SIGINT)
        end(dropped)
        if dropped.pid == pid:
            has_ended.set()

    monkeypatch.setattr(readerprocess, "_end", end_slowly)
    try:
        with pytest.raises(KeyboardInterrupt):
            del reader
            is_dropped.set()
            time.sleep(stretched(20))
    finally:
        signal.signal(signal.SIGINT, before)
    assert has_ended.wait(stretched(60)), "the slow end of the process belongs to this test"


def test_a_reader_nobody_wants_any_more_ends() -> None:
    worker = readerprocess.ReaderProcess()
    assert worker._process.stdin is not None
    worker._process.stdin.close()
    assert worker._process.wait(stretched(30)) is not None


def test_parts_hold_each_page_once(tmp_path: Path) -> None:
    source = pdfs.write(tmp_path / "source.pdf", pdfs.numbered(7))
    (tmp_path / "parts").mkdir()
    worker = readerprocess.ReaderProcess()
    worker.ask(
        "split",
        path=str(source),
        password=None,
        folder=str(tmp_path),
        per_part=3,
        pages=[1, 2, 6, 7],
        total=7,
    )
    assert [answer["ready"] for answer in worker.answers()] == [[1, 2], [6], [7]]
    for page in (1, 2, 6, 7):
        where = splitting.place(page, 3)
        text = PdfReader(tmp_path / where.file).pages[where.index - 1].extract_text()
        assert text == PdfReader(source).pages[page - 1].extract_text()


def test_a_document_that_cannot_be_split_says_so(tmp_path: Path) -> None:
    (tmp_path / "source.pdf").write_bytes(b"%PDF-1.4\nnothing")
    worker = readerprocess.ReaderProcess()
    worker.ask(
        "split",
        path=str(tmp_path / "source.pdf"),
        password=None,
        folder=str(tmp_path),
        per_part=1,
        pages=[1],
        total=1,
    )
    assert [set(answer) for answer in worker.answers()] == [{"error", "warnings"}]


@pytest.mark.parametrize(
    ("wanted", "size", "pages", "expected"),
    [
        ("none", 10**10, 10**4, 0),
        ("20", 10**6, 100, 20),
        ("100", 10**6, 100, 0),
        ("auto", 10**6, 100, 0),
        ("auto", 2 << 30, 20_000, 312),
    ],
)
def test_part_sizes(wanted: str, size: int, pages: int, expected: int) -> None:
    assert splitting.part_size(wanted, size, pages) == expected


def test_a_staged_document_is_the_document(tmp_path: Path) -> None:
    source, san = tmp_path / "a.pdf", tmp_path / "san"
    san.mkdir()
    source.write_bytes(os.urandom(3 << 20))
    with staging.Staged(source, san) as staged:
        assert staged.path.read_bytes() == source.read_bytes()
        assert staged.sha256 == staging.digest(source)
    assert list(san.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_staged_document_is_never_the_users_file(tmp_path: Path, mode: int) -> None:
    """It is as readable as the folder, and writing to the original does not change it."""
    source, san = tmp_path / "a.pdf", tmp_path / "san"
    san.mkdir(mode=0o755)
    source.write_bytes(b"%PDF-1.4 one")
    source.chmod(mode)
    with staging.Staged(source, san) as staged:
        staged.move_to(san / "source.pdf")
    source.write_bytes(b"%PDF-1.4 other")
    assert (san / "source.pdf").read_bytes() == b"%PDF-1.4 one"
    assert (san / "source.pdf").stat().st_mode & 0o777 == 0o444
    assert source.stat().st_nlink == 1


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_staged_document_that_its_descriptor_no_longer_finds_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    """A file system in user space loses it when the answer to the rename is lost."""
    source = tmp_path / "a.pdf"
    source.write_bytes(b"%PDF-1.4 one")
    target = tmp_path / "source.pdf"
    staged = staging.Staged(source, tmp_path)
    lost = staged._file.fileno()
    ask = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        if descriptor == lost and target.exists():
            raise FileNotFoundError
        return ask(descriptor)

    def rename(path: Path, new: Path) -> None:
        path.rename(new)
        if is_replaced:
            new.unlink()
            new.write_bytes(b"%PDF-1.4 two")

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(staging, "rename", rename)
    with staged:
        if is_replaced:
            with pytest.raises(OSError, match="Stale file handle"):
                staged.move_to(target)
        else:
            assert staged.move_to(target) == Stamp.of(target.stat())


def test_a_document_that_changes_while_it_is_copied_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, san = tmp_path / "a.pdf", tmp_path / "san"
    san.mkdir()
    source.write_bytes(b"%PDF-1.4 one")

    def write_meanwhile(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data)
        source.write_bytes(b"%PDF-1.4 two")

    monkeypatch.setattr(staging, "write_all", write_meanwhile)
    with pytest.raises(UserError, match="was changed while it was being read") as caught:
        staging.Staged(source, san)
    assert caught.value.code is ExitCode.DOCUMENT
    assert list(san.iterdir()) == []


def _left(folder: Path, owner: Owner) -> Path:
    path = folder / f"{staging.PREFIX}{owner}-{os.urandom(6).hex()}"
    path.touch()
    os.utime(path, (0, 0))  # the age of the document, which says nothing of the process
    return path


def test_only_what_an_ended_process_left_half_staged_is_cleared(tmp_path: Path) -> None:
    """Whatever its time stamp says; the process of another machine cannot be asked."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = Owner.of_this_process()
    kept = [
        _left(tmp_path, here),
        _left(tmp_path, here._replace(boot="0" * 32)),
        _left(tmp_path, here._replace(namespace=1, pid=ended.pid)),
    ]
    _left(tmp_path, here._replace(pid=ended.pid))
    _left(tmp_path, here._replace(start=here.start + 1))  # the same pid again
    staging.clear_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_staged_file_that_names_no_possible_process_ends_no_run(tmp_path: Path) -> None:
    """Any user of the shared folder can make one."""
    here = Owner.of_this_process()
    for pid, start in ((9_999_999_999, 1), (0, 99_999_999_999_999_999_999)):
        _left(tmp_path, here._replace(pid=pid, start=start))
    other = _left(tmp_path, here)
    staging.clear_stale(tmp_path)
    assert other in tmp_path.iterdir()


def test_what_another_machine_left_long_ago_is_cleared_unless_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Owner.of_this_process()._replace(boot="0" * 32)
    locked, _ = _left(tmp_path, other), _left(tmp_path, other)
    monkeypatch.setattr(staging, "ABANDONED", -1.0)
    with locked.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        staging.clear_stale(tmp_path)
    assert list(tmp_path.iterdir()) == [locked]


def test_a_process_that_may_not_be_looked_at_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid (proc(5)) those of other users are not shown: only ESRCH says that one has ended."""
    here = Owner.of_this_process()
    monkeypatch.setattr(processidentity, "started", lambda pid: "")
    assert here.is_dead(here) is False


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "is empty"), (b"hello", "not a PDF"), (None, "no such file")]
)
def test_what_is_no_pdf_is_told_apart(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "a.pdf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=what):
        check_file(path)


@pytest.mark.parametrize(
    ("name", "content", "what", "hint"),
    [
        ("a b.ps", b"%!PS-Adobe-3.0\n", "but PostScript", "ps2pdf 'a b.ps' 'a b.pdf'"),
        ("a.prn", b"\x1b%-12345X@PJL\n%!PS", "but PostScript", "ps2pdf a.prn a.pdf"),
        ("a.pcl", b"\x1b%-12345X@PJL ENTER LANGUAGE=PCL", "not a PDF", "file a.pcl"),
        ("-a.ps", b"%!PS-Adobe-3.0\n", "but PostScript", "ps2pdf ./-a.ps ./-a.pdf"),
        ("a.pdf.gz", b"\x1f\x8b\x08", "by gzip", "gunzip < a.pdf.gz > a.pdf"),
        # Nothing of the user's is written over.
        ("a.pdf", b"\x1f\x8b\x08", "by gzip", "gunzip < a.pdf > a-1.pdf"),
        ("there.ps", b"%!PS-Adobe-3.0\n", "but PostScript", "ps2pdf there.ps there-2.pdf"),
        ("m.bin", b"x" * 5000 + b"%PDF-1.4", "after 5,000 other", "tail -c +5001 m.bin > m.pdf"),
        ("a.png", b"\x89PNG\r\n", "an image", "img2pdf -o a.pdf a.png"),
        ("a.pdf", b"\r\n<!DOCTYPE html>", "a web page", "fetch the document again"),
        ("https:/h/a.pdf?b", None, "an address", "curl -fLo a.pdf 'https://h/a.pdf?b'"),
        ("https:/h/there.pdf", None, "an address", "curl -fLo there-2.pdf https://h/there.pdf"),
    ],
)
def test_what_can_become_a_pdf_has_a_hint_that_makes_it_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | None,
    what: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for there in ("there.pdf", "there-1.pdf"):
        Path(there).write_bytes(b"")
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(UserError, match=what) as refused:
        check_file(Path(name))
    before, colon, command = refused.value.hint.rpartition("then render that: ")
    assert (command if colon else refused.value.hint).startswith(hint), before


def _with_hidden_layer(path: Path) -> Path:
    """Three pages, on each a red square in a layer that is switched off."""

    def table(**entries: Any) -> DictionaryObject:
        return DictionaryObject({NameObject(f"/{key}"): value for key, value in entries.items()})

    writer = PdfWriter()
    layer = writer._add_object(table(Type=NameObject("/OCG"), Name=TextStringObject("hidden")))
    for _ in range(3):
        page = writer.add_blank_page(100, 100)
        drawing = StreamObject()
        drawing.set_data(b"/OC /L BDC 1 0 0 rg 20 20 60 60 re f EMC")
        page[NameObject("/Contents")] = writer._add_object(drawing)
        page[NameObject("/Resources")] = table(Properties=table(L=layer))
    shown = table(BaseState=NameObject("/ON"), OFF=ArrayObject([layer]))
    writer.root_object[NameObject("/OCProperties")] = table(OCGs=ArrayObject([layer]), D=shown)
    writer.write(path)
    return path


def _draw(path: Path, page: int) -> bytes:
    answer = subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=ppmraw", "-r36", "-sOutputFile=-"]
        + [f"-dFirstPage={page}", f"-dLastPage={page}", str(path)],
        capture_output=True,
        check=True,
    )
    return answer.stdout


def test_a_part_shows_the_layers_that_the_whole_shows(tmp_path: Path) -> None:
    source = _with_hidden_layer(tmp_path / "layers.pdf")
    (tmp_path / "parts").mkdir()
    with splitting.Splitter(source, None, tmp_path, 2) as splitter:
        list(splitting.split(splitter, [1, 2, 3]))
    for page in (1, 2, 3):
        where = splitting.place(page, 2)
        assert _draw(tmp_path / where.file, where.index) == _draw(source, page)


def test_parts_are_cut_on_demand_in_any_order(tmp_path: Path) -> None:
    source = pdfs.write(tmp_path / "ten.pdf", pdfs.numbered(10))
    (tmp_path / "parts").mkdir()
    worker = readerprocess.ReaderProcess()
    worker.ask("cut", path=str(source), password=None, folder=str(tmp_path), per_part=4, total=10)
    answers = worker.answers()
    try:
        for part in (2, 0):
            worker.add(part=part)
            assert next(answers)["cut"] == part
    finally:
        worker.stop()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "of4-00001.pdf",
        "of4-00003.pdf",
    ]
    where = splitting.fed_place(10, 4)
    assert _draw(tmp_path / where.file, where.index) == _draw(source, 10)


@pytest.mark.parametrize(
    ("attached", "has_collection", "is_refused"),
    [("a.pdf", True, True), ("a.PDF", True, True), ("notes.txt", True, False), ("a.pdf", False, False)],
)
def test_a_portfolio_is_refused_where_ghostscript_renders_what_is_attached(
    tmp_path: Path, attached: str, has_collection: bool, is_refused: bool
) -> None:
    """Pages never go missing in silence: Ghostscript itself says how many it would render."""
    inner = pdfs.write(tmp_path / "inner.pdf", pdfs.numbered(3))
    writer = PdfWriter(clone_from=pdfs.write(tmp_path / "cover.pdf", pdfs.numbered(1)))
    writer.add_attachment(attached, inner.read_bytes() if is_refused or not has_collection else b"text")
    if has_collection:
        writer.root_object[NameObject("/Collection")] = DictionaryObject()
    writer.write(tmp_path / "portfolio.pdf")
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=bbox", str(tmp_path / "portfolio.pdf")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert (shown.count("%%BoundingBox") != 1) is is_refused
    if is_refused:
        with pytest.raises(UserError, match="portfolio") as caught:
            read_facts(tmp_path / "portfolio.pdf", None)
        assert caught.value.code is ExitCode.DOCUMENT
        found = _read(tmp_path / "portfolio.pdf")
        with pytest.raises(UserError, match="portfolio"):  # although Ghostscript counts a page in it
            pagecount.read_facts(found, lambda: 1, has_password=False)
    else:
        facts, document = read_facts(tmp_path / "portfolio.pdf", None)
        assert document is not None
        document.close()
        assert facts.pages == 1


def test_a_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes("\ufeffpässwört\r\n".encode())
    assert read_password(tmp_path / "password") == "pässwört"


def test_a_password_in_another_encoding_is_refused_with_a_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes("pässwört".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8") as refused:
        read_password(path)
    subprocess.run(["sh", "-c", refused.value.hint.rpartition(": ")[2]], check=True)
    assert read_password(tmp_path / "password.utf8") == "pässwört"


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_a_password_with_umlauts_opens_the_document_in_ghostscript(
    tmp_path: Path, algorithm: str
) -> None:
    """Up to AES-128 the encryption has it in another encoding than UTF-8."""
    writer = PdfWriter(clone_from=pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(3)))
    writer.encrypt("pässwört", "owner", algorithm=algorithm)
    writer.write(tmp_path / "locked.pdf")
    facts, document = read_facts(tmp_path / "locked.pdf", "pässwört")
    assert document is not None
    document.close()
    password = encoded_password("pässwört", facts.revision)
    lines = ghostscript.open_lines(str(tmp_path / "locked.pdf"), password, "pages")
    command = ["gs", "-q", "-dNOSAFER", "-dNOPAUSE", "-sDEVICE=nullpage", "-"]
    answer = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    assert "pages 3" in " ".join(answer.stdout.split())
