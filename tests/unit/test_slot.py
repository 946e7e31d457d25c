"""A slot answers for every page that it took, whatever its renderer does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sshrender.renderers import ghostscript
from sshrender.runner import slot as slots
from sshrender.runner.queue import Task, TaskQueue
from sshrender.runner.session import Answer, Session, SessionEnded
from sshrender.runner.wire import CRASHED, Wire
from tests import pdfs

PAGES = 40


class DiesOfTelling(Session):
    """A renderer whose pipe breaks the first time that it is told a page while it draws another."""

    has_died = False
    is_drawing = False

    def tell(self, number: int) -> None:
        if self.is_drawing and not DiesOfTelling.has_died:
            DiesOfTelling.has_died = True
            raise SessionEnded(CRASHED, "the pipe broke", [])
        self.is_drawing = True
        super().tell(number)

    def answer(self, timeout: float) -> Answer:
        answer = super().answer(timeout)
        self.is_drawing = False
        return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's folder with its document."""
    (tmp_path / "work").mkdir()
    pdfs.write(tmp_path / "source.pdf", pdfs.numbered(PAGES))
    return tmp_path


def _answers(folder: Path) -> dict[str, str]:
    """Every task put before a slot, and the type of what it was answered with."""
    reading, writing = os.pipe()
    tasks = TaskQueue()
    for page in range(1, PAGES + 1):
        tasks.put(Task(f"1.{page}", page, "source.pdf", page, f"work/p{page}"))
    tasks.finish()
    setup = ghostscript.Setup("gs", "png16m", "72", "source.pdf", "work", "", (), "test")
    plan = slots.Plan(setup, str(folder), None, 60.0, 2 << 30, 500, 1 << 30, False)
    wire = Wire(writing, "mark")
    slots.Slot(plan, tasks, wire, dict(os.environ)).run()
    wire.flush()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said: list[dict[str, Any]] = [json.loads(line.partition(b" ")[2]) for line in file]
    return {each["attempt"]: each["type"] for each in said if each["type"] in ("rendered", "failed")}


def test_a_renderer_that_dies_of_being_told_the_next_page_takes_no_page_along(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "Session", DiesOfTelling)
    monkeypatch.setattr(slots, "PATIENCE_CLEAN", 0.0)  # windows end by count, however fast this is
    answers = _answers(folder)
    assert DiesOfTelling.has_died
    assert set(answers) == {f"1.{page}" for page in range(1, PAGES + 1)}
    assert list(answers.values()).count("failed") == 1
