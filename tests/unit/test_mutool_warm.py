"""A warm MuPDF makes the pixels of ``mutool draw``, in any order of pages, or declines the page."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from PIL import Image

from sshrender.config import recipes
from sshrender.config.recipeappearance import AppearanceRequest
from sshrender.renderers import mutool
from sshrender.renderers.dialogue import PageResult
from sshrender.renderers.ghostscript import FAR_AWAY, NEAR_BY, RasterOutput, Setup, output_name
from sshrender.renderers.mutool import Look, MutoolDialogue, has_written_page, look_of
from sshrender.renderers.recipe import Recipe
from sshrender.runner import wire
from sshrender.runner.host import rasterfolders
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.host.rasterfolders import RasterFolders, RasterRequest
from sshrender.runner.rendering import warmrenderer
from sshrender.runner.rendering.pageencoder import PageEncoder
from sshrender.runner.rendering.rendererinterface import RasterFile
from sshrender.runner.rendering.warmsession import Answer, Session, SessionEnded
from sshrender.runner.slots.taskqueue import Task
from tests import pdfs
from tests.unit import slots

DPI = "97.5"
NOISE = bytes((7 * n * n + n // 3) % 251 for n in range(90 * 90))
IMAGE = "/Subtype /Image /Width 90 /Height 90 /BitsPerComponent 8 /ColorSpace /DeviceGray"
GLYPH = b"8 0 0 0 8 8 d1 8 0 0 8 0 0 cm BI /W 32 /H 32 /IM true /BPC 1 ID " + NOISE[:128] + b" EI"
SPOT = (
    "[/Separation /Gold /DeviceCMYK"
    " << /FunctionType 2 /Domain [0 1] /C0 [0 0 0 0] /C1 [0 1 1 0] /N 1 >>]"
)

OBJECTS: dict[int, tuple[str, bytes]] = {
    21: (IMAGE, NOISE),
    22: (
        (
            "/Type /Font /Subtype /Type3 /FontBBox [0 0 8 8] /FontMatrix [.1 0 0 .1 0 0] /FirstChar 97"
            " /LastChar 97 /Widths [8] /Encoding << /Differences [97 /a] >> /CharProcs << /a 23 0 R >>"
        ),
        b"",
    ),
    23: ("", GLYPH),
    24: (
        (
            "/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 7.3 7.3] /XStep 7.3 /YStep 7.3"
            " /Resources << >>"
        ),
        b"1 0 0 rg 0 0 3.1 3.1 re f 0 0 1 RG 1 2 m 6 5 l S",
    ),
}
"""An image, a Type 3 font whose glyph is one, and a pattern: what MuPDF caches."""

SHARED = "/XObject << /I 21 0 R >> /Font << /T 22 0 R >> /Pattern << /P 24 0 R >>"
TEXT = b"BT /T 9 Tf 5 80 Td (aaa) Tj ET "
PAGES: list[tuple[str, bytes]] = [
    (f"/MediaBox [0 0 200 150] /Resources << {SHARED} >>", b"q 140 0 0 140 5 5 cm /I Do Q " + TEXT),
    (
        f"/MediaBox [0 0 90 120] /Rotate 90 /UserUnit 1.5 /Resources << {SHARED} >>",
        b"q 20 0 0 20 5.3 5.1 cm /I Do Q " + TEXT,
    ),
    (
        f"/MediaBox [0 0 90 120] /CropBox [3.3 4.4 88.8 119.2] /Resources << {SHARED} >>",
        b"/Pattern cs /P scn 5 5 60 60 re f BT /T 30 Tf 5 80 Td (a) Tj ET",
    ),
    (
        f"/MediaBox [-7.1 3 90 120.7] /Resources << {SHARED} >>",
        b"/Pattern cs /P scn 9.4 7.7 33 44 re f",
    ),
    (
        "/MediaBox [0 0 99 77] /Resources << /XObject << /I 21 0 R >> >>",
        b"q 20 0 0 20 5.3 5.1 cm /I Do Q 0 0 1 rg 35 5 60 60 re f",
    ),
    (
        f"/MediaBox [0 0 99 77] /Resources << /ColorSpace << /S {SPOT} >> >>",
        b"/S cs 0.7 scn 5 5 60 60 re f",
    ),
    (
        "/MediaBox [0 0 99 77] /Resources << /ExtGState << /O << /OP true >> >> >>",
        b"/O gs 1 0 0 0 k 5 5 60 60 re f 0 1 0 0 k 30 30 60 60 re f",
    ),
    ("/MediaBox [0 0 99 77] /Resources << /Font << /F << /isName 1 /get 2 >> >> >>", b"5 5 60 60 re f"),
    ("/MediaBox [0 0 60 60] /Resources << >>", b"(x) Tj\n0 0 50 50 re f\nnonsense\nnonsense\n"),
]
TILES, SPOTS, BAD = (3, 4), (6, 7, 8), 9
"""Pages with the tiles of one pattern; that need an overprint simulation or have hostile names; one with
errors, which comes out."""

ORDER = (3, 1, 2, 4, 5, 6, 7, 8, 9, 4, 3, 2, 1, 5)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = dict(OBJECTS)
    for number, (keys, content) in enumerate(PAGES):
        at = 3 + 2 * number
        parts[at] = (f"/Type /Page /Parent 2 0 R {keys} /Contents {at + 1} 0 R", b"")
        parts[at + 1] = ("", content)
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(PAGES)))
    parts[1] = ("/Type /Catalog /Pages 2 0 R", b"")
    parts[2] = (f"/Type /Pages /Kids [{kids}] /Count {len(PAGES)}", b"")
    path = tmp_path_factory.mktemp("document") / "odd.pdf"
    assert len(PAGES) == 9, "the numbers of OBJECTS follow theirs"
    path.write_bytes(pdfs.assemble({number: _object(*part) for number, part in parts.items()}))
    return path


def _object(keys: str, content: bytes) -> bytes:
    if not content:
        return f"<< {keys} >>".encode()
    return f"<< {keys} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"


class Warm:
    """One session, and what it makes of a page."""

    def __init__(
        self, folder: Path, document: Path, given: AppearanceRequest, *, has_rasters: bool = True
    ) -> None:
        recipe = Recipe.of(recipes.as_sent(["mutool"], {}, given)[0])
        assert recipe is not None
        look = look_of(recipe)
        assert look is not None
        (folder / "work").mkdir()
        (folder / "odd.pdf").symlink_to(document)
        self.look, self.folder, self.places = look, folder, set[int]()
        self.dialogue = MutoolDialogue(look, recipe)
        raster = RasterOutput("", 24, str(folder / "near"), 21_000, str(folder / "far"), 1 << 20)
        for name in ("near", "far"):
            (folder / name).mkdir()
        setup = Setup("gs", "png16m", DPI, "odd.pdf", "work", "page.%d.1", (), "test")
        self.setup = setup._replace(raster=raster if has_rasters else None)
        process = ProcessSetup(str(folder), dict(os.environ), 1 << 30)
        self.session = Session(self.setup, process, self.dialogue)
        assert self.session.open(60).value == str(len(PAGES))

    def page(self, number: int) -> tuple[bytes | None, list[str]]:
        """Return a page's PNG file, None if it was declined, and its diagnostics."""
        self.session.tell(number)
        answer = self.session.answer(60)
        result = self.dialogue.page_result(answer.value, answer.lines)
        lines = self.dialogue.warnings(answer.lines)
        if result.is_declined:
            return None, lines
        assert result.is_rendered, lines
        if result.place is None:
            return (self.folder / output_name(self.setup, result.shown)).read_bytes(), lines
        self.places.add(result.place)
        chunks = mutool.resolution_chunk(self.look, DPI)
        raster = RasterFile(output_name(self.setup, result.shown, result.place), chunks)
        path = self.folder / "work" / f"{result.shown}.png"
        PageEncoder().encode(raster, str(path))
        return path.read_bytes(), lines


