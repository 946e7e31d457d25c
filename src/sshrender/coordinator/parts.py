"""Splits the document in a thread while the parts that are ready already render."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sshrender.coordinator.plan import JobPlan
from sshrender.core import events as ev
from sshrender.document.splitting import split


@dataclass(frozen=True, slots=True)
class PartsFailed:
    """The document cannot be split."""

    reason: str


class PartSplitter(threading.Thread):
    """Posts PagesReady for each part."""

    def __init__(self, plan: JobPlan, post: Callable[[ev.PagesReady | PartsFailed], None]) -> None:
        super().__init__(daemon=True, name="splitter")
        self._plan = plan
        self._post = post

    def run(self) -> None:
        """The thread. Whatever pypdf raises becomes an event."""
        plan = self._plan
        missing = [page for page in plan.pages if page not in plan.history.pages]
        try:
            for pages in split(
                plan.folder.source,
                plan.password,
                plan.folder.path,
                plan.spec.settings.split,
                missing,
            ):
                self._post(ev.PagesReady(pages))
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            self._post(PartsFailed(f"{type(error).__name__}: {error}"))
