"""Can the SAN and the output be written, seen from here? Asked in a thread, because it may hang."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sshrender.coordinator.plan import JobPlan
from sshrender.core import events as ev

HANGS_AFTER = 10.0
_PROBE = b"\0" * 65536


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
        elif time.monotonic() - self._since > HANGS_AFTER:
            self._post(ev.StorageFailed(f"{self._folders[0]} does not answer"))

    def _look(self) -> None:
        try:
            for folder in self._folders:
                try_write(folder)
        except OSError as error:
            self._post(ev.StorageFailed(f"{folder}: {error.strerror}"))
        else:
            self._post(ev.StorageRecovered())
        finally:
            self._since = None


def try_write(folder: Path) -> None:
    """Write, flush and remove a small file. Raises OSError."""
    path = folder / f".probe-{secrets.token_hex(4)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, _PROBE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()
