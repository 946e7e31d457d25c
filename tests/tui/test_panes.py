"""The dashboard's panes: which one is focused, its keys, the log, help, palette, several jobs."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from textual._compositor import CompositorUpdate
from textual.pilot import Pilot

from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.storagepause import Pause
from sshrender.views.dashboard import keyhints
from sshrender.views.dashboard.app import Dashboard
from sshrender.views.dashboard.imagescreen import PageImageScreen, part
from sshrender.views.dashboard.jobscreen import JobScreen
from sshrender.views.dashboard.keyline import KeyLine, PaneTabs
from sshrender.views.dashboard.logrows import ALL, PROBLEMS_ALONE, PROBLEMS_FIRST, LogRows
from sshrender.views.dashboard.navigation import PANES
from sshrender.views.dashboard.palette import DashboardCommands
from sshrender.views.dashboard.source import JobLine, JobView
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import JobModel
from tests.tui.journals import (
    FakeJob,
    FakeList,
    Journal,
    Watcher,
    eventful,
    finished,
    queue,
    reopening,
    several_documents,
)
from tests.tui.test_dashboard import _play, _settle, _text

SIZES = [(50, 15), (80, 24), (160, 50), (200, 60)]
Scene = Callable[[Pilot[None], Dashboard], Awaitable[None]]


def _keys(app: Dashboard) -> str:
    return app.screen.query_one(KeyLine).render_line(0).text


@pytest.mark.parametrize("pane", PANES)
@pytest.mark.parametrize("width", [40, 50, 80, 120, 200])
def test_keys_are_named_whole_or_not_at_all(pane: str, width: int) -> None:
    """Help and Leave at every width; no key whose words are cut."""
    found = keyhints.hints(pane, is_running=True, has_failed_page=True, has_filter=True, has_jobs=True)
    shown = keyhints.fitting(found, keyhints.ENDS, width)
    assert shown[-2:] == list(keyhints.ENDS)
    assert sum(hint.width for hint in shown) <= width
    assert shown[:-2] == found[: len(shown) - 2], "the most useful ones first"
    assert len(shown) > 2


def test_a_job_that_does_not_run_offers_no_request() -> None:
    for pane in PANES:
        actions = {hint.action for hint in keyhints.hints(pane, is_running=False)}
        assert not actions & {"hold", "cancel_job", "drain", "undrain", "retry"}


def _screen_of(output: str, width: int, height: int) -> list[list[tuple[str, str]]]:
    """Return the characters and their styles that a terminal of that size shows after this output."""
    cells = [[(" ", "")] * width for _ in range(height)]
    row = column = 0
    style = ""
    for control, arguments, final, char in re.findall(
        r"(\x1b\[([\d;?]*)([A-Za-z]))|(.)", output, re.DOTALL
    ):
        if final == "H":
            row, column = (int(each) - 1 for each in (arguments or "1;1").split(";"))
        elif final == "m":
            style = "" if arguments in ("", "0") else style + control
        elif char == "\n":
            row += 1
        elif char == "\r":
            column = 0
        elif char and char.isprintable() and row < height and column < width:
            cells[row][column] = char, style
            column += 1
    return cells


@pytest.mark.parametrize("size", [SIZES[0], SIZES[2]])
def test_the_focused_pane_is_marked_and_painted_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the terminal got, update by update while entries come in, is what a full repaint gives."""
    written: list[str] = []

    def display(self: Dashboard, _screen: object, update: CompositorUpdate | None) -> None:
        if update is not None and not self._batch_count:
            written.append(update.render_segments(self.console))

    monkeypatch.setattr(Dashboard, "_display", display)
    journal = eventful()

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        app.refresh()
        marks = set()
        for key in ("2", "4", "1", "shift+tab", "3", "tab"):
            journal.deliver(44, "node1", journal.send(44, "node1"))
            journal.state("node3", "busy", f"before {key}")
            app._tick()
            await pilot.press(key)
            await _settle(pilot)
            assert [pane for pane in PANES if app.query_one(f"#{pane}").has_class("-chosen")] == [
                app._pane
            ]
            for _ in range(100):  # until what was last changed is painted; a lost part never would be
                painted = _screen_of("".join(written), *size)
                if painted == _whole(app, size):
                    break
                await pilot.pause(0.1)
            assert painted == _whole(app, size)
            marks.add((app._pane, _marked(app, painted)))
        assert {pane: PANES[pane] for pane, _ in marks} == dict(marks)

    _play(scene, FakeJob(journal, 60), size=size)


