"""One warm Ghostscript: started once, asked for page after page, watched while it works.

A session belongs to one slot's thread; only ``kill`` may be called from another.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections import deque
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

from sshrender.renderers import diagnostics, ghostscript
from sshrender.runner import memory, processes, processlimits, sandbox, scratch, wire

POLL_INTERVAL = 0.25
"""Seconds between two looks at a working renderer's memory."""

GONE_TIMEOUT = 5.0
"""Seconds that a killed renderer gets; the kernel keeps one that waits for storage (signal(7))."""

_THUMBNAILS = "thumbnail.%d"


class SessionEnded(Exception):
    """The renderer is gone: why (a kind of wire.py), in words, and what it said last."""

    def __init__(self, kind: str, reason: str, lines: List[str]) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.lines = lines


class Answer(NamedTuple):
    """``value`` came behind the token; ``lines`` are what Ghostscript said before it."""

    value: str
    lines: List[str]


class Session:
    """A Ghostscript process with its document open.

    ``on_thumbnail`` is called with a page, its thumbnail (empty where there is none) and the CPU
    seconds that it took, from within whatever waits for an answer. ``seat``: descriptors that the
    renderer inherits (slotlocks.py).
    """

    def __init__(
        self,
        setup: ghostscript.Setup,
        job_folder: str,
        token: str,
        limit: int,
        environ: Dict[str, str],
        password: Optional[str] = None,
        is_sandboxed: bool = False,
        on_thumbnail: Optional[Callable[[int, bytes, float], None]] = None,
        guard: Optional[memory.Guard] = None,
        seat: Tuple[int, ...] = (),
    ) -> None:
        self.setup = setup
        self.pages_rendered = 0
        self._due: Deque[bool] = deque()
        self._token = token
        self._answer = re.compile(b"^" + token.encode("ascii") + b"(~?) ([^\n]*)\n", re.MULTILINE)
        self._on_thumbnail = on_thumbnail
        self._limit = limit
        self._guard = guard
        self._password = password
        self._pending = b""
        self._lines: List[str] = []
        self._killed_as: Optional[str] = None
        self._cpu_told = 0.0
        self._scratch = scratch.make()
        self._has_small_device = False
        command = ghostscript.command(setup)
        if is_sandboxed:
            command = sandbox.wrap(command, job_folder, setup.document, self._scratch)
        self._process = subprocess.Popen(
            processlimits.wrap(command, limit),
            cwd=job_folder,
            env=scratch.environment(environ, self._scratch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=seat,
        )
        os.set_blocking(self._output, False)

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def open(self, timeout: float) -> Answer:
        """Open the document; the answer's value is its number of pages."""
        lines = ghostscript.open_lines(self.setup.document, self._password, self._token)
        if self.can_make_thumbnails and not self._has_small_device:
            self._has_small_device = True
            files = str(self._scratch) + "/" + _THUMBNAILS
            lines = ghostscript.thumbnail_setup_lines(self.setup.thumbnails, files) + lines
        return self._ask(lines, timeout)

    @property
    def is_at_thumbnail(self) -> bool:
        """Whether the next thing that the renderer owes us is a thumbnail."""
        return bool(self._due) and self._due[0]

    @property
    def can_make_thumbnails(self) -> bool:
        """Whether somebody wants them and there is room for them."""
        return bool(self.setup.thumbnails) and self._scratch is not None

    def close_document(self, timeout: float) -> Answer:
        """Close the document: Ghostscript sums up what it met since ``open``."""
        return self._ask(ghostscript.close_lines(self._token), timeout)

    def seek(self, number: int, timeout: float) -> Answer:
        """Look up the pages before this one, which Ghostscript may need in order to find it."""
        return self._ask(ghostscript.seek_lines(number, self._token), timeout)

    def tell(self, number: int, thumbnail_of: Optional[int] = None) -> None:
        """Ask for a page; it may be told while the one before is still being drawn.

        ``thumbnail_of``: ask for its thumbnail too, and what to call it.
        """
        self.pages_rendered += 1
        lines = ghostscript.page_lines(number, self._token)
        self._due.append(False)
        if thumbnail_of is not None and self.can_make_thumbnails:
            lines += ghostscript.thumbnail_lines(number, thumbnail_of, self._token)
            self._due.append(True)
        self._tell(lines)

    def answer(self, timeout: float) -> Answer:
        """The page told first is drawn; the value is for ghostscript.parse_page_answer."""
        return self._await(timeout)

    @property
    def is_killed(self) -> bool:
        """Whether it was told to end, so that no page may be told to it."""
        return self._killed_as is not None

    def kill(self, kind: str = wire.KILLED) -> None:
        """End the renderer now; whoever waits for an answer gets SessionEnded of this kind."""
        self._killed_as = self._killed_as or kind
        if self._process.poll() is None:
            processes.kill_tree(self._process.pid)

    def close(self) -> bool:
        """End the renderer and wait until it is gone, which one that hangs in a dead SAN never is.

        Whether it is. What a sandbox or a script has started is gone when nobody writes to us any more.
        """
        self.kill()
        end = time.monotonic() + GONE_TIMEOUT
        try:
            self._process.wait(GONE_TIMEOUT)
        except subprocess.TimeoutExpired:
            return False
        is_gone = self._falls_silent(end)
        scratch.remove(self._scratch)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # closing flushes what a dead renderer never read
        return is_gone

    def _falls_silent(self, end: float) -> bool:
        """Whether its output ends by then; what is said meanwhile is nobody's."""
        while select.select([self._output], [], [], max(0.0, end - time.monotonic()))[0]:
            if not os.read(self._output, 65536):
                return True
        return False

    def resident(self) -> int:
        """Bytes of memory in use (proc(5), statm); 0 when the process is gone."""
        return processes.resident(self._process.pid)

    def cpu_since(self) -> float:
        """Seconds of user and system time since this was last asked (proc(5), stat, 14 and 15)."""
        before, self._cpu_told = self._cpu_told, processes.cpu(self._process.pid)
        return max(0.0, self._cpu_told - before)

    def _ask(self, lines: List[str], timeout: float) -> Answer:
        self._due.append(False)
        self._tell(lines)
        return self._await(timeout)

    def _await(self, timeout: float) -> Answer:
        try:
            return self._listen(timeout)
        finally:
            if self._guard is not None:
                self._guard.rests(self)

    def _listen(self, timeout: float) -> Answer:
        self._lines = []
        deadline = time.monotonic() + timeout
        glance = time.monotonic() + POLL_INTERVAL
        while True:
            value = self._next_answer()
            if value is not None:
                return Answer(value, self._lines)
            ready, _, _ = select.select([self._output], [], [], POLL_INTERVAL)
            if ready:
                self._read()
            now = time.monotonic()
            if now >= glance:
                glance = now + POLL_INTERVAL
                self._check(deadline)

    def _tell(self, lines: List[str]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(("\n".join(lines) + "\n").encode("ascii"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _check(self, deadline: float) -> None:
        now, size = time.monotonic(), self.resident()
        if now > deadline:
            self.kill(wire.TIMEOUT)
        elif size > self._limit:
            self.kill(wire.MEMORY)
        elif self._guard is not None and self._guard.must_go(self, size, now):
            self.kill(wire.LOW_MEMORY)

    def _read(self) -> None:
        data = os.read(self._output, 65536)
        if not data:
            raise self._ended()
        self._pending += data

    def _next_answer(self) -> Optional[str]:
        """Take whole lines from what was read; the value behind our token, or None."""
        while True:
            match = self._answer.search(self._pending)
            if match is None:
                break
            before, self._pending = self._pending[: match.start()], self._pending[match.end() :]
            value = match.group(2).decode("ascii", "replace").strip()
            self._due.popleft()
            if not match.group(1):
                self._keep_lines(before)
                return value
            self._lines = []  # what was said while the page was drawn again was said before
            self._take_thumbnail(value)
        lines, _, self._pending = self._pending.rpartition(b"\n")
        self._keep_lines(lines)
        if len(self._pending) > 65536:
            self._keep(self._pending)
            self._pending = b""
        return None

    def _take_thumbnail(self, value: str) -> None:
        thumbnail = ghostscript.parse_thumbnail(value)
        path = "%s/%s" % (self._scratch, _THUMBNAILS % (thumbnail.shown + 1))
        data = scratch.take(path)
        if self._on_thumbnail is not None:
            self._on_thumbnail(thumbnail.page, data, thumbnail.seconds)

    def _keep_lines(self, lines: bytes) -> None:
        """A page may print gigabytes: once there are enough, the rest is not even looked at."""
        if len(self._lines) < diagnostics.MAX_LINES:
            for line in lines.split(b"\n"):
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        if len(self._lines) < diagnostics.MAX_LINES and line.strip():
            self._lines.append(line[: diagnostics.MAX_LINE].decode("utf-8", "replace").rstrip())

    def _ended(self) -> SessionEnded:
        status = self._process.wait()
        self._keep(self._pending)
        kind = self._killed_as or wire.CRASHED
        return SessionEnded(kind, reason_for(kind, status), self._lines)


def reason_for(kind: str, status: int, program: str = "Ghostscript") -> str:
    """Why a renderer ended, in words; ``status`` as subprocess has it."""
    if kind == wire.CRASHED and -status in _LIMITS:
        return "%s reached a limit of this host: %s" % (program, _LIMITS[-status])
    if kind == wire.CRASHED and status < 0:
        return "%s died of signal %d" % (program, -status)
    if kind == wire.CRASHED:
        return "%s ended %swith exit code %d" % (
            program,
            "by itself " if program == "Ghostscript" else "",
            status,
        )
    return _REASONS[kind]


_LIMITS: Dict[int, str] = {
    signal.SIGXFSZ: "RLIMIT_FSIZE, ulimit -f, the size of a file",
    signal.SIGXCPU: "RLIMIT_CPU, ulimit -t, processor time",
}
_REASONS = {
    wire.TIMEOUT: "took longer than the page timeout",
    wire.MEMORY: "used more memory than a page may",
    wire.KILLED: "was called off",
    wire.LOW_MEMORY: "the host ran short of memory",
}
