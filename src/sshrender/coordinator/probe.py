"""Can the SAN and the output be written, seen from here? Asked in a thread, because it may hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sshrender.coordinator.plan import JobPlan
from sshrender.core import events as ev
from sshrender.runner import storage


class StorageProbe:
    """Looks when asked to; answers StorageFailed or StorageRecovered."""

    def __init__(
        self, plan: JobPlan, post: Callable[[ev.StorageFailed | ev.StorageRecovered], None]
    ) -> None:
        self._folders = (plan.folder.work, plan.output)
        self._post = post
        self._since: float | None = None

    def look(self) -> None:
        """Start a look, unless one is under way; one that does not end is an answer too."""
        if self._since is None:
            self._since = time.monotonic()
            threading.Thread(target=self._look, daemon=True, name="storage probe").start()
        elif time.monotonic() - self._since > storage.HANGS_AFTER:
            self._post(ev.StorageFailed(f"{self._folders[0]} does not answer"))

    def _look(self) -> None:
        for folder in self._folders:
            reason = storage.try_write(str(folder), "coordinator")
            if reason is not None:
                self._post(ev.StorageFailed(f"{folder}: {reason}"))
                break
        else:
            self._post(ev.StorageRecovered())
        self._since = None
