"""A slot reports every page that it has taken, whatever its renderer does."""

from __future__ import annotations

import base64
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sshrender.renderers import ghostscript
from sshrender.runner.rendering import diagnosticsearch, thumbnailbudget, warmrenderer
from sshrender.runner.rendering.thumbnailbudget import CREDIT, SHARE, ThumbnailBudget
from sshrender.runner.rendering.warmsession import Answer, Session, SessionEnded
from sshrender.runner.wire import CRASHED
from tests import pdfs
from tests.unit import slots

PAGES = 40


class DiesWhenAsked(Session):
    """A renderer whose pipe breaks when it is first asked for a page while it renders another."""

    has_died = False
    is_rendering = False

    def tell(self, number: int, thumbnail_of: int | None = None) -> None:
        if self.is_rendering and not DiesWhenAsked.has_died:
            DiesWhenAsked.has_died = True
            raise SessionEnded(CRASHED, "the pipe broke", [])
        self.is_rendering = True
        super().tell(number, thumbnail_of)

    def answer(self, timeout: float) -> Answer:
        answer = super().answer(timeout)
        self.is_rendering = False
        return answer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder with its document."""
    slots.prepare(tmp_path, tmp_path / "temporary-files", monkeypatch)
    pdfs.write(tmp_path / "source.pdf", pdfs.numbered(PAGES))
    return tmp_path


class DiesOfThumbnails(Session):
    """A renderer that ends in the middle of the third thumbnail that it is asked for."""

    asked = 0

    def tell(self, number: int, thumbnail_of: int | None = None) -> None:
        super().tell(number, thumbnail_of)
        if thumbnail_of is not None:
            DiesOfThumbnails.asked += 1
            if DiesOfThumbnails.asked == 3:
                self._tell(["quit"])
                self._due.append(True)


def _messages(folder: Path, thumbnails: str = "") -> list[dict[str, Any]]:
    """Return the messages of a slot that renders all pages."""
    return slots.rendered(folder, range(1, PAGES + 1), slots.SETUP._replace(thumbnails=thumbnails))


def _answers(messages: list[dict[str, Any]]) -> dict[str, str]:
    """Return the type of the answer to each attempt."""
    return {attempt: answer["type"] for attempt, answer in slots.answers(messages).items()}


def test_a_renderer_that_dies_when_asked_for_the_next_page_loses_no_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmrenderer, "Session", DiesWhenAsked)
    monkeypatch.setattr(diagnosticsearch, "CLEAN_WINDOW_FACTOR", 0.0)  # windows end by count
    answers = _answers(_messages(folder))
    assert DiesWhenAsked.has_died
    assert set(answers) == {f"1.{page}" for page in range(1, PAGES + 1)}
    assert list(answers.values()).count("failed") == 1


class DiesOfTheSecond(Session):
    """A renderer that ends of page 2."""

    def tell(self, number: int, thumbnail_of: int | None = None) -> None:
        super().tell(number, thumbnail_of)
        if number == 2 and self.setup.device != diagnosticsearch.NO_PIXELS:
            self.kill(CRASHED)


def test_the_diagnostic_of_a_page_outlives_its_renderer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page 1 is delivered when page 2 ends the renderer, which has not said yet what page 1 causes."""
    pdfs.write(folder / "source.pdf", [pdfs.bad_operator_page(), *pdfs.numbered(1)])
    monkeypatch.setattr(warmrenderer, "Session", DiesOfTheSecond)
    # The document is not closed after the first page.
    monkeypatch.setattr(diagnosticsearch, "QUICK_OPENING", -1.0)
    monkeypatch.setattr(diagnosticsearch, "CLEAN_WINDOW_FACTOR", 1e9)
    messages = slots.rendered(folder, range(1, 3))
    assert _answers(messages) == {"1.1": "rendered", "1.2": "failed"}
    assert [each["page"] for each in messages if each["type"] == "suspected"] == [1]


