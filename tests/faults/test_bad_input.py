"""Odd, hostile and damaged documents: what plain Ghostscript draws is delivered, nothing else is done.

``make test`` runs a hand-picked part; every document and several hundred random damages are rows of
the matrix.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sshrender.config import keyfile
from tests import pdfs
from tests.conftest import Run
from tests.faults import hostile_documents, odd_documents, random_damage
from tests.plain import SMOOTHED, page_content
from tests.stretch import stretched

DPI = 36
SECRET = "the-word-that-nobody-may-see"
BOUND = 90.0
"""Seconds within which each program must have ended on a busy machine; most need one."""

SEEDS, SEEDS_A_TEST = 300, 10

FAST = (
    "count-too-big",
    "kids-twice-the-same",
    "encrypt-without-sense",
    "box-less-than-a-point",
    "count-a-name",
    "kids-with-null",
    "box-none",
    "box-not-a-number",
    "rotate-45",
    "contents-the-page",
    "stream-cut",
    "bomb-in-a-bomb",
    "form-draws-itself",
    "startxref-nowhere",
    "table-shifted",
    "packed",
)
"""Odd documents that ``make test`` renders."""

LET_US_IN = ("escape-as-postscript-xobject", "escape-as-tint", "escape-behind-a-header")
"""Hostile ones that it renders."""

ODD = odd_documents.odd_documents()


class Desk:
    """A place to work at: a document, folders for everything that may be written, and a way to look."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self._run = run
        for name in ("san", "tmp", "plain", "alone", "in"):
            (folder / name).mkdir()
        # Ghostscript lets every document write to the temporary folder, -dSAFER or not.
        self._env = {"TMPDIR": str(folder / "tmp")}
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.target = folder / "taken"
        self.document = folder / "in" / "document.pdf"
        keyfile.load_or_make()  # made with the first job, as its owner's only file

    def plain(self, *words: str, into: str = "plain") -> list[bytes]:
        """The pictures that plain Ghostscript makes of the document, in its order."""
        output = self.folder / into
        for old in output.iterdir():
            old.unlink()
        self._ghostscript(output, words)
        # It leaves an empty file of a page that it says it could not draw: that is no picture.
        return [page_content(path) for path in sorted(output.iterdir()) if path.stat().st_size]

    def _ghostscript(self, output: Path, words: Sequence[str]) -> None:
        command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=png16m", f"-r{DPI}"]
        command += [*SMOOTHED, *words]
        subprocess.run(
            [*command, f"-sOutputFile={output}/page-%06d.png", self.document],
            cwd=self.folder,
            env={**os.environ, **self._env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=stretched(BOUND),
            check=False,
        )

    def render(self, *words: str) -> Answer:
        """What sshrender makes of it."""
        options = ["-r", DPI, "--json", "--retries", "1", "--san", self.san]
        options += ["--page-timeout", f"{stretched(20):.0f}s"]
        answer = self._run(
            "render", self.document, "-o", self.out, *options, *words, env=self._env, timeout=BOUND
        )
        return Answer(answer, _pictures(self.out))

    @property
    def san(self) -> Path:
        """The shared folder."""
        return self.folder / "san"

    @property
    def out(self) -> Path:
        """Where pages are delivered."""
        return self.folder / "out"

    def listing(self) -> set[str]:
        """Everything that is there, but for what the programs were told to write."""
        told = (self.san, self.out, self.folder / "plain", self.folder / "alone")
        found = self.folder.rglob("*")
        return {str(path) for path in found if not any(path.is_relative_to(known) for known in told)}

    def written(self) -> bytes:
        """Every byte that sshrender has written, but for its copy of the document."""
        files = [path for top in (self.san, self.out) for path in top.rglob("*")]
        return b"".join(p.read_bytes() for p in files if p.is_file() and p.name != "source.pdf")


class Answer:
    """How sshrender ended: exit code, streams, summary, and the pages that it delivered."""

    def __init__(self, ended: subprocess.CompletedProcess[str], pages: dict[int, bytes]) -> None:
        self.code = ended.returncode
        self.stdout, self.stderr = ended.stdout, ended.stderr
        self.pages = pages
        self.summary: dict[str, Any] = json.loads(ended.stdout)

    @property
    def pictures(self) -> list[bytes]:
        """In the document's order."""
        return [self.pages[number] for number in sorted(self.pages)]


@pytest.fixture
def desk(tmp_path: Path, sshrender: Run) -> Desk:
    """A desk without any configuration."""
    return Desk(tmp_path, sshrender)


def _pictures(folder: Path) -> dict[int, bytes]:
    paths = folder.iterdir() if folder.is_dir() else ()
    # Only a page's final name will do: int() refuses what is left over of anything else.
    return {int(path.stem.removeprefix("page-")): page_content(path) for path in paths}


def _hold(desk: Desk, data: bytes, *words: str) -> Answer:
    """Render the document both ways and hold everything that must be true of it."""
    desk.document.write_bytes(data)
    before = desk.listing()
    plain = desk.plain()
    answer = desk.render(*words)
    assert desk.listing() == before
    _check_streams(answer)
    _check_account(answer)
    _check_page_images(desk, answer, plain)
    assert list(desk.san.glob("*/work/*")) == []
    return answer


def _check_streams(answer: Answer) -> None:
    assert "Traceback" not in answer.stderr
    assert answer.code in (0, 3, 5), answer.stderr
    assert answer.summary["exit_code"] == answer.code
    if answer.code == 5:
        what, hint = answer.stderr.splitlines()
        assert what.startswith("sshrender: error: ")
        assert hint.startswith("hint: ")


def _check_account(answer: Answer) -> None:
    """Every page is delivered, or failed with its reason; the exit code says which."""
    pages, failed = answer.summary["pages"], answer.summary["failed_pages"]
    assert len(answer.pages) == pages["done"] + pages["suspect"]
    assert pages["total"] == pages["done"] + pages["suspect"] + pages["failed"]
    assert pages["failed"] == len(failed)
    assert all(page["reason"] and page["page"] not in answer.pages for page in failed)
    if answer.code != 5:
        assert answer.code == (3 if failed else 0)


def _check_page_images(desk: Desk, answer: Answer, plain: list[bytes]) -> None:
    """Plain Ghostscript's pictures, in its order; others only as it draws them alone.

    It numbers what it draws and not what the document counts, so a page that it leaves out moves the
    later ones up: what is compared is the order. It ends at a page that breaks it (a MediaBox of three
    numbers), where sshrender goes on with the next one. And of some damaged documents it draws a page
    otherwise when it has drawn those before it (seed 167), which here another host may have done.
    """
    ours = answer.pictures
    if ours == plain:
        return
    assert len(ours) >= len(plain), (
        len(ours),
        len(plain),
        answer.summary["failed_pages"],
        answer.stderr,
    )
    rest = iter(plain)
    assert all(any(picture == theirs for theirs in rest) for picture in ours if picture in plain)
    for number, picture in answer.pages.items():
        if picture not in plain or len(ours) > len(plain):
            alone = desk.plain(f"-dFirstPage={number}", f"-dLastPage={number}", into="alone")
            assert alone == [picture], f"page {number} is not what Ghostscript draws"


def _rows(names: Sequence[str], fast: Sequence[str]) -> list[object]:
    assert set(fast) <= set(names), set(fast) - set(names)
    return [pytest.param(name, marks=() if name in fast else pytest.mark.matrix) for name in names]


@pytest.mark.parametrize("name", _rows(tuple(ODD), FAST))
def test_an_odd_document_gives_what_plain_ghostscript_gives(desk: Desk, name: str) -> None:
    """No page fewer, none that differs, an end in time, and a reason for each page that is not there."""
    _hold(desk, ODD[name])


@pytest.mark.parametrize(
    "name", ["kids-with-a-hole", "kids-lead-to-an-ancestor", "resources-in-a-circle"]
)
def test_an_odd_document_is_not_split_into_other_pages(desk: Desk, name: str) -> None:
    """pypdf's parts of it would hold other pages than Ghostscript's, or none."""
    _hold(desk, ODD[name], "--split", "2")


@pytest.mark.matrix
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_a_damaged_document_gives_what_plain_ghostscript_gives(
    tmp_path: Path, sshrender: Run, first: int
) -> None:
    """The same for damages that nobody has thought of."""
    for seed in range(first, first + SEEDS_A_TEST):
        name, data = random_damage.damaged(seed)
        folder = tmp_path / f"seed-{seed}-{name}"
        folder.mkdir()
        _hold(Desk(folder, sshrender), data)


HOSTILE = tuple(hostile_documents.hostile_documents("", ""))


@pytest.mark.parametrize("name", _rows(HOSTILE, LET_US_IN))
def test_a_hostile_document_reaches_no_file(desk: Desk, name: str) -> None:
    """It reads nothing, writes nothing and runs nothing, and its pages are delivered all the same."""
    _hold(desk, hostile_documents.hostile_documents(str(desk.secret), str(desk.target))[name])
    _check_untouched(desk)


@pytest.mark.parametrize("header", [b"", b"%PDF-1.4\n"])
def test_postscript_under_another_name_is_not_run(desk: Desk, header: bytes) -> None:
    """Even when it claims to be a PDF within the first bytes."""
    desk.document.write_bytes(hostile_documents.postscript(str(desk.secret), str(desk.target), header))
    before = desk.listing()
    answer = desk.render()
    assert answer.code == 5
    _check_streams(answer)
    assert desk.listing() == before
    _check_untouched(desk)


def _check_untouched(desk: Desk) -> None:
    assert not desk.target.exists()
    assert desk.secret.read_text() == SECRET
    assert SECRET.encode() not in desk.written()


def _no_documents() -> dict[str, Callable[[Path], object]]:
    return {
        "absent": lambda path: None,
        "empty": lambda path: path.write_bytes(b""),
        "zeros": lambda path: path.write_bytes(bytes(5000)),
        "text": lambda path: path.write_text("hello\n" * 500),
        "a folder": lambda path: path.mkdir(),
        "a link to itself": lambda path: path.symlink_to(path),
        "a link to nothing": lambda path: path.symlink_to("/no/such/file"),
        "a device": lambda path: path.symlink_to("/dev/null"),
        "another format": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(999)),
    }