@pytest.fixture
def warm(tmp_path: Path, document: Path) -> Iterator[Warm]:
    made = Warm(tmp_path, document, AppearanceRequest())
    yield made
    made.session.close()


def _draw(document: Path, number: int, words: list[str]) -> bytes:
    """Return what plain mutool draws."""
    path = document.parent / "plain.png"
    command = ["mutool", "draw", "-q", *words, "-o", str(path), str(document), str(number)]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)  # 1: the page has errors
    return path.read_bytes()


def _look(png: bytes) -> tuple[object, ...]:
    with Image.open(io.BytesIO(png)) as image:
        return image.mode, image.size, image.info.get("dpi"), image.tobytes()


@pytest.mark.parametrize(
    ("given", "words", "declined"),
    [
        (AppearanceRequest(), ["-r", DPI], SPOTS),
        (AppearanceRequest(antialias="2", box="crop"), ["-r", DPI, "-A", "2"], (*SPOTS, 1, 2, 3, 4)),
        (AppearanceRequest(size=(131, 77)), ["-w", "131", "-h", "77"], SPOTS),
        (AppearanceRequest(device="pnggray"), ["-r", DPI, "-c", "gray"], SPOTS),
    ],
    ids=["as it is", "antialias", "size", "grey"],
)
def test_a_page_looks_as_mutool_draws_it_in_any_order_of_pages(
    tmp_path: Path,
    document: Path,
    given: AppearanceRequest,
    words: list[str],
    declined: tuple[int, ...],
) -> None:
    """Also where pages share what MuPDF keeps in its cache."""
    warm = Warm(tmp_path, document, given)
    plain = {number: _look(_draw(document, number, words)) for number in range(1, len(PAGES) + 1)}
    try:
        had_tiles = False
        for number in ORDER:
            png, _lines = warm.page(number)
            # MuPDF keeps tiles for good, and would place them as on the page before.
            assert (png is None) == (number in declined or (number in TILES and had_tiles)), number
            had_tiles |= number in TILES
            if png is not None:
                assert _look(png) == plain[number], number
        assert warm.places == {NEAR_BY, FAR_AWAY}
    finally:
        warm.session.close()


