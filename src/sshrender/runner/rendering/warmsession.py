"""One warm renderer process: starts it, asks it for page after page, limits its time and memory.

A session belongs to one slot's thread; only ``kill`` and ``kill_unless_done`` may be called from another
thread.

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
from sshrender.renderers.dialogue import Dialogue
from sshrender.renderers.warmghostscript import GHOSTSCRIPT
from sshrender.runner import wire
from sshrender.runner.host import memorylimits, processes, processlimits, sandbox, scratch
from sshrender.runner.host.processlimits import ProcessSetup

# A limit is exceeded for a quarter of a second at most.
POLL_INTERVAL = 0.25
"""Seconds between two checks of a working renderer's time and memory."""

GONE_TIMEOUT = 5.0
"""Seconds in which a killed renderer must be gone; the kernel keeps one that waits for storage
(signal(7))."""

_THUMBNAILS = "thumbnail.%d"


class SessionEnded(Exception):
    """The renderer has ended: ``kind`` as in wire.py, the reason in words, and its last lines."""

    def __init__(self, kind: str, reason: str, lines: List[str]) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.lines = lines


class Answer(NamedTuple):
    """``value`` followed the token in the renderer's output; ``lines`` are the output before it."""

    value: str
    lines: List[str]


class Session:
    """A renderer's process with its document open; ``dialogue``: what it is sent and answers.

    ``password``: as the document's encryption has it. ``on_thumbnail`` is called with a page, its
    thumbnail (empty if there is none) and the CPU seconds that it took, by the methods that wait for an
    answer. Raises SessionEnded, or OSError if no process can be started.
    """

    def __init__(
        self,
        setup: ghostscript.Setup,
        process: ProcessSetup,
        dialogue: Dialogue = GHOSTSCRIPT,
        password: Optional[bytes] = None,
        on_thumbnail: Optional[Callable[[int, bytes, float], None]] = None,
        guard: Optional[memorylimits.Guard] = None,
    ) -> None:
        self.setup = setup
        self._dialogue = dialogue
        # Counts pages that were asked for, so that a renderer is replaced in time even while one is
        # ahead.
        self.pages_rendered = 0
        # For each answer that is due, in order: whether it is a thumbnail's.
        self._due: Deque[bool] = deque()
        # A random word that the renderer prints in front of each answer, so that no output of the
        # document is taken for one.
        self._token = "sshrender-" + os.urandom(8).hex()
        # An answer is a line: the token, a mark if it is a thumbnail's, a space, the value.
        self._answer = re.compile(b"^" + self._token.encode("ascii") + b"(~?) ([^\n]*)\n", re.MULTILINE)
        self._on_thumbnail = on_thumbnail
        self._limit = process.memory
        self._guard = guard
        self._password = password
        # Output that was read and is not a whole line yet.
        self._pending = b""
        self._lines: List[str] = []
        # Set by the thread that reads requests or by a limit; the first reason stays.
        self._killed_as: Optional[str] = None
        # When the page that is rendered must be done, or the renderer is killed.
        self._kill_at: Optional[float] = None
        # CPU seconds of the process at the last cpu_since(); pages are charged with differences.
        self._cpu_before = 0.0
        self._scratch = scratch.make()
        self._is_set_up = False
        self._profiles = self._link_profile(process.folder)
        # Files and links first: the process may read them as soon as it runs.
        self._write_files()
        self._process = self._start(process)
        # select(2) may report readable output that is gone at the read; that must not block.
        os.set_blocking(self._output, False)

    def _start(self, process: ProcessSetup) -> subprocess.Popen[bytes]:
        setup = self.setup
        command = self._dialogue.command(setup, self._scratch or "")
        if process.is_sandboxed:
            writable = process.writable
            if setup.raster is not None:
                writable += (setup.raster.folder, setup.raster.large_folder)
            command = sandbox.wrap(
                command, process.folder, setup.document, self._scratch, setup.files, writable
            )
        try:
            return subprocess.Popen(
                processlimits.wrap(command, process.memory),
                cwd=process.folder,
                # The variable TMPDIR also decides what -dSAFER lets Ghostscript write (scratch.py).
                env=scratch.environment(process.environ, self._scratch),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=process.inherited,
            )
        except OSError:  # no process may be started (fork(2)), or the job's folder is gone
            scratch.remove(self._scratch)
            raise

    @property
    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def open(self, timeout: float) -> Answer:
        """Open the document; the value of the answer is its number of pages. Raises SessionEnded."""
        lines = self._dialogue.open_lines(self.setup, self._password, self._token)
        # Once for each process: definitions stay when a document is closed and opened again.
        if not self._is_set_up:
            self._is_set_up = True
            lines = self._setup_lines() + lines
        return self._ask(lines, timeout)

    def _setup_lines(self) -> List[str]:
        thumbnails = "%s/%s" % (self._scratch, _THUMBNAILS) if self.can_make_thumbnails else ""
        return self._dialogue.setup_lines(self.setup, self._profiles, thumbnails)

    def _write_files(self) -> None:
        """Write what the program reads in its folder for temporary files. Raises SessionEnded."""
        try:
            for name, text in self._dialogue.files().items():
                if self._scratch is None:
                    raise OSError("there is no room for temporary files")
                scratch.write("%s/%s" % (self._scratch, name), text)
        except OSError as error:
            scratch.remove(self._scratch)
            reason = "%s cannot be started: %s" % (self._dialogue.name, error)
            raise SessionEnded(wire.CRASHED, reason, []) from None

    def _link_profile(self, job_folder: str) -> str:
        """Return the folder in which the device's profile has the user's name. Raises SessionEnded."""
        if self.setup.profile is None:
            return ""
        name, file = self.setup.profile
        folder = str(self._scratch) + "/icc"
        try:
            if self._scratch is None:
                raise OSError("there is no room for temporary files")
            # An absolute target: the link is elsewhere, and Ghostscript opens it from there.
            scratch.link(folder, name, os.path.abspath(job_folder) + "/" + file)
        except (OSError, ValueError) as error:
            scratch.remove(self._scratch)
            raise SessionEnded(wire.CRASHED, "no ICC profile: %s" % error, []) from None
        return folder + "/"

    def scratch_file(self, name: str) -> str:
        """Return the path of a file in the folder for temporary files; it goes with the session."""
        return "%s/%s" % (self._scratch, name)

    @property
    def is_at_thumbnail(self) -> bool:
        """Whether the next answer that is due is a thumbnail's."""
        return bool(self._due) and self._due[0]

    @property
    def can_make_thumbnails(self) -> bool:
        """Whether thumbnails are requested and there is a folder for their files."""
        return bool(self.setup.thumbnails) and self._scratch is not None

    def write_blank_page(self, timeout: float) -> None:
        """Write a small blank page, before any document is opened. Raises SessionEnded."""
        self._is_set_up = True
        self._ask(self._setup_lines() + ghostscript.blank_page_lines(self._token), timeout)

    def close_document(self, timeout: float) -> Answer:
        """Close the document; Ghostscript prints a summary of the problems since ``open``."""
        return self._ask(self._dialogue.close_lines(self._token), timeout)

    def seek(self, number: int, timeout: float) -> Answer:
        """Look up all pages before this one; the renderer may find it only then."""
        return self._ask(self._dialogue.seek_lines(number, self._token), timeout)

    def tell(self, number: int, thumbnail_of: Optional[int] = None) -> None:
        """Ask for a page; this is possible while the page before is still being rendered.

        ``thumbnail_of``: ask for its thumbnail as well, under this page number.
        """
        self.pages_rendered += 1
        lines = self._dialogue.page_lines(number, self._token)
        # Noted before the lines are sent, so that an answer never comes without its entry.
        self._due.append(False)
        if thumbnail_of is not None and self.can_make_thumbnails:
            lines += self._dialogue.thumbnail_lines(number, thumbnail_of, self._token)
            self._due.append(True)
        self._tell(lines)

    def answer(self, timeout: float) -> Answer:
        """Wait for the page that was asked for first; see Dialogue.page_result."""
        return self._await(timeout)

    @property
    def is_killed(self) -> bool:
        """Whether the renderer is being ended, so that no page may be requested from it."""
        return self._killed_as is not None

    def kill(self, kind: str = wire.KILLED) -> None:
        """End the renderer now; a method that waits for an answer raises SessionEnded of this kind."""
        # The first reason stays, because it is the one that has ended the renderer.
        self._killed_as = self._killed_as or kind
        # After poll() has collected the process, its number may be another one's.
        if self._process.poll() is None:
            processes.kill_tree(self._process.pid)

    def kill_unless_done(self, seconds: float) -> None:
        """End the renderer if its page takes longer than that from now."""
        self._kill_at = time.monotonic() + seconds

    def spare(self) -> None:
        """Forget ``kill_unless_done``: the page that it was about is done."""
        self._kill_at = None

    def close(self) -> bool:
        """End the renderer and wait for its end. Return whether it is gone.

        A renderer that hangs in a dead file server does not end. Processes that a sandbox or a wrapper
        script has started are gone when no process has our pipe open for writing any more.
        """
        self.kill()
        # One deadline for both waits: the process and what it has started.
        end = time.monotonic() + GONE_TIMEOUT
        try:
            self._process.wait(GONE_TIMEOUT)
        except subprocess.TimeoutExpired:
            # It keeps its slot's lock, and the slot renders nothing more (require_killable).
            return False
        is_gone = self._output_ends(end)
        scratch.remove(self._scratch)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # close() flushes what the dead renderer has not read
        return is_gone

    def _output_ends(self, end: float) -> bool:
        """Return whether its output ends in time; the output until then is dropped."""
        while select.select([self._output], [], [], max(0.0, end - time.monotonic()))[0]:
            # Non-blocking, and select(2) has reported data or the end.
            if not os.read(self._output, 65536):
                return True
        return False

    def resident(self) -> int:
        """Return the bytes of memory in use (proc(5), statm); 0 when the process is gone."""
        return processes.resident(self._process.pid)

    def cpu_used(self) -> float:
        """Return its CPU seconds so far, as of the last ``cpu_since``."""
        return self._cpu_before

    def cpu_since(self) -> float:
        """Return the CPU seconds since the last call (proc(5), stat, fields 14 and 15)."""
        # Only living processes count, so a wrapper's child that has ended may lower the sum: never below
        # zero.
        before, self._cpu_before = self._cpu_before, processes.cpu(self._process.pid)
        return max(0.0, self._cpu_before - before)

    def _ask(self, lines: List[str], timeout: float) -> Answer:
        self._due.append(False)
        self._tell(lines)
        return self._await(timeout)

    def _await(self, timeout: float) -> Answer:
        try:
            # Called by the slot's thread only.
            return self._listen(timeout)
        finally:
            if self._guard is not None:
                # Between two pages a renderer's size does not count against the others.
                self._guard.finished(self)

    def _listen(self, timeout: float) -> Answer:
        # Lines before the answer are the page's. The list is new, because the last one was given away.
        self._lines = []
        deadline = time.monotonic() + timeout
        next_check = time.monotonic() + POLL_INTERVAL
        while True:
            # Answers that came together are taken one by one before anything is read.
            value = self._next_answer()
            if value is not None:
                return Answer(value, self._lines)
            ready, _, _ = select.select([self._output], [], [], POLL_INTERVAL)
            if ready:
                self._read()
            now = time.monotonic()
            # Checked while output comes, too: a page may print without end.
            if now >= next_check:
                next_check = now + POLL_INTERVAL
                self._check(deadline)

    def _tell(self, lines: List[str]) -> None:
        assert self._process.stdin is not None
        try:
            # ASCII: names and texts are escaped by the dialogue.
            self._process.stdin.write(("\n".join(lines) + "\n").encode("ascii"))
            self._process.stdin.flush()
        # The renderer has ended between two pages, or of what it was asked before.
        except BrokenPipeError:
            raise self._ended() from None

    def _check(self, deadline: float) -> None:
        now, size = time.monotonic(), self.resident()
        if now > deadline:
            self.kill(wire.TIMEOUT)
        elif self._kill_at is not None and now > self._kill_at:
            self.kill()
        elif size > self._limit:
            self.kill(wire.MEMORY)
        elif self._guard is not None and self._guard.must_end(self, size, now):
            self.kill(wire.LOW_MEMORY)

    def _read(self) -> None:
        data = os.read(self._output, 65536)
        if not data:
            raise self._ended()
        self._pending += data

    def _next_answer(self) -> Optional[str]:
        """Take whole lines from what was read. Return the value after our token, or None."""
        while True:
            # The whole of what is pending: one read may bring several answers.
            match = self._answer.search(self._pending)
            if match is None:
                break
            before, self._pending = self._pending[: match.start()], self._pending[match.end() :]
            value = match.group(2).decode("ascii", "replace").strip()
            # Answers come in the order of the requests (self._due).
            self._due.popleft()
            if not match.group(1):
                self._keep_lines(before)
                return value
            # Rendering the page again, as a thumbnail, only repeats the page's own warnings.
            self._lines = []
            self._take_thumbnail(value)
        # Without an answer only whole lines are taken: the begin of an answer must stay.
        lines, _, self._pending = self._pending.rpartition(b"\n")
        self._keep_lines(lines)
        if len(self._pending) > 65536:  # a line without end
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
        """Keep up to MAX_LINES lines. A page may print gigabytes, so the rest is not even split."""
        if len(self._lines) < diagnostics.MAX_LINES:
            for line in lines.split(b"\n"):
                self._keep(line)

    def _keep(self, line: bytes) -> None:
        if len(self._lines) < diagnostics.MAX_LINES and line.strip():
            self._lines.append(line[: diagnostics.MAX_LINE].decode("utf-8", "replace").rstrip())

    def _ended(self) -> SessionEnded:
        # Its output has ended, so this wait is short.
        status = self._process.wait()
        self._keep(self._pending)
        kind = self._killed_as or wire.CRASHED
        reason = reason_for(kind, status, self._dialogue.name, is_warm=True)
        return SessionEnded(kind, reason, self._lines)


