"""The dashboard: what the user sees at several sizes, and what the keys do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.app import App
from textual.binding import Binding
from textual.pilot import Pilot

from sshrender.views.dashboard.app import Dashboard
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.styles import Styles
from tests.stretch import stretched
from tests.tui.journals import BEGAN, FakeJob, Journal, Watcher, eventful, straggling

SNAPSHOTS = Path(__file__).parent / "snapshots"
Scene = Callable[[Pilot[None], Dashboard], Awaitable[None]]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log shows local time."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()


def _play(
    scene: Scene,
    job: FakeJob | None = None,
    *,
    size: tuple[int, int] = (80, 24),
    owner: Watcher | None = None,
    styles: Styles | None = None,
) -> Dashboard:
    """Run a scene in a dashboard of that size."""
    owner = owner or Watcher(job or FakeJob(eventful(), 60))
    app = Dashboard(owner, "big.pdf", styles=styles or Styles(), clock=lambda: BEGAN + 10.0)

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await _settle(pilot)
            await scene(pilot, app)

    asyncio.run(run())
    if app._defects:
        raise app._defects[0]
    return app


async def _settle(pilot: Pilot[None]) -> None:
    """Wait until everything that was read is shown and nothing changes any more."""
    before = ""
    for _ in range(40):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(0.05)
        text = _text(pilot.app)
        if text == before:
            break
        before = text


def _text(app: App[None]) -> str:
    """Return the text on the screen: Textual exports only images of it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def _compare(name: str, found: str) -> None:
    """Compare with a snapshot; with UPDATE_SNAPSHOTS set, write the snapshot instead."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), f"{name}: UPDATE_SNAPSHOTS=1 accepts it"


async def _until_it_stands(pilot: Pilot[None], name: str, seconds: float = 30.0) -> None:
    """Wait until the screen shows a snapshot, or for so many seconds: the comparison tells the rest."""
    if os.environ.get("UPDATE_SNAPSHOTS"):
        return
    expected = (SNAPSHOTS / name).read_text(encoding="utf-8")
    began = time.monotonic()
    while _text(pilot.app) != expected and time.monotonic() - began < stretched(seconds):
        await pilot.pause(0.05)


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (160, 50)])
@pytest.mark.parametrize("pane", ["1", "2", "3", "4"])
def test_it_looks_like_its_snapshot(size: tuple[int, int], pane: str) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press(pane)
        await _settle(pilot)
        name = f"{size[0]}x{size[1]}-{pane}"
        await _until_it_stands(pilot, f"{name}.txt")  # a page's image comes when a thread has read it
        _compare(f"{name}.txt", _text(app))
        if pane == "1":
            _compare(f"{name}.svg", app.export_screenshot(title="sshrender"))

    _play(scene, size=size)


def test_every_state_has_its_own_symbol() -> None:
    """Without colours, too, and in ASCII."""
    for styles in (Styles(), Styles(is_ascii=True)):
        pages = ["waiting", "sent", "done", "suspect", "failed", "straggler"]
        symbols = [styles.page(state)[0] for state in pages]
        assert len(set(symbols)) == len(symbols)
        hosts = ["idle", "busy", "drained", "connecting", "quarantined", "lost", "refused"]
        symbols = [styles.host(state)[0] for state in hosts]
        assert len(set(symbols)) == len(symbols)
        assert not styles.is_ascii or all(symbol.isascii() for symbol in symbols)


def test_a_plain_terminal_gets_ascii_symbols() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        shown = app.query_one(PageMap).render_line(0).text
        assert shown.isascii()
        assert "#" in shown

    _play(scene, styles=Styles(is_ascii=True))


@pytest.mark.parametrize("pages", [10, 20_000])
def test_the_map_is_useful_for_few_pages_and_for_many(pages: int) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("end")
        assert app.query_one(PageMap).page == pages
        await pilot.press("slash", *"7", "enter")
        await _settle(pilot)
        assert app.query_one(PageMap).page == 7
        assert "page 7" in _text(app)

    _play(scene, FakeJob(Journal(pages, ["node1"]), pages))


def test_the_cursor_moves_and_goes_from_problem_to_problem() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        where = app.query_one(PageMap)
        await pilot.press("right", "right")
        assert where.page == 3
        await pilot.press("left")
        assert where.page == 2
        visited = []
        for _ in range(4):
            await pilot.press("n")
            visited.append(where.page)
        assert visited == [7, 12, 23, 7]  # suspect, failed, and one that takes much too long
        await pilot.press("N")
        assert where.page == 23
        await pilot.press("3")
        await _settle(pilot)
        assert "takes much longer than usual" in _text(app)

    _play(scene, FakeJob(straggling(), 60))


def test_details_describe_a_page_and_a_host() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("n", "n")
        await _settle(pilot)
        assert "page 12" in _text(app)
        assert "Ghostscript died of signal 9" in _text(app)
        await pilot.press("2", "home")
        await _settle(pilot)
        assert "no python3 there" in _text(app)
        assert "ssh artist@node4" in _text(app)

    _play(scene)


def test_hosts_are_sorted_and_filtered() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        listing = app._listing("hosts")
        await pilot.press("2")
        assert [row.key for row in listing._rows] == ["node4", "node2", "node1", "node3"]
        await pilot.press("r")
        assert listing._rows[0].key == "node3"
        await pilot.press("r")
        while listing.sorted_by != "pages":
            await pilot.press("s")
        assert listing._rows[0].key in ("node1", "node2")
        await pilot.press("slash", *"lost", "enter")
        assert [row.key for row in listing._rows] == ["node2"]
        await pilot.press("escape")
        assert len(listing._rows) == 4

    _play(scene)


def test_the_log_is_filtered_by_text_and_by_host() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("4", "slash", *"died", "enter")
        await _settle(pilot)
        rows = [row.cells[1] for row in app._listing("log")._rows]
        assert rows
        assert all("died" in words for words in rows)
        await pilot.press("2", "home", "enter")
        await _settle(pilot)
        assert app._pane == "log"
        assert {"node4" in row.cells[1] for row in app._listing("log")._rows} == {True}

    _play(scene)


def test_keys_send_requests_to_the_coordinator() -> None:
    job = FakeJob(eventful(), 60)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        typed = [["h"], ["2", "home", "d", *"disk", "enter"], ["u"], ["1", "n", "n", "t"]]
        for keys in [*typed, ["x", "n"], ["x", "y"]]:
            await pilot.press(*keys)
            await _settle(pilot)

    _play(scene, job)
    assert job.requests == [
        ("hold", {}),
        ("drain", {"host": "node4", "note": "disk"}),
        ("undrain", {"host": "node4"}),
        ("retry", {"page": 12}),
        ("cancel", {}),
    ]


def test_no_request_is_sent_without_a_coordinator() -> None:
    job = FakeJob(eventful(), 60, coordinator="")

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("h")
        await _settle(pilot)
        assert "no coordinator runs the job now" in _text(app)

    _play(scene, job)
    assert job.requests == []


def test_a_held_job_is_shown_as_held_and_released_with_the_same_key() -> None:
    journal = eventful()
    note = "new paper; ask Ann"
    journal.write("requested", op="hold", by="ann@desk", host="", page=0, note=note, is_late=False)
    job = FakeJob(journal, 60)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        head, keys = _text(app).splitlines()[:3], _text(app).splitlines()[-1]
        assert "held by ann@desk" in head[0]
        # A hold may last for hours: the note stays.
        assert note in head[2]
        assert "pages/s" not in head[2].partition(note)[0]
        assert "h Release" in keys
        await pilot.press("h")
        await _settle(pilot)

    _play(scene, job)
    assert job.requests == [("release", {})]


def test_a_page_image_opens_and_closes() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("enter")
        await _settle(pilot)
        assert "page 1, 1240 × 1754 pixels, from node2" in _text(app)
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    _play(scene)


def test_help_names_every_key() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        shown = _text(app)
        for binding in Dashboard.BINDINGS:
            assert isinstance(binding, Binding)
            key = {"slash": "/", "escape": "Esc", "ctrl+c": "Ctrl-C", "enter": "Enter"}
            name = key.get(binding.key, binding.key)
            assert name in shown or binding.key == "question_mark", name

    _play(scene, size=(100, 50))


def test_ctrl_c_goes_to_the_owner_and_q_leaves() -> None:
    owner = Watcher(FakeJob(eventful(), 60))

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert owner.interrupts == 1
        assert "stopping" in _text(app)
        await pilot.press("q")

    _play(scene, owner=owner)


def test_before_the_job_is_open_it_shows_what_it_waits_for() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert "opening big.pdf" in _text(app)
        await pilot.press("n", "enter", "t", "2", "d", "4", "h")
        await pilot.pause()

    _play(scene, owner=Watcher(None))


def test_a_shared_folder_that_fails_is_shown_and_the_dashboard_continues() -> None:
    job = FakeJob(eventful(), 60)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        job.error = OSError(116, "Stale file handle")
        app._tick()
        await _settle(pilot)
        assert "cannot read the job: Stale file handle" in _text(app)
        job.error = None
        app._tick()
        await _settle(pilot)
        assert "Stale" not in _text(app)

    _play(scene, job)


def test_hostile_text_stays_text() -> None:
    """Markup and escapes in texts from hosts change nothing on the screen."""
    journal = Journal(3, ["[bold]node1", "\x1b[31mnode2"])
    journal.state("[bold]node1", "lost", "[/] [red]what\x1b]0;title\x07")
    job = FakeJob(journal, 3)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        for pane in ("2", "3", "4"):
            await pilot.press(pane)
            await _settle(pilot)
            assert "\x1b" not in _text(app)
        await pilot.press("2")
        await _settle(pilot)
        assert "[bold]node1" in _text(app)

    _play(scene, job, size=(160, 50))


def test_no_more_than_two_redraws_a_second_while_pages_come_in() -> None:
    """Because the terminal may be at the other end of a slow link."""
    journal = Journal(500, ["node1"])
    job = FakeJob(journal, 500)
    updates: list[float] = []
    elapsed: list[float] = []

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        original, began = app._update_headline, time.monotonic()

        def counted() -> None:
            updates.append(time.monotonic())
            original()

        app._update_headline = counted  # type: ignore[method-assign]
        page = 0
        while time.monotonic() < began + 3.0 or len(updates) < 3:
            page += 1
            journal.deliver(page, "node1", journal.send(page, "node1"))
            await asyncio.sleep(0.02)
        elapsed.append(time.monotonic() - began)

    _play(scene, job)
    assert 3 <= len(updates) <= 2 * elapsed[0] + 2
