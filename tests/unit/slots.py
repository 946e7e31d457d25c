"""A slot of a runner in this process, and what it reports."""

from __future__ import annotations

import json
import os
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sshrender.renderers.ghostscript import Setup
from sshrender.runner.host import memorylimits
from sshrender.runner.rendering.slot import Slot
from sshrender.runner.rendering.slotsettings import SlotSettings
from sshrender.runner.slots import slotlocks
from sshrender.runner.slots.taskqueue import Task, TaskQueue
from sshrender.runner.wire import Wire

SETUP = Setup("gs", "png16m", "72", "source.pdf", "work", "", (), "test")


def prepare(folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a job's folder; temporary files go to ``temporary``, and the slots are this test's own."""
    (folder / "work").mkdir(parents=True)
    temporary.mkdir(exist_ok=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("SSHRENDER_SLOT_NAMESPACE", uuid.uuid4().hex[:12])  # as in tests/conftest.py


class Rendering:
    """A slot that renders these pages.

    The attempt ``1.N`` is the page at place N, from 1, and its file is ``work/pN``.
    """

    def __init__(
        self, folder: Path, numbers: Sequence[int], setup: Setup = SETUP, **changes: Any
    ) -> None:
        """``folder``: of the job. ``changes``: fields of SlotSettings."""
        tasks = TaskQueue()
        recipe = 0 if changes.get("recipes") else None
        for place, page in enumerate(numbers, 1):
            tasks.put(Task(f"1.{place}", page, setup.document, page, f"work/p{place}", recipe))
        tasks.finish()
        settings = SlotSettings(
            setup=setup,
            folder=str(folder),
            password=None,
            page_timeout=60.0,
            page_memory=2 << 30,
            recycle_pages=500,
            recycle_memory=1 << 30,
            is_eager=False,
            guard=memorylimits.Guard(),
            slots=1,
            share=slotlocks.JobShare("job"),
        )
        self._output = folder / "output"
        self._output.unlink(missing_ok=True)
        writing = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
        self._wire = Wire(writing, "mark")
        self.slot = Slot(settings._replace(**changes), tasks, self._wire, dict(os.environ))
        weakref.finalize(self, os.close, writing)

    def messages(self) -> list[dict[str, Any]]:
        """Return what the slot has reported so far."""
        self._wire.flush()
        lines = self._output.read_bytes().splitlines()
        return [json.loads(line.partition(b" ")[2]) for line in lines]


def rendered(
    folder: Path, numbers: Sequence[int], setup: Setup = SETUP, **changes: Any
) -> list[dict[str, Any]]:
    """Return the messages of such a slot that has rendered all pages."""
    rendering = Rendering(folder, numbers, setup, **changes)
    rendering.slot.run()
    return rendering.messages()


def answers(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the answer to each attempt."""
    return {each["attempt"]: each for each in messages if each["type"] in ("rendered", "failed")}