def test_without_room_for_rasters_mutool_writes_the_files(tmp_path: Path, document: Path) -> None:
    warm = Warm(tmp_path, document, AppearanceRequest(), has_rasters=False)
    try:
        for number in (1, 3, 5):
            assert warm.page(number)[0] == _draw(document, number, ["-r", DPI])
    finally:
        warm.session.close()


def test_diagnostics_belong_to_their_page(warm: Warm) -> None:
    """Each time, though MuPDF itself only counts a warning that repeats."""
    for _ in range(2):
        assert warm.page(5)[1] == []
        assert any("unknown keyword" in line for line in warm.page(BAD)[1])
    assert warm.page(5)[1] == []


def test_a_dead_mutool_is_named(warm: Warm) -> None:
    os.kill(warm.session._process.pid, signal.SIGKILL)
    with pytest.raises(SessionEnded) as ended:
        warm.page(1)
    assert ended.value.kind == wire.CRASHED
    assert ended.value.reason == "mutool died of signal 9"


@pytest.mark.parametrize(
    ("words", "look"),
    [
        (["-r", "{dpi}"], Look()),
        (["-r", "{dpi}", "-A", "4"], Look("4")),
        (["-w", "30", "-h", "40"], Look("", "30x40")),
        (["-r", "{dpi}", "-c", "gray"], Look("", "", "gray")),
        (["-r", "{dpi}", "-c", "cmyk"], None),
        (["-r", "150"], None),
        (["-r", "{dpi}", "-w", "30", "-h", "40"], None),
        (["-r", "{dpi}", "-I"], None),
        (["-r", "{dpi}", "-r", "{dpi}"], None),
        (["-r", "{dpi}", "-A", "4/8"], None),
        ([], None),
    ],
)
def test_only_words_that_the_script_can_replace_are_replaced(
    words: list[str], look: Look | None
) -> None:
    steps = [["mutool", "draw", "-q", *words, "-o", "{output}", "{document}", "{page}"]]
    assert look_of(Recipe("mine", steps, "", "png", "error")) == look
    assert look_of(Recipe("mine", [*steps, ["true"]], "", "png", "error")) is None
    assert look_of(Recipe("mine", steps, "", "pam", "error")) is None