def _whole(app: Dashboard, size: tuple[int, int]) -> list[list[tuple[str, str]]]:
    """Return what a terminal shows after everything was painted at once."""
    strips = app.screen._compositor.render_strips()
    return _screen_of("\r\n".join(strip.render(app.console) for strip in strips), *size)


def _marked(app: Dashboard, cells: list[list[tuple[str, str]]]) -> str:
    """Return the name of the pane that the screen marks: in the line of panes, or by a heavy border."""
    text = ["".join(char for char, _ in row) for row in cells]
    if app.query_one(PaneTabs).display:
        (line,) = [at for at, words in enumerate(text) if " 1 pages " in words]
        marked = "".join(char for char, style in cells[line] if "7" in re.findall(r"\d+", style))
        return marked.strip().partition(" ")[2]
    heavy = next(words for words in text if "┏" in words)
    found = re.search(r"┏━+ \d ([a-z ]+?) ━+┓", heavy)
    assert found is not None
    assert sum(words.count("┏") for words in text) == sum(words.count("┛") for words in text) == 1
    return found[1]


def test_the_last_line_names_the_keys_of_the_focused_pane() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        for key, words in [("1", "Image"), ("2", "Drain"), ("3", "Page"), ("4", "Problems")]:
            await pilot.press(key)
            await _settle(pilot)
            assert words in _keys(app)
        assert "Drain" not in _keys(app)
        await pilot.press("n", "n")
        await _settle(pilot)
        assert "t Retry" in _keys(app), "the page under the cursor has failed"

    _play(scene)


def test_problems_stay_in_the_log_of_a_long_run() -> None:
    """Thousands of entries later an early failure is still there, above the latest entries or alone."""
    journal = eventful()
    for _ in range(4000):
        journal.deliver(44, "node1", journal.send(44, "node1"))
    model, rows = JobModel(range(1, 61)), LogRows()
    for at, entry in enumerate(journal.entries):
        model.take(entry)
        if at % 1000 == 0:
            rows.take(model)
    rows.take(model)

    def words(found: list[object]) -> str:
        return "\n".join(row.cells[1] for row in found)  # type: ignore[attr-defined]

    assert "page 12 failed after" not in words([*rows.rows(ALL, "")])
    alone = words([*rows.rows(PROBLEMS_ALONE, "")])
    assert alone.index("node4 refused") < alone.index("page 12 failed after") < alone.index("node2 lost")
    assert "sent to" not in alone
    assert "page 12 failed after" in words([*rows.pinned(PROBLEMS_FIRST, "", 12)])
    assert rows.pinned(PROBLEMS_FIRST, "", 2) == [], "no room"
    few = words([*rows.pinned(PROBLEMS_FIRST, "", 9)])
    assert "failed on" not in few, "errors have the room before warnings"
    assert rows.entry(rows.pinned(PROBLEMS_FIRST, "", 12)[0].key) is not None


def test_l_shows_problems_alone_and_enter_goes_to_what_an_entry_is_about() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("4")
        await _settle(pilot)
        assert "page 43 sent" in _text(app)
        assert "page 12 failed after" in _text(app)
        await pilot.press("l")
        await _settle(pilot)
        assert "page 43 sent" not in _text(app)
        assert "log (problems alone)" in _text(app)
        await pilot.press("end", "enter")
        await _settle(pilot)
        assert (app._pane, app._listing("hosts").key) == ("hosts", "node2"), "node2 was lost last"
        await pilot.press("4", "up", "enter")
        await _settle(pilot)
        assert (app._pane, app._map.page) == ("pages", 12)

    _play(scene)


@pytest.mark.parametrize("size", SIZES[:2])
def test_help_wraps_and_scrolls_to_its_end(size: tuple[int, int]) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("question_mark")
        seen = ""
        for _ in range(12):
            await _settle(pilot)
            seen += " ".join(re.sub(r"[│╭╮╰╯─▁▂▃▄▅▆▇█]", " ", _text(app)).split()) + " "
            await pilot.press("pagedown")
        for words in ("slow", "close the dashboard", "at once", "most pages at", "straggler"):
            assert words in seen
        await pilot.press("escape")
        assert len(app.screen_stack) == 1

    _play(scene, size=size)


