"""Whose a diagnostic is that names no page: found by rendering again, where there is room to do so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sshrender.renderers.ghostscript import Setup
from sshrender.runner.rendering import diagnosticsearch
from sshrender.runner.rendering.diagnosticsearch import DiagnosticWindow
from sshrender.runner.rendering.warmsession import SessionEnded
from sshrender.runner.slots.taskqueue import Task
from sshrender.runner.wire import CRASHED

SETUP = Setup("gs", "png16m", "150", "a.pdf", "work", "page.%d", (), "")
COMPLAINT = "   **** Error: Page drawing error occurred."


class FakeSession:
    """Shows pages as a warm Ghostscript does; ``odd``: the page that it complains about."""

    def __init__(
        self, folder: Path, odd: int, *, is_full: bool = False, setup: Setup = SETUP, sees: bool = True
    ) -> None:
        self.setup = setup
        self.interpreted = 0
        self._folder = folder
        self._odd = odd
        self._is_full = is_full and setup.device != "nullpage"
        self._sees = sees or setup.device != "nullpage"
        self._pages: list[int] = []
        self._shown = 0

    def open(self, _timeout: float) -> None:
        self._pages = []

    def tell(self, number: int) -> None:
        self._pages.append(number)
        self.interpreted += 1

    def answer(self, _timeout: float) -> Any:
        if self.setup.device == "nullpage":
            return SimpleNamespace(value="0 null")
        shown, self._shown = self._shown, self._shown + 1
        output = self._folder / "work" / f"page.{self._shown}"
        output.write_bytes(b"" if self._is_full else b"a page")
        return SimpleNamespace(value=f"{shown} [100.0 100.0]")

    def close_document(self, _timeout: float) -> Any:
        is_odd = self._pages and (self._is_full or (self._sees and self._odd in self._pages))
        return SimpleNamespace(lines=[COMPLAINT] if is_odd else [])

    def close(self) -> None:
        """It holds nothing."""


def _suspects(
    folder: Path, odd: int, pages: int, *, is_full: bool = False, sees: bool = True
) -> tuple[list[int], int]:
    """Return the suspect pages of a window, and how often a page was interpreted without pixels."""
    (folder / "work").mkdir()
    posted: list[tuple[str, Any]] = []
    wire: Any = SimpleNamespace(post=lambda kind, **fields: posted.append((kind, fields.get("page"))))
    session: Any = FakeSession(folder, odd, is_full=is_full, sees=sees)
    searches: list[Any] = []

    def start(setup: Setup) -> Any:
        searches.append(FakeSession(folder, odd, is_full=is_full, setup=setup, sees=sees))
        return searches[-1]

    window = DiagnosticWindow(wire, str(folder), 10.0, start)
    window.open(session)
    for page in range(1, pages + 1):
        session.tell(page)
        window.add(Task(f"{page}", page, "a.pdf", page, ""), 0.1)
    window.close(session)
    assert list((folder / "work").iterdir()) == []
    found = [page for kind, page in posted if kind == "suspected"]
    return found, sum(search.interpreted for search in searches)


@pytest.mark.parametrize(("pages", "odd"), [(2, 2), (3, 1), (16, 1), (16, 11), (16, 16), (50, 37)])
def test_the_page_is_found_with_few_pages_interpreted_again(
    tmp_path: Path, pages: int, odd: int
) -> None:
    found, interpreted = _suspects(tmp_path, odd, pages)
    assert found == [odd]
    assert interpreted <= pages * 4 / 3 + 4


def test_what_only_pixels_show_is_found_as_the_pages_were_rendered(tmp_path: Path) -> None:
    assert _suspects(tmp_path, 2, 5, sees=False)[0] == [2]


@pytest.mark.parametrize("ends", ["between two pages", "when the document is closed"])
def test_a_renderer_that_ends_before_its_summary_leaves_no_page_unexplained(
    tmp_path: Path, ends: str
) -> None:
    posted: list[tuple[str, Any]] = []
    wire: Any = SimpleNamespace(post=lambda kind, **fields: posted.append((kind, fields.get("page"))))

    class Ends(FakeSession):
        def close_document(self, _timeout: float) -> Any:
            raise SessionEnded(CRASHED, "it died", [])

    session: Any = Ends(tmp_path, odd=5)

    def start(setup: Setup) -> Any:
        return FakeSession(tmp_path, odd=5, setup=setup)

    window = DiagnosticWindow(wire, str(tmp_path), 10.0, start)
    window.open(session)
    for page in range(1, 8):
        window.add(Task(f"{page}", page, "a.pdf", page, ""), 0.1)
    if ends == "when the document is closed":
        with pytest.raises(SessionEnded):
            window.close(session)
    window.clear()
    assert window.is_empty
    assert window.has_unexplained
    window.explain()
    assert posted == [("suspected", 5)]
    # Once only, as its renderer may end as well.
    assert not window.has_unexplained


@pytest.mark.parametrize("odd", [0, 2])
def test_a_full_disk_makes_no_page_suspect(tmp_path: Path, odd: int) -> None:
    """What Ghostscript says of a page that it cannot write is no fault of the page."""
    assert _suspects(tmp_path, odd, 3, is_full=True)[0] == [odd] * bool(odd)


def test_a_folder_without_room_counts_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").write_bytes(b"half of one")
    assert diagnosticsearch._has_room_for(str(tmp_path), "page")
    full = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr("os.statvfs", lambda _folder: full)
    assert not diagnosticsearch._has_room_for(str(tmp_path), "page")


@pytest.mark.parametrize(("opening", "sizes"), [(0.4, [1, 4]), (3.0, [])])
def test_the_first_windows_end_early_where_opening_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: float, sizes: list[int]
) -> None:
    """A title page that causes a diagnostic is named at once; a document that opens slowly is not opened
    more often for that."""
    now = 0.0

    class Opens(FakeSession):
        def open(self, _timeout: float) -> None:
            nonlocal now
            now += opening

    monkeypatch.setattr(diagnosticsearch, "time", SimpleNamespace(monotonic=lambda: now))
    wire: Any = SimpleNamespace(post=lambda _kind, **_fields: None)
    session: Any = Opens(tmp_path, odd=0)
    window = DiagnosticWindow(wire, str(tmp_path), 60.0, lambda _setup: session)
    window.open(session)
    ended, size, alone = [], 0, 0
    for page in range(1, 20):
        is_last = window.ends_with_next()
        alone += is_last
        window.add(Task(f"1.{page}", page, "a.pdf", page, f"work/p{page}"), 0.1)
        size += 1
        assert is_last or not window.is_due()
        if window.is_due():
            ended.append(size)
            window.close(session)
            size = 0
    assert ended == sizes
    # A page is queued ahead of each other one, also where the window is open for hundreds of pages.
    assert alone == len(sizes)