def _rendering(
    folder: Path,
    numbers: Sequence[int],
    recycle_memory: int = 1 << 30,
    has_rasters: bool = True,
    **changes: Any,
) -> slots.Rendering:
    """Return a slot that renders these pages by the recipe mutool."""
    rasters = RasterFolders(RasterRequest("", 24), 1, 2 << 30) if has_rasters else None
    return slots.Rendering(
        folder,
        numbers,
        slots.SETUP._replace(dpi=DPI, document="odd.pdf", thumbnails="png16m"),
        recycle_memory=recycle_memory,
        recipes=(Recipe.of(recipes.as_sent(["mutool"], {})[0]),),
        recipe_rasters=rasters,
        **{"pages": len(PAGES), **changes},
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder."""
    slots.prepare(tmp_path, tmp_path / "temporary-files", monkeypatch)
    return tmp_path


@pytest.mark.parametrize(
    ("recycle_memory", "has_rasters"),
    [(1 << 30, True), (1, True), (1 << 30, False)],
    ids=["one process", "a process for each page", "without rasters"],
)
def test_a_slot_renders_what_is_declined_with_mutool_draw(
    folder: Path, document: Path, recycle_memory: int, has_rasters: bool
) -> None:
    """Every page looks as mutool draws it, and only the broken one has diagnostics."""
    (folder / "odd.pdf").symlink_to(document)
    rendering = _rendering(folder, ORDER, recycle_memory, has_rasters)
    rendering.slot.run()
    answers = slots.answers(rendering.messages())
    plain = {number: _look(_draw(document, number, ["-r", DPI])) for number in set(ORDER)}
    for attempt, number in enumerate(ORDER, 1):
        answer = answers[f"1.{attempt}"]
        assert answer["type"] == "rendered", answer
        assert bool(answer["diagnostics"]) == (number == BAD), answer
        assert _look((folder / "work" / f"p{attempt}").read_bytes()) == plain[number], number
    assert len(list((folder / "work").iterdir())) == len(ORDER)


def test_a_declined_page_with_errors_in_it_is_delivered_and_suspect(folder: Path) -> None:
    """``mutool draw`` ends with 1 there, and has rendered the page all the same."""
    keys = "/MediaBox [0 0 99 77] /Resources << /ExtGState << /O << /OP true >> >> >> /Contents 4 0 R"
    parts = {
        1: ("/Type /Catalog /Pages 2 0 R", b""),
        2: ("/Type /Pages /Kids [3 0 R] /Count 1", b""),
        3: (f"/Type /Page /Parent 2 0 R {keys}", b""),
        4: ("", b"/O gs 1 0 0 0 k 5 5 60 60 re f nonsense 0 1 0 0 k 30 30 60 60 re f"),
    }
    path = folder / "odd.pdf"
    path.write_bytes(pdfs.assemble({number: _object(*part) for number, part in parts.items()}))
    for has_rasters in (True, False):
        rendering = _rendering(folder, (1,), has_rasters=has_rasters, pages=1)
        rendering.slot.run()
        answer = slots.answers(rendering.messages())["1.1"]
        assert (answer["type"], answer["diagnostics"]) == (
            "rendered",
            ["error: unknown keyword: 'nonsense'"],
        )
        rendered = (folder / "work" / "p1").read_bytes()
        assert _look(rendered) == _look(_draw(path, 1, ["-r", DPI]))


def test_a_page_that_mutool_draw_gives_up_is_not_written() -> None:
    command, wrong = ["mutool", "draw", "-q"], "error: unknown keyword: 'x'"
    assert has_written_page(command, 1, [wrong])
    assert not has_written_page(command, 1, [wrong, "error: cannot draw 'a.pdf'"])
    assert not has_written_page(command, 1, ["error: cannot open file 'b.png'", "Rendering failed"])
    assert not has_written_page(command, 1, []), "a wrong option"
    assert not has_written_page(command, 139, [wrong])
    assert not has_written_page(["mutool", "convert"], 1, [wrong])


def test_a_cancelled_page_that_is_declined_is_not_rendered_by_mutool_draw(
    folder: Path, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast pages are: the grace of a warm renderer is not one for another program."""
    (folder / "odd.pdf").symlink_to(document)
    rendering = _rendering(folder, (1, 6, 2))
    read = warmrenderer.WarmRenderer._result

    def cancelled(self: warmrenderer.WarmRenderer, answer: Answer) -> PageResult:
        result = read(self, answer)
        if result.is_declined:
            rendering.slot.kill("1.2")
        return result

    monkeypatch.setattr(warmrenderer, "QUEUE_AHEAD_BELOW", 1e9)
    monkeypatch.setattr(warmrenderer, "KILL_GRACE", 1e9)
    monkeypatch.setattr(warmrenderer.WarmRenderer, "_queue_ahead", lambda *_: None)
    monkeypatch.setattr(warmrenderer.WarmRenderer, "_result", cancelled)
    drawn = list[Task]()
    monkeypatch.setattr(
        warmrenderer.WarmRenderer, "_one_shot_raster", lambda _, __, task, ___: drawn.append(task)
    )
    rendering.slot.run()
    assert drawn == []
    answers = slots.answers(rendering.messages())
    assert (answers["1.2"]["type"], answers["1.2"]["kind"]) == ("failed", "killed")
    assert (answers["1.1"]["type"], answers["1.3"]["type"]) == ("rendered", "rendered")


@pytest.mark.parametrize(
    ("revision", "password"),
    [("AES-128", "Größe"), ("AES-256", "日本語 " * 12), ("RC4-40", "x")],
    ids=["Latin-1", "UTF-8 of two lines", "RC4"],
)
def test_a_document_with_a_password_looks_as_without_it(
    folder: Path, document: Path, revision: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the pages that mutool draw renders: no command line names the password, nothing stays."""
    is_seen = folder / "seen"
    _mutool_that_waits(folder, is_seen, monkeypatch)
    encrypted = folder / "odd.pdf"
    with pikepdf.open(document) as opened:
        opened.save(encrypted, encryption=_encryption(revision, password))
    names = set[str]()
    rendering = _rendering(folder, (1, 6, 7, BAD), password=password)
    rendering.slot.start()
    while rendering.slot.is_alive():
        names |= _command_lines()
        if any("decrypted.pdf" in each for each in names):
            is_seen.touch()
        rendering.slot.join(0.002)
    answers = slots.answers(rendering.messages())
    for attempt, number in enumerate((1, 6, 7, BAD), 1):
        assert answers[f"1.{attempt}"]["type"] == "rendered", answers
        plain = _look(_draw(document, number, ["-r", DPI]))
        assert _look((folder / "work" / f"p{attempt}").read_bytes()) == plain, number
    assert any("decrypted.pdf" in each for each in names)
    assert not [each for each in names if password.strip() in each and len(password) > 1]
    assert list((folder / "temporary-files").rglob("*.pdf")) == []


def _mutool_that_waits(folder: Path, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a mutool that is to read the decrypted document wait for a file, so that it is seen."""
    program = folder / "bin" / "mutool"
    program.parent.mkdir()
    wait = f"until [ -e {gate} ]; do sleep 0.01; done"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *decrypted.pdf*) {wait};; esac\nexec {shutil.which("mutool")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def _encryption(revision: str, password: str) -> pikepdf.Encryption:
    if revision == "AES-256":
        return pikepdf.Encryption(user=password, owner="other", R=6)
    is_aes = revision == "AES-128"
    return pikepdf.Encryption(
        user=password, owner="other", R=4 if is_aes else 2, aes=is_aes, metadata=is_aes
    )


def _command_lines() -> set[str]:
    """Return the command lines of the processes that this one has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().decode("utf-8", "replace").replace("\0", " ")
            if "mutool" in text:
                found.add(text)
    return found


@pytest.mark.parametrize(("known", "notes"), [(len(PAGES), []), (len(PAGES) - 1, [8])])
def test_pages_that_only_mutool_finds_are_not_missed_in_silence(
    folder: Path, document: Path, known: int, notes: list[int]
) -> None:
    (folder / "odd.pdf").symlink_to(document)
    rendering = _rendering(folder, (5,), pages=known)
    rendering.slot.run()
    messages = rendering.messages()
    lines = [line for each in messages if each["type"] == "noted" for line in each["diagnostics"]]
    wanted = [f"mutool finds 9 pages in the document, and this job knows of {each}" for each in notes]
    assert lines == wanted


def test_a_wrong_password_is_named(folder: Path, document: Path) -> None:
    with pikepdf.open(document) as opened:
        opened.save(folder / "odd.pdf", encryption=_encryption("AES-256", "right"))
    rendering = _rendering(folder, (5,), password="wrong")
    rendering.slot.run()
    answer = slots.answers(rendering.messages())["1.1"]
    assert answer["type"] == "failed"
    assert "error: the document is not open: wrong or no password" in answer["reason"]


@pytest.mark.parametrize(
    ("has_rasters", "pages", "size"),
    [(True, {1, 5, 6}, (135, 105)), (False, {1, 5}, (224, 174))],
    ids=["of the rasters", "where mutool writes the files"],
)
def test_pages_have_thumbnails(
    folder: Path, document: Path, has_rasters: bool, pages: set[int], size: tuple[int, int]
) -> None:
    """With rasters also a page that mutool draw renders."""
    if has_rasters and not rasterfolders._PLAIN.fullmatch(str(folder)):
        pytest.skip(f"no rasters in a folder that Ghostscript would read otherwise: {folder}")
    (folder / "odd.pdf").symlink_to(document)
    rendering = _rendering(folder, (1, 5, 6), has_rasters=has_rasters)
    rendering.slot.run()
    messages = rendering.messages()
    made = {each["page"]: each["data"] for each in messages if each["type"] == "thumbnail"}
    assert set(made) == pages
    with Image.open(io.BytesIO(base64.b64decode(made[5]))) as small:
        assert small.size == size


def test_an_attempt_is_killed_alone(folder: Path) -> None:
    pdfs.write(folder / "odd.pdf", [pdfs.endless_page(), *pdfs.numbered(3)])
    rendering = _rendering(folder, (1, 2, 3))
    rendering.slot.start()
    while rendering.slot._warm._session is None or not any(
        each["type"] == "started" for each in rendering.messages()
    ):
        time.sleep(0.01)
    rendering.slot.kill("1.1")
    rendering.slot.join()
    answers = slots.answers(rendering.messages())
    assert answers["1.1"]["kind"] == wire.KILLED
    assert [answers[name]["type"] for name in ("1.2", "1.3")] == ["rendered", "rendered"]