def test_a_file_that_cannot_be_removed_ends_no_slot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage may become read-only while a page that never comes out is rendered."""
    pdfs.write(folder / "source.pdf", pdfs.numbered(PAGES - 1))
    remove = os.unlink

    def refuse(path: str, **place: int) -> None:
        if "/work/s" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        remove(path, **place)

    monkeypatch.setattr(os, "unlink", refuse)
    answers = _answers(_messages(folder))
    assert answers.pop(f"1.{PAGES}") == "failed"
    assert list(answers.values()) == ["rendered"] * (PAGES - 1)


class KilledLate(Session):
    """A renderer that is killed for a page whose answer was read already: its first and tenth."""

    count = 0

    def answer(self, timeout: float) -> Answer:
        answer = super().answer(timeout)
        KilledLate.count += 1
        if KilledLate.count in (1, 10):
            self.kill()
        return answer


def test_a_kill_that_comes_after_the_answer_loses_no_other_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmrenderer, "Session", KilledLate)
    # The document is not closed in between.
    monkeypatch.setattr(diagnosticsearch, "CLEAN_WINDOW_FACTOR", 1e9)
    answers = _answers(_messages(folder))
    assert KilledLate.count >= 10
    assert answers == {f"1.{page}": "rendered" for page in range(1, PAGES + 1)}


class Cancelled(Session):
    """A renderer whose tenth page is cancelled while it is rendered, and never ends if it hangs."""

    slot: Any = None
    hangs = False
    started = 0

    def open(self, timeout: float) -> Answer:
        Cancelled.started += self.pages_rendered == 0 and self.setup.device == slots.SETUP.device
        return super().open(timeout)

    def tell(self, number: int, thumbnail_of: int | None = None) -> None:
        if number == 10 and self.hangs:
            self._tell(["{} loop"])
        super().tell(number, thumbnail_of)

    def answer(self, timeout: float) -> Answer:
        self.slot.kill("1.10")
        return super().answer(timeout)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_cancelled_page_ends_its_renderer_only_where_it_takes_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(warmrenderer, "Session", Cancelled)
    # However slow this machine is, pages count as fast, and none is asked for ahead.
    monkeypatch.setattr(warmrenderer, "QUEUE_AHEAD_BELOW", 1e9)
    monkeypatch.setattr(warmrenderer.WarmRenderer, "_queue_ahead", lambda *_: None)
    monkeypatch.setattr(warmrenderer, "KILL_GRACE", 0.1 if hangs else 1e9)
    monkeypatch.setattr(Cancelled, "hangs", hangs)
    monkeypatch.setattr(Cancelled, "started", 0)
    rendering = slots.Rendering(folder, range(1, 13))
    monkeypatch.setattr(Cancelled, "slot", rendering.slot)
    rendering.slot.run()
    answers = _answers(rendering.messages())
    assert answers.pop("1.10") == ("failed" if hangs else "rendered")
    assert set(answers.values()) == {"rendered"}
    assert len(answers) == 11
    assert Cancelled.started == (2 if hangs else 1)


def test_every_page_has_a_thumbnail_of_a_bounded_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small pages earn little on a busy machine.
    monkeypatch.setattr(thumbnailbudget, "CREDIT", 60.0)
    messages = _messages(folder, "jpeg")
    images = {each["page"]: base64.b64decode(each["data"]) for each in messages if "data" in each}
    assert set(images) == set(range(1, PAGES + 1))
    for data in images.values():
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (ghostscript.THUMBNAIL, ghostscript.THUMBNAIL // 2)
    assert len(set(images.values())) > PAGES / 2  # each shows its number


def test_thumbnails_change_no_image(folder: Path, tmp_path: Path) -> None:
    """Rendering a page a second time leaves no trace in the pages after it."""
    pages = [*pdfs.numbered(3), pdfs.text_page(4, 700, 300), pdfs.bad_operator_page(), *pdfs.numbered(5)]
    pages += [pdfs.PdfPage((0, 0, 300, 200), page.content, "/Rotate 90") for page in pdfs.numbered(3)]
    pdfs.write(folder / "source.pdf", (pages * 3)[:PAGES])
    images = []
    for device in ("", "jpeg"):
        assert set(_answers(_messages(folder, device)).values()) <= {"rendered", "failed"}
        images.append({path.name: path.read_bytes() for path in (folder / "work").iterdir()})
    assert images[0] == images[1]


def test_a_renderer_that_dies_of_a_thumbnail_costs_no_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmrenderer, "Session", DiesOfThumbnails)
    answers = _answers(_messages(folder, "jpeg"))
    assert set(answers) == {f"1.{page}" for page in range(1, PAGES + 1)}
    assert set(answers.values()) == {"rendered"}
    assert DiesOfThumbnails.asked >= 3


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 100)), max_size=200))
def test_thumbnails_cost_at_most_their_share(pages: list[tuple[float, float]]) -> None:
    """Whatever each would take: over by one thumbnail and the first credit at most."""
    budget = ThumbnailBudget(True)
    drawn = spent = dearest = 0.0
    for seconds, thumbnail in pages:
        budget.earn(seconds)
        drawn += seconds
        if budget.allows_another():
            budget.spend(thumbnail)
            spent += thumbnail
            dearest = max(dearest, thumbnail)
    assert spent <= SHARE * drawn + CREDIT + dearest + 1e-6
