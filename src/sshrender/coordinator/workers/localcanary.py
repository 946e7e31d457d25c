"""Renders the canary page on this machine: a fingerprint that no host can forge.

It runs in a thread with a time limit, as Ghostscript may hang; ``stop`` leaves no process and no file.
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
from sshrender.core.fingerprint import HostFingerprint, combined
from sshrender.process import reaper
from sshrender.renderers import canary
from sshrender.runner.host import hostfacts, processlimits

PROGRAM = "gs"
TIME_LIMIT = canary.TIMEOUT
MEMORY = 1 << 30
"""Bytes that the process may use."""


class LocalCanary:
    """Renders the page once, and posts CanaryRendered, also if a program is missing here.

    ``with_ghostscript``, ``with_mutool``: the programs that render the job's pages.
    """

    def __init__(
        self,
        post: Callable[[ev.CanaryRendered], None],
        *,
        with_ghostscript: bool = True,
        with_mutool: bool = False,
    ) -> None:
        self._post = post
        self._with_ghostscript, self._with_mutool = with_ghostscript, with_mutool
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="canary")

    def begin(self) -> None:
        """Start; return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Kill the process if it still runs; wait a moment for its end."""
        with self._lock:
            self._has_stopped = True
            if self._process is not None:
                self._process.kill()
        # A thread that was never started cannot be joined.
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def fingerprint(self) -> HostFingerprint | None:
        """Return this machine's fingerprint; None without a program or if it takes too long."""
        ghostscript = mutool = None
        if self._with_ghostscript:
            is_there = shutil.which(PROGRAM) is not None
            version = hostfacts.ghostscript_version(PROGRAM) if is_there else None
            ghostscript = self._of_program(version or "", canary.command(PROGRAM))
        if self._with_mutool:
            version = hostfacts.mutool_version()
            mutool = self._of_program(version and f"mutool {version}", canary.mutool_command())
        wanted = (self._with_ghostscript, self._with_mutool)
        # All programs that render the job, or none: half a fingerprint would agree with too many
        # hosts.
        if (ghostscript is not None, mutool is not None) != wanted:
            return None
        return combined(ghostscript, mutool)

    def _of_program(self, version: str, command: list[str]) -> HostFingerprint | None:
        if not version:
            return None
        # A program that cannot be run here gives no fingerprint; hosts are compared without it then.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            with tempfile.TemporaryDirectory(prefix="sshrender-canary-") as folder:
                digest = self._render(Path(folder), command)
            if digest:
                return HostFingerprint(ghostscript=version, canary=digest)
        return None

    def _work(self) -> None:
        result = None
        # CanaryRendered is posted in any case: the scheduler waits for it if the hosts are tied.
        with contextlib.suppress(Exception):  # whatever failed, there is no canary of ours
            result = self.fingerprint()
        self._post(ev.CanaryRendered(result))

    def _render(self, folder: Path, command: list[str]) -> str:
        """Return the digest of the pixels; empty if it was stopped before."""
        (folder / "canary.pdf").write_bytes(canary.document())
        environment = {**processlimits.environment(dict(os.environ)), "TMPDIR": str(folder)}
        # Under the lock, so that ``stop`` either prevents the process or finds it.
        with self._lock:
            if self._has_stopped:
                return ""
            self._process = subprocess.Popen(
                processlimits.wrap(command, MEMORY),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            self._process.wait(TIME_LIMIT)
        # Also after a timeout, and harmless after its end.
        finally:
            reaper.end(self._process, 1.0)
        # Raises OSError if the program wrote nothing: _of_program() ignores that.
        return hashlib.sha256((folder / "canary.ppm").read_bytes()).hexdigest()
