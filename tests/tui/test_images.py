"""The dashboard outlives the images that it shows, and whatever else fails in it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual_image.widget import SixelImage

from sshrender.views.dashboard import terminalgraphics
from sshrender.views.dashboard.app import Dashboard
from tests.tui.journals import FakeJob, eventful
from tests.tui.test_dashboard import _play, _settle, _text

WIDE = (160, 50)


class _Slow(FakeJob):
    """Its storage answers when it is let."""

    def __init__(self) -> None:
        super().__init__(eventful(), 60)
        self.asked_for: list[str] = []
        self.may_answer = threading.Event()

    def picture(self, page_file: str, *, large: bool) -> bytes | None:
        self.asked_for.append(page_file)
        self.may_answer.wait(30)
        return super().picture(page_file, large=large)


def test_arrow_keys_over_pages_whose_thumbnails_are_on_their_way_end_nothing() -> None:
    job = _Slow()

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        for key in ("right", "right", "right", "left", "right", "down", "up", "right"):
            await pilot.press(key)
            await asyncio.sleep(0.02)
        job.may_answer.set()
        await _settle(pilot)
        assert app.is_running
        page = app._map.page
        assert page is not None
        assert app._shown_thumbnail == app._fold.pages[page].file == job.asked_for[-1]

    app = _play_slowly(scene, job)
    assert app.survived == []
    assert len(job.asked_for) <= 3, "those that nobody waits for any more are not read"


def _play_slowly(scene: Any, job: _Slow) -> Dashboard:
    """_play waits until all is read."""
    from sshrender.views.dashboard.styles import Styles
    from tests.tui.journals import BEGAN, Watcher

    app = Dashboard(Watcher(job), "big.pdf", looks=Styles(), clock=lambda: BEGAN + 10.0)

    async def sit() -> None:
        async with app.run_test(size=WIDE, notifications=True) as pilot:
            while not app._fold.pages or not app._is_loading:
                await asyncio.sleep(0.02)
            await scene(pilot, app)

    asyncio.run(sit())
    if app._defects:
        raise app._defects[0]
    return app


class _Broken(FakeJob):
    def __init__(self, what: Exception | bytes) -> None:
        super().__init__(eventful(), 60)
        self._what = what

    def picture(self, page_file: str, *, large: bool) -> bytes | None:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


@pytest.mark.parametrize(
    "what",
    [OSError(116, "Stale file handle"), RuntimeError("odd"), b"no image", b"\x89PNG\r\n\x1a\n\0\0"],
    ids=repr,
)
def test_an_image_that_cannot_be_read_is_said_in_its_place(what: Exception | bytes) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert "no page image" in _text(app)
        await pilot.press("right", "enter")
        await _settle(pilot)
        assert app.is_running

    _play(scene, _Broken(what), size=WIDE)


@pytest.mark.parametrize(
    "kind",
    [
        terminalgraphics.CELLS,
        terminalgraphics.CHARACTERS,
        terminalgraphics.SIXEL,
        terminalgraphics.KITTY,
    ],
)
def test_an_image_that_cannot_be_rendered_is_said_in_its_place(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def broken(self: object, *args: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(terminalgraphics, "_kind", kind)
    target: type[Widget] = terminalgraphics._widgets()[kind]
    if kind == terminalgraphics.SIXEL:
        from textual_image.widget import sixel

        target = sixel._ImageSixelImpl
        assert issubclass(terminalgraphics._widgets()[kind], SixelImage)
    monkeypatch.setattr(target, "render_lines", broken)
    monkeypatch.setattr(target, "get_content_height", broken)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert app.is_running
        await pilot.press("right")
        await _settle(pilot)
        assert app.is_running

    _play(scene, FakeJob(eventful(), 60), size=WIDE)


def test_a_key_whose_handling_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Dashboard) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Dashboard, "action_sort", broken)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("s")
        await _settle(pilot)
        assert "a defect of the dashboard: ZeroDivisionError" in _text(app)
        await pilot.press("2")
        await _settle(pilot)
        assert app._pane == "hosts"

    assert [type(error) for error in _play(scene, size=WIDE).survived] == [ZeroDivisionError]
