"""How this machine renders the canary page itself: what no host can forge.

In a thread, bounded in time, because Ghostscript may hang; ``stop`` leaves nothing running and no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint
from sshrender.renderers import canary
from sshrender.runner import hostfacts, processlimits

PROGRAM = "gs"
TIME_LIMIT = canary.TIMEOUT
MEMORY = 1 << 30


class LocalCanary:
    """Renders the page once. ``post`` hears CanaryRendered, also where there is no Ghostscript."""

    def __init__(self, post: Callable[[ev.CanaryRendered], None]) -> None:
        self._post = post
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="canary")

    def begin(self) -> None:
        """Start; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End what still runs. Does not wait long for it."""
        with self._lock:
            self._has_stopped = True
            if self._process is not None:
                self._process.kill()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def look(self) -> HostFingerprint | None:
        """The fingerprint of this machine; None where it has no Ghostscript, or not in time."""
        version = hostfacts.ghostscript_version(PROGRAM) if shutil.which(PROGRAM) is not None else None
        if version is None:
            return None
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            with tempfile.TemporaryDirectory(prefix="sshrender-canary-") as folder:
                digest = self._render(Path(folder))
            if digest:
                return HostFingerprint(ghostscript=version, canary=digest)
        return None

    def _work(self) -> None:
        look = None
        with contextlib.suppress(Exception):  # whatever it is, there is no canary
            look = self.look()
        self._post(ev.CanaryRendered(look))

    def _render(self, folder: Path) -> str:
        """The digest of the pixels; empty where it was stopped."""
        (folder / "canary.pdf").write_bytes(canary.document())
        environment = {**processlimits.environment(dict(os.environ)), "TMPDIR": str(folder)}
        with self._lock:
            if self._has_stopped:
                return ""
            self._process = subprocess.Popen(
                processlimits.wrap(canary.command(PROGRAM), MEMORY),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            self._process.wait(TIME_LIMIT)
        finally:
            self._process.kill()
            self._process.wait(1.0)
        return hashlib.sha256((folder / "canary.ppm").read_bytes()).hexdigest()