def test_what_is_no_pdf_is_said_in_two_lines(desk: Desk) -> None:
    """Whatever stands under the name: exit code 5, what is wrong, and what to type next."""
    for name, make in _no_documents().items():
        desk.document = desk.folder / "in" / f"{name}.pdf"
        make(desk.document)
        answer = desk.render()
        assert answer.code == 5, (name, answer.stderr)
        _check_streams(answer)
        assert answer.pages == {}


ALGORITHMS = ("RC4-40", "RC4-128", "AES-128", "AES-256")


@pytest.mark.parametrize("algorithm", _rows(ALGORITHMS, ["AES-256"]))
@pytest.mark.parametrize("user", ["", "s3cret"])
def test_a_password_is_asked_for_only_where_one_is_needed(desk: Desk, user: str, algorithm: str) -> None:
    """Under a user password: exit code 5; under an owner's only: the pages, as plain Ghostscript's."""
    answer = _hold(desk, _locked(desk.folder, user, algorithm))
    assert answer.code == (5 if user else 0)
    assert ("--password-file" in answer.stderr) == bool(user)


def _locked(folder: Path, user: str, algorithm: str) -> bytes:
    from pypdf import PdfReader, PdfWriter

    source = pdfs.write(folder / "open.pdf", pdfs.numbered(2, 100, 60))
    writer = PdfWriter(PdfReader(source))
    writer.encrypt(user, "owner", algorithm=algorithm)
    writer.write(folder / "locked")
    return (folder / "locked").read_bytes()


@pytest.mark.matrix
def test_three_pages_of_a_hundred_thousand_do_not_cost_the_others(desk: Desk) -> None:
    """The first, the middle and the last, numbered as in the document."""
    desk.document.write_bytes(odd_documents.many_pages(100_000))
    answer = desk.render("--pages", "1,50000,100000")
    assert answer.code == 0, answer.stderr
    assert sorted(answer.pages) == [1, 50_000, 100_000]
    assert answer.pictures == desk.plain("-sPageList=1,50000,100000")


@pytest.mark.matrix
def test_a_poster_among_small_pages(desk: Desk) -> None:
    """200 inches square, 52 million pixels."""
    answer = _hold(desk, odd_documents.poster())
    assert answer.code == 0
