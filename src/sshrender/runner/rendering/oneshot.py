"""Runs the programs of a recipe for one page, within the limits of a warm Ghostscript (warmsession.py).

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from typing import Dict, List, NamedTuple, Optional

from sshrender.renderers import diagnostics, mutool
from sshrender.renderers import recipe as recipes
from sshrender.runner import wire
from sshrender.runner.host import memorylimits, processes, processlimits, sandbox, scratch
from sshrender.runner.host.processlimits import ProcessSetup
from sshrender.runner.rendering.warmsession import POLL_INTERVAL, SessionEnded, reason_for


class Ran(NamedTuple):
    """The result of steps that all succeeded: their output and CPU seconds."""

    lines: List[str]
    cpu: float


class OneShot:
    """One run of a recipe's steps. ``run`` is called once; another thread may call ``kill`` only.

    ``fields``: the values of the recipe's fields (renderers/recipe.py) for one page. ``timeout``:
    seconds for all steps together.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        fields: Dict[str, str],
        setup: ProcessSetup,
        timeout: float,
        guard: memorylimits.Guard,
    ) -> None:
        self._recipe = recipe
        self._fields = fields
        self._setup = setup
        self._timeout = timeout
        self._guard = guard
        self._killed_as: Optional[str] = None
        # Held by kill(), and to forget a process before it is collected.
        self._lock = threading.Lock()
        self._process: "Optional[subprocess.Popen[bytes]]" = None
        self._lines: List[str] = []

    def run(self) -> Ran:
        """Run all steps. Raises SessionEnded."""
        # One deadline for all steps: page_timeout is about a page and not about a program.
        deadline = time.monotonic() + self._timeout
        cpu = 0.0
        try:
            for command in recipes.command_lines(self._recipe, self._fields):
                cpu += self._step(command, deadline)
        # The guard compares renderers at work only, so this one is taken out of the comparison.
        finally:
            self._guard.finished(self)
        return Ran(self._lines, cpu)

    def kill(self, kind: str = wire.KILLED) -> None:
        """End the running step now; ``run`` raises SessionEnded of this kind."""
        # The first reason stays: a page that ran out of time is not "cancelled" because a request came
        # after.
        self._killed_as = self._killed_as or kind
        with self._lock:
            if self._process is not None:
                # The tree, because a sandbox and a shell stay as parents of the program that works.
                processes.kill_tree(self._process.pid)

    def _step(self, command: List[str], deadline: float) -> float:
        """Run one step; return its CPU seconds. Raises SessionEnded."""
        words = command
        program = "the script" if self._recipe.shell else os.path.basename(command[0])
        temporary = self._fields["scratch"]
        # Each step has a sandbox of its own, with the same folders.
        if self._setup.is_sandboxed:
            command = sandbox.wrap(
                command,
                self._setup.folder,
                self._fields["document"],
                temporary,
                writable=self._setup.writable,
            )
        environ = recipes.environment(self._recipe, self._setup.environ, self._fields)
        try:
            self._process = process = subprocess.Popen(
                processlimits.wrap(command, self._setup.memory),
                cwd=self._setup.folder,
                env=scratch.environment(environ, temporary),
                stdin=subprocess.DEVNULL,  # a program that asks for a password must not wait
                stdout=subprocess.PIPE,
                # One stream, so that the order of the lines stays as the program wrote them.
                stderr=subprocess.STDOUT,
                pass_fds=self._setup.inherited,
            )
        except OSError as error:
            raise SessionEnded(wire.CRASHED, "%s: %s" % (program, error.strerror), []) from None
        if self._killed_as is not None:  # the kill came between two steps
            self.kill()
        self._listen(process, deadline)
        # WNOWAIT: until it is collected its number is not given to another process, which a late kill()
        # would end.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._process = None
        # wait4(2) reports the resources of the process and of the children that it waited for.
        _, ended, used = os.wait4(process.pid, 0)
        status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
        # Set by hand: Popen would wait for a process that wait4(2) has collected, and warn when it is
        # deleted.
        process.returncode = status
        # Only if the lines make the page suspect: the problem must not go unnoticed.
        if recipes.warnings(self._recipe, self._lines) and mutool.has_written_page(
            words, status, self._lines
        ):
            status = 0
        if status != 0 or self._killed_as is not None:
            kind = self._killed_as or wire.CRASHED
            raise SessionEnded(kind, reason_for(kind, status, program), self._lines)
        return used.ru_utime + used.ru_stime

    def _listen(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        """Read the output until it ends, and check the limits meanwhile."""
        assert process.stdout is not None
        # 0.0: the first check comes at once, because a program may take its memory in the first moments.
        descriptor, pending, next_check = process.stdout.fileno(), b"", 0.0
        while True:
            # The time-out makes the limits hold for a program that prints nothing.
            ready, _, _ = select.select([descriptor], [], [], POLL_INTERVAL)
            if ready:
                data = os.read(descriptor, 65536)
                if not data:
                    break
                pending = self._keep(pending + data)
            now = time.monotonic()
            if now >= next_check:
                next_check = now + POLL_INTERVAL
                self._check(process.pid, now, deadline)
        # The last line may lack its newline.
        self._keep(pending + b"\n")
        process.stdout.close()

    def _check(self, pid: int, now: float, deadline: float) -> None:
        size = processes.resident(pid)
        if now > deadline:
            self.kill(wire.TIMEOUT)
        # Resident memory of the whole tree; RLIMIT_AS (processlimits.py) counts each process alone.
        elif size > self._setup.memory:
            self.kill(wire.MEMORY)
        elif self._guard.must_end(self, size, now):
            self.kill(wire.LOW_MEMORY)

    def _keep(self, data: bytes) -> bytes:
        """Keep whole lines, up to MAX_LINES; return the rest."""
        whole, _, rest = data.rpartition(b"\n")
        # When enough lines are kept, the rest is not even split: a program may print gigabytes.
        for line in whole.split(b"\n") if len(self._lines) < diagnostics.MAX_LINES else ():
            if line.strip() and len(self._lines) < diagnostics.MAX_LINES:
                self._lines.append(line[: diagnostics.MAX_LINE].decode("utf-8", "replace").rstrip())
        # A line without end is dropped, so that it cannot fill the memory.
        return rest if len(rest) < 65536 else b""
