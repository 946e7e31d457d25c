"""One page by one run of some program: started, watched, ended like a warm Ghostscript (warmsession.py).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from sshrender.renderers import diagnostics
from sshrender.renderers import recipe as recipes
from sshrender.runner import memory, processes, processlimits, sandbox, scratch, wire
from sshrender.runner.warmsession import POLL_INTERVAL, SessionEnded, reason_for


class ProcessLimits(NamedTuple):
    """Bytes, and seconds for all steps together."""

    memory: int
    timeout: float


class Ran(NamedTuple):
    """All steps have ended well: what they printed, and their CPU seconds."""

    lines: List[str]
    cpu: float


class OneShot:
    """Runs a recipe's steps. ``run`` is called once; only ``kill`` may be called from another thread.

    ``seat``: descriptors that the programs inherit (slotlocks.py).
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        fields: Dict[str, str],
        folder: str,
        document: str,
        environ: Dict[str, str],
        bounds: ProcessLimits,
        guard: memory.Guard,
        is_sandboxed: bool,
        seat: Tuple[int, ...] = (),
    ) -> None:
        self._recipe = recipe
        self._fields = fields
        self._folder = folder
        self._document = document
        self._environ = environ
        self._bounds = bounds
        self._guard = guard
        self._is_sandboxed = is_sandboxed
        self._seat = seat
        self._killed_as: Optional[str] = None
        self._process: "Optional[subprocess.Popen[bytes]]" = None
        self._lines: List[str] = []

    def run(self) -> Ran:
        """All steps. Raises SessionEnded."""
        deadline = time.monotonic() + self._bounds.timeout
        cpu = 0.0
        try:
            for command in recipes.command_lines(self._recipe, self._fields):
                cpu += self._step(command, deadline)
        finally:
            self._guard.rests(self)
        return Ran(self._lines, cpu)

    def kill(self, kind: str = wire.KILLED) -> None:
        """End it now; ``run`` raises SessionEnded of this kind."""
        self._killed_as = self._killed_as or kind
        process = self._process
        if process is not None:
            processes.kill_tree(process.pid)

    def _step(self, command: List[str], deadline: float) -> float:
        """One step; its CPU seconds."""
        program = "the script" if self._recipe.shell else os.path.basename(command[0])
        temporary = self._fields["scratch"]
        if self._is_sandboxed:
            command = sandbox.wrap(command, self._folder, self._document, temporary)
        environ = recipes.environment(self._recipe, self._environ, self._fields)
        try:
            self._process = process = subprocess.Popen(
                processlimits.wrap(command, self._bounds.memory),
                cwd=self._folder,
                env=scratch.environment(environ, temporary),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=self._seat,
            )
        except OSError as error:
            raise SessionEnded(wire.CRASHED, "%s: %s" % (program, error.strerror), []) from None
        if self._killed_as is not None:  # between two steps
            self.kill()
        self._listen(process, deadline)
        _, ended, used = os.wait4(process.pid, 0)
        status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
        process.returncode = status
        if status != 0 or self._killed_as is not None:
            kind = self._killed_as or wire.CRASHED
            raise SessionEnded(kind, reason_for(kind, status, program), self._lines)
        return used.ru_utime + used.ru_stime

    def _listen(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        """Until its output ends, or it has to."""
        assert process.stdout is not None
        descriptor, pending, glance = process.stdout.fileno(), b"", 0.0
        while True:
            ready, _, _ = select.select([descriptor], [], [], POLL_INTERVAL)
            if ready:
                data = os.read(descriptor, 65536)
                if not data:
                    break
                pending = self._keep(pending + data)
            now = time.monotonic()
            if now >= glance:
                glance = now + POLL_INTERVAL
                self._check(process.pid, now, deadline)
        self._keep(pending + b"\n")
        process.stdout.close()

    def _check(self, pid: int, now: float, deadline: float) -> None:
        size = processes.resident(pid)
        if now > deadline:
            self.kill(wire.TIMEOUT)
        elif size > self._bounds.memory:
            self.kill(wire.MEMORY)
        elif self._guard.must_go(self, size, now):
            self.kill(wire.LOW_MEMORY)

    def _keep(self, data: bytes) -> bytes:
        """Take whole lines; answers what is left."""
        whole, _, rest = data.rpartition(b"\n")
        for line in whole.split(b"\n") if len(self._lines) < diagnostics.MAX_LINES else ():
            if line.strip() and len(self._lines) < diagnostics.MAX_LINES:
                self._lines.append(line[: diagnostics.MAX_LINE].decode("utf-8", "replace").rstrip())
        return rest if len(rest) < 65536 else b""
