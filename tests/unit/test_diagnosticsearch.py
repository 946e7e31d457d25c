"""Whose a diagnostic is that names no page: found by rendering again, where there is room to do so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sshrender.runner import diagnosticsearch
from sshrender.runner.diagnosticsearch import DiagnosticWindow
from sshrender.runner.taskqueue import Task

COMPLAINT = "   **** Error: Page drawing error occurred."


class FakeSession:
    """Shows pages as a warm Ghostscript does; ``odd``: the page that it complains about."""

    setup = SimpleNamespace(document="a.pdf", folder="work", output="page.%d", raster=None)

    def __init__(self, folder: Path, odd: int, *, is_full: bool) -> None:
        self._folder = folder
        self._odd = odd
        self._is_full = is_full
        self._pages: list[int] = []
        self._shown = 0

    def open(self, _timeout: float) -> None:
        self._pages = []

    def tell(self, number: int) -> None:
        self._pages.append(number)

    def answer(self, _timeout: float) -> Any:
        shown, self._shown = self._shown, self._shown + 1
        output = self._folder / "work" / f"page.{self._shown}"
        output.write_bytes(b"" if self._is_full else b"a page")
        return SimpleNamespace(value=f"{shown} [100.0 100.0]")

    def close_document(self, _timeout: float) -> Any:
        is_odd = self._pages and (self._is_full or self._odd in self._pages)
        return SimpleNamespace(lines=[COMPLAINT] if is_odd else [])


@pytest.mark.parametrize(("is_full", "suspects"), [(False, [2]), (True, [])])
def test_a_full_disk_makes_no_page_suspect(tmp_path: Path, is_full: bool, suspects: list[int]) -> None:
    """What Ghostscript says of a page that it cannot write is no fault of the page."""
    (tmp_path / "work").mkdir()
    posted: list[tuple[str, Any]] = []
    wire: Any = SimpleNamespace(post=lambda kind, **fields: posted.append((kind, fields.get("page"))))
    session: Any = FakeSession(tmp_path, 2, is_full=is_full)
    window = DiagnosticWindow(wire, str(tmp_path), 10.0)
    window.open(session)
    for page in (1, 2, 3):
        session.tell(page)
        window.add(Task(f"{page}", page, "a.pdf", page, ""), 0.1)
    window.close(session)
    assert [page for kind, page in posted if kind == "suspected"] == suspects
    assert list((tmp_path / "work").iterdir()) == []


def test_a_folder_without_room_counts_as_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").write_bytes(b"half of one")
    assert diagnosticsearch._has_room_for(str(tmp_path), "page")
    full = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr("os.statvfs", lambda _folder: full)
    assert not diagnosticsearch._has_room_for(str(tmp_path), "page")