def test_the_palette_has_our_commands_alone_and_harmless_ones_first() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        provider = DashboardCommands(app.screen)
        found = [str(hit.prompt) async for hit in provider.discover()]
        assert found[0] == "Go to the pages"
        changing = [found.index(each) for each in ("Hold or release the job", "Cancel the job", "Stop")]
        assert changing == sorted(changing)
        assert all("Leave" not in each for each in found[changing[0] :])
        assert not any("theme" in each.lower() or "quit" in each.lower() for each in found)
        await pilot.press("ctrl+p", *"log:", "enter")
        await _settle(pilot)
        assert app._pane == "log"

    _play(scene)


@pytest.mark.parametrize("zoom", [1, 2, 4, 16])
@pytest.mark.parametrize("image", [(1240, 1754), (1754, 1240), (10, 4000), (1, 1)])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_zoomed_part_lies_in_the_image_and_fills_the_window(
    zoom: int, image: tuple[int, int], centre: tuple[float, float]
) -> None:
    left, top, right, bottom = part(image, (800, 480), zoom, centre)
    assert 0 <= left < right <= image[0]
    assert 0 <= top < bottom <= image[1]
    if zoom == 1:
        assert (left, top, right, bottom) == (0, 0, *image)


def test_the_large_image_turns_pages_and_zooms() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("end", "enter")
        await _settle(pilot)
        assert "page 60 has no image" in _text(app)
        await pilot.press("home", "enter")
        await _settle(pilot)
        screen = app.screen
        assert isinstance(screen, PageImageScreen)
        for key, words in [
            ("n", "page 2,"),
            ("right", "page 3,"),
            ("p", "page 2,"),
            ("plus", "zoom 2×"),
        ]:
            await pilot.press(key)
            await _settle(pilot)
            assert words in _text(app)
        await pilot.press("down", "0", "p", "p")
        await _settle(pilot)
        assert "page 1," in _text(app)
        assert "zoom" not in _text(app).splitlines()[0]
        assert "Zoom in" in _keys(app)
        await pilot.press("p")
        await _settle(pilot)
        assert "this is the first page" in _text(app)
        await pilot.press("escape")
        await _settle(pilot)
        assert app._map.page == 1

    _play(scene)


def test_toasts_say_what_was_done_to_which_host() -> None:
    journal = eventful()
    job = FakeJob(journal, 60)
    asked: dict[str, object] = {"by": "bob@lab", "page": 0, "note": "a new disk", "is_late": False}

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("2", "home", "d", "enter")
        await _settle(pilot)
        assert "asked desk (pid 7): drain node4" in _text(app)
        journal.write("requested", op="drain", host="node3", **asked)
        app._tick()
        await _settle(pilot)
        assert "node3 drained" in _text(app)
        (last,) = [each for each in app._notifications if "drained" in each.message]
        assert last.message == "node3 drained: no more pages are sent to it, by bob@lab (a new disk)"

    _play(scene, job, size=(160, 50))


def test_requests_from_before_the_dashboard_was_opened_are_no_news() -> None:
    journal = eventful()
    journal.write("requested", op="drain", host="node3", by="bob", page=0, note="", is_late=False)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert "node3 drained" not in _text(app)

    _play(scene, FakeJob(journal, 60))


def test_a_slot_that_opens_the_document_again_says_so() -> None:
    journal = reopening()

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("3", "home")
        await _settle(pilot)
        assert "opens the document again, after page 40" in _text(app)
        assert "a slot opens the document again after page 40" in _text(app), (
            "in the details of its host"
        )
        journal.write("document_reopening", host="node1", page=40, seconds=31.0, is_over=True)
        app._tick()
        await _settle(pilot)
        assert "opens the document again" not in _text(app)

    _play(scene, FakeJob(journal, 60))


def test_what_is_done_to_open_a_document_is_shown() -> None:
    owner = Watcher(None)
    owner.stage = "copying the document to the shared folder: 40 % of 900 MB"

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert owner.stage in _text(app)

    _play(scene, owner=owner)