def reason_for(kind: str, status: int, program: str, is_warm: bool = False) -> str:
    """Return in words why a renderer ended; ``status``: negative for a signal, as in subprocess.

    ``is_warm``: the program was to stay until it is killed.
    """
    # Only a crash is explained by a signal: a renderer that was killed for another reason has died of
    # one as well.
    if kind == wire.CRASHED and -status in _LIMITS:
        return "%s reached a limit of this host: %s" % (program, _LIMITS[-status])
    if kind == wire.CRASHED and status < 0:
        why = ""
        # SIGKILL may also come from the kernel's out-of-memory killer.
        if -status == signal.SIGKILL and processlimits.processor_time() < float("inf"):
            # At the hard limit the kernel sends no SIGXCPU (setrlimit(2)).
            limit = processlimits.processor_time()
            why = ", perhaps of a limit of this host: RLIMIT_CPU, ulimit -t is %d seconds" % limit
        return "%s died of signal %d%s" % (program, -status, why)
    if kind == wire.CRASHED:
        return "%s ended %swith exit code %d" % (
            program,
            "by itself " if is_warm else "",
            status,
        )
    return REASONS[kind]


def count_pages(session: Session, timeout: float) -> Tuple[str, List[str]]:
    """Open and close a document. Return its number of pages, as printed, and the warnings."""
    # Both lists: some problems are reported when the document is opened, others when it is closed.
    opened = session.open(timeout)
    closed = session.close_document(timeout)
    return opened.value, diagnostics.warnings(opened.lines + closed.lines)


_LIMITS: Dict[int, str] = {
    signal.SIGXFSZ: "RLIMIT_FSIZE, ulimit -f, the size of a file",
    signal.SIGXCPU: "RLIMIT_CPU, ulimit -t, processor time",
}
"""Signals that the kernel sends when a limit is exceeded (getrlimit(2))."""

REASONS = {
    wire.TIMEOUT: "took longer than the page timeout",
    wire.MEMORY: "used more memory than a page may",
    wire.KILLED: "was cancelled",
    wire.LOW_MEMORY: "the host ran short of memory",
}
