"""Errors in page images, threads and keys do not end the dashboard."""

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
    """Its storage answers only after ``may_answer`` is set."""

    def __init__(self) -> None:
        super().__init__(eventful(), 60)
        self.requested: list[str] = []
        self.may_answer = threading.Event()

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        self.requested.append(page_file)
        self.may_answer.wait(30)
        return super().page_image(page_file, large=large)


def test_moving_while_thumbnails_are_loaded_ends_nothing() -> None:
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
        assert app._shown_thumbnail == app._model.pages[page].file == job.requested[-1]

    app = _play_slowly(scene, job)
    assert app.survived == []
    assert len(job.requested) <= 3, "thumbnails that are no longer wanted are not read"


def _play_slowly(scene: Any, job: _Slow) -> Dashboard:
    """Run a scene at once: ``_play`` would wait until everything is read."""
    from sshrender.views.dashboard.styles import Styles
    from tests.tui.journals import BEGAN, Watcher

    app = Dashboard(Watcher(job), "big.pdf", styles=Styles(), clock=lambda: BEGAN + 10.0)

    async def run() -> None:
        async with app.run_test(size=WIDE, notifications=True) as pilot:
            while not app._model.pages or not app._is_loading:
                await asyncio.sleep(0.02)
            await scene(pilot, app)

    asyncio.run(run())
    if app._defects:
        raise app._defects[0]
    return app


class _Broken(FakeJob):
    def __init__(self, what: Exception | bytes) -> None:
        super().__init__(eventful(), 60)
        self._what = what

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


@pytest.mark.parametrize(
    "what",
    [OSError(116, "Stale file handle"), RuntimeError("odd"), b"no image", b"\x89PNG\r\n\x1a\n\0\0"],
    ids=repr,
)
def test_an_image_that_cannot_be_read_is_replaced_by_a_text(what: Exception | bytes) -> None:
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
def test_an_image_that_cannot_be_shown_is_replaced_by_a_text(
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
        assert "bug in the dashboard: ZeroDivisionError" in _text(app)
        await pilot.press("2")
        await _settle(pilot)
        assert app._pane == "hosts"

    assert [type(error) for error in _play(scene, size=WIDE).survived] == [ZeroDivisionError]