def test_a_long_journal_is_read_without_pauses_and_that_is_shown() -> None:
    """A reading has a part of the journal; the next one follows at once."""
    journal = finished()
    for _ in range(3000):
        journal.deliver(44, "node1", journal.send(44, "node1"))
    may_go_on = threading.Event()

    class Long(FakeJob):
        def entries(self) -> list[JournalEntry]:
            first = self._at
            self._at = min(first + 600, len(journal.entries))
            if first == 1200:
                may_go_on.wait(30)
            return list(journal.entries[first : self._at])

    job = Long(journal, 60)

    async def scene(app: Dashboard) -> None:
        while "reading the journal: 1," not in _text(app):
            await asyncio.sleep(0.01)
        may_go_on.set()
        while app._is_behind:
            await asyncio.sleep(0.01)
        assert "reading the journal" not in _text(app)
        assert app._model.logged == sum(each.type != "hosts_sampled" for each in journal.entries)

    app = Dashboard(Watcher(job), "big.pdf")

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await asyncio.wait_for(scene(app), 60)
            await pilot.pause()

    asyncio.run(run())


# Several jobs


def test_each_document_of_a_command_can_be_opened() -> None:
    owner = several_documents()
    assert isinstance(owner.listed, FakeList)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert "big-3fa9c1d2  running" in _text(app), "the newest one first"
        await pilot.press("o")
        await _settle(pilot)
        for words in ("documents of this command", "small-77aa01b3", "third.pdf", "waiting"):
            assert words in _text(app)
        await pilot.press("end", "enter")
        await _settle(pilot)
        assert "cannot be opened yet" in _text(app)
        await pilot.press("up", "enter")
        await _settle(pilot)
        assert len(app.screen_stack) == 1
        assert "All jobs" in _keys(app)
        await pilot.press("o", "escape")
        await _settle(pilot)
        assert len(app.screen_stack) == 1

    _play(scene, owner=owner)
    assert owner.listed.opened == ["2"]


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_queue_is_shown_at_every_size(size: tuple[int, int]) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        shown = _text(app)
        offered = [str(hit.prompt) async for hit in DashboardCommands(app.screen).discover()]
        assert offered[0] == "Open the job"
        assert "Cancel the job" not in offered, "which one would that be?"
        for words in ("1 running", "big-3fa9c1d2", "atlas-0b77f2aa", "paused", "node1", "Enter Open"):
            assert words in shown
        await pilot.press("tab", "end")
        await _settle(pilot)
        assert "node5" in _text(app)

    _play(scene, owner=queue(), size=size)


def test_a_job_of_the_queue_is_opened_and_left_again() -> None:
    owner = queue()
    assert isinstance(owner.listed, FakeList)
    listed = owner.listed

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("slash", *"atlas", "enter")
        await _settle(pilot)
        assert "thesis" not in _text(app)
        await pilot.press("enter")
        await _settle(pilot)
        assert "38 of 60 pages" in _text(app)
        await pilot.press("escape")
        await _settle(pilot)
        assert "jobs in /san/sshrender" in _text(app)
        assert "thesis" in _text(app)
        listed.error = OSError(116, "Stale file handle")
        app.screen._read()  # type: ignore[attr-defined]
        await _settle(pilot)
        assert "cannot read the jobs: Stale file handle" in _text(app)
        assert "atlas" in _text(app), "what was read last stays"
        await pilot.press("q")

    _play(scene, owner=owner, size=(120, 24))
    assert listed.opened == ["b"]


def test_enter_on_a_host_shows_the_jobs_that_use_it() -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("tab", "end", "enter")
        await _settle(pilot)
        assert "no job uses node5 now" in _text(app)
        assert "thesis" in _text(app)
        await pilot.press("home", "down", "enter")
        await _settle(pilot)
        shown = _text(app)
        assert "only: node2" in shown
        assert "400/1321" in shown
        assert "38/60" in shown or "39/60" in shown
        assert "thesis" not in shown

    _play(scene, owner=queue(), size=(160, 40))


def test_a_job_of_the_queue_is_held_released_and_cancelled_from_the_list() -> None:
    owner = queue()
    assert isinstance(owner.listed, FakeList)
    listed = owner.listed

    done = replace(listed.listed.jobs[-1], key="z", name="leaflet-0c1d2e3f", state="done")
    listed.listed = replace(listed.listed, jobs=(*listed.listed.jobs, done))

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("question_mark")
        await _settle(pilot)
        assert "open the job; of a host, show its jobs alone" in _text(app), (
            "the keys of this screen first"
        )
        await pilot.press("escape", "end", "x")
        await _settle(pilot)
        assert "leaflet-0c1d2e3f is done already" in _text(app)
        await pilot.press("home", "h")
        await _settle(pilot)
        assert "big-3fa9c1d2: held" in _text(app)
        await pilot.press("down", "down", "down", "h")
        await _settle(pilot)
        await pilot.press("x", "n")
        await _settle(pilot)
        await pilot.press("x", "y")
        await _settle(pilot)
        assert "flyer-5be1a0c4: cancelled" in _text(app)
        listed.error = OSError(116, "Stale file handle")
        await pilot.press("h")
        await _settle(pilot)
        assert "failed:" in _text(app)

    _play(scene, owner=owner, size=(120, 40))
    flyer = "d"
    assert listed.changed == [("a", "hold"), (flyer, "release"), (flyer, "cancel")]


def test_a_pause_is_shown_though_a_full_disk_keeps_it_out_of_the_journal() -> None:
    owner = Watcher(FakeJob(eventful(), 60))
    since, until = "2026-11-23T08:00:00.000Z", "2026-11-23T08:05:00.000Z"

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        for told in (Pause("No space left on device", since, until), None):
            owner.told = told
            app._update()
            await _settle(pilot)
            for words in ("paused since", "waits until", "No space left on device"):
                assert (words in _text(app)) is (told is not None)

    _play(scene, owner=owner, size=(120, 24))


def test_a_folder_that_does_not_answer_is_said_above_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = queue()
    assert isinstance(owner.listed, FakeList)
    long = JobLine("f", "the-annual-report-of-the-whole-company-0c0ffee0", "partial", 120, 118)
    listed = owner.listed.listed
    owner.listed.listed = replace(listed, jobs=(*listed.jobs[:4], long))
    monkeypatch.setattr("sshrender.views.dashboard.headline.HANG_TIMEOUT", 0.0)

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        screen = app.screen
        assert isinstance(screen, JobScreen)
        assert "the-annual-report-of-t…-0c0ffee0" in _text(app), "the digest tells jobs apart"
        assert "1 partial, 4.2 p…" in _text(app), "what has no room ends with an ellipsis"
        for _ in range(100):  # a reading of the timer may end in between
            screen._is_reading = True  # as while a reading hangs
            screen._read()
            await pilot.pause(0.05)
            if "the shared folder has not answered for" in _text(app):
                break
        else:
            pytest.fail(_text(app))
        assert "atlas" in _text(app), "what was read last stays"

    _play(scene, owner=owner, size=(80, 24))


def test_a_job_that_cannot_be_opened_is_said_and_the_queue_stays() -> None:
    owner = queue()
    assert isinstance(owner.listed, FakeList)

    def broken(key: str) -> JobView:
        raise OSError(5, "Input/output error")

    owner.listed.open = broken  # type: ignore[method-assign]

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("enter")
        await _settle(pilot)
        assert "cannot open the job: Input/output error" in _text(app).replace("\n", " ")
        assert "big-3fa9c1d2" in _text(app)

    _play(scene, owner=owner, size=(120, 24))


def test_hostile_names_in_the_queue_stay_text() -> None:
    owner = queue()
    assert isinstance(owner.listed, FakeList)
    first = owner.listed.listed.jobs[0]
    evil = replace(first, name="[bold]x\x1b[31m", owner="\x1b]0;t\x07", note="[/]\x9b2J")
    owner.listed.listed = replace(owner.listed.listed, jobs=(evil,))

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        assert "[bold]x" in _text(app)
        assert "\x1b" not in _text(app)
        assert "\x9b" not in _text(app)

    _play(scene, owner=owner, size=(160, 50))


@pytest.mark.parametrize("make", [queue, lambda: Watcher(FakeJob(eventful(), 60))])
def test_the_linux_console_gets_lines_that_its_font_has(make: Callable[[], Watcher]) -> None:
    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        for key in ("tab", "tab"):
            await pilot.press(key)
            await _settle(pilot)
            for char in re.sub("[▁▂▃▄▅▆▇█]", "", _text(app)):  # of a scroll bar's end
                assert char == "…" or ord(char) < 256 or char.encode("cp437")
            assert "╔" in _text(app), "the focused one"

    _play(scene, owner=make(), size=(160, 50), styles=Styles(is_ascii=True))


def test_a_journal_without_problems_has_no_rule() -> None:
    journal = Journal(3, ["node1"])

    async def scene(pilot: Pilot[None], app: Dashboard) -> None:
        await pilot.press("4")
        await _settle(pilot)
        assert app._listing("log")._pinned == []

    _play(scene, FakeJob(journal, 3))
