"""Holds an allocation: a job of a batch system that runs a runner for as long as it has a node.

The script of the job starts it (transports/batch/script.py). It appends what becomes of the allocation
to ``INDEX.pilot``, looks for the newest pair of files that a coordinator has made for it, and pumps the
lines of that pair to a runner's input and the runner's output back.

Two processes. The first stays in the session of the job and gets the engine's signals; the second has a
session of its own and does the work. TORQUE kills a cancelled job 2 to 60 ms after TERM, but no process
of another session: the second sees the end of the first as the end of a pipe, reports it, and ends the
runner.

A job that is over leaves a *tombstone*: the file ``state`` no longer says ``open``. A holder that finds
one, or no folder at all, exits with 0, so that a late start, a rerun or a forgotten pilot does nothing.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List, NoReturn, Optional, Tuple

from sshrender.runner import allocationfacts, pilotlines

LIST_INTERVAL, SEARCH_INTERVAL = 2.0, 0.5
"""Seconds between two listings of the folder, for a newer pair or a tombstone; the second while another
coordinator is expected, as that of the runner is silent."""

SEARCH_AFTER = 5.0
"""Seconds of silence: lines come every second, and a coordinator is taken for dead after ten."""

ABANDONED = 60.0
"""Seconds without a line of any coordinator after which the allocation is given back."""

MAX_FAILING = 15.0
"""Seconds in which the shared folder may fail to be read, as it does while a file server restarts."""

MAX_OUTPUT = 1 << 16

MAX_INPUT = 16 << 20
"""Bytes for a runner that does not read, beyond which no more lines are taken."""

LAST_NOTICE = 25.0
"""Seconds that are left after TERM, at most: Slurm and OpenPBS wait 30 s and 12 s before they kill."""

START, DATA, CLOSE, END, KEEP = b"s", b"d", b"c", b"e", b"k"
"""Lines of the coordinator: start a runner, bytes for its input, end it, give the allocation back; it is
there, and reaches its runner in another way."""

OUTPUT, EXIT = b"o", b"x"
"""Lines of the holder: bytes of the runner's output, and its exit status."""

# ``INDEX.eEPOCH.NUMBER.down``: the newest epoch counts, then the newest number.
_PAIR = re.compile(r"(\d+)\.e(\d+)\.(\d+)\.down")


class Holder:
    """The second process. ``parent``: a pipe that brings the first one's signals, and ends with it."""

    def __init__(self, folder: str, index: int, key: bytes, end: float, parent: int) -> None:
        self._folder = folder
        self._index = index
        # The key came in the script of the job and is kept in memory only.
        self._key = key
        self._end = end
        self._parent = parent
        # The token tells the starts of one element apart: an engine may run it again after a node has
        # failed.
        self._token = os.urandom(8).hex()
        self._notice = allocationfacts.notice_of(end - time.monotonic(), self._token)
        self._notes: Optional[pilotlines.LineWriter] = None
        self._pair = (0, 0)
        self._reader: Optional[pilotlines.LineReader] = None
        self._writer: Optional[pilotlines.LineWriter] = None
        self._runner: Optional[subprocess.Popen[bytes]] = None
        # Bytes for the runner that its pipe has not taken yet.
        self._input = b""
        self._silence = ABANDONED
        self._heard_at = self._list_at = time.monotonic()
        # Eager from now on: the coordinator reads the first note within a second.
        self._timer = pilotlines.LookTimer()
        self._look_at = 0.0
        self._failing_since: Optional[float] = None
        self._is_retiring = False

    def run(self) -> NoReturn:
        """Serve coordinators until the allocation ends, is abandoned or is not needed."""
        reason = "the shared folder failed"
        try:
            # A late start: the job was over while this element waited in the queue. Nothing is written
            # then.
            if self._is_over():
                os._exit(0)
            self._note(type="started", **self._facts())
            reason = self._serve()
            # The runner ends before the note, so that the note is true when it is read.
            self._stop_runner()
            self._note(type="ended", reason=reason)
        # The folder was removed with the job between two looks: the end that the note would tell of.
        except FileNotFoundError:
            pass
        # The shared folder does not work, so no note can be written. Standard error is all that is left.
        except (OSError, pilotlines.BadLine) as error:
            sys.stderr.write("sshrender: %s: %s\n" % (reason, error))
        finally:
            self._stop_runner()
        # _exit: this process is a fork, and must not run what its parent has registered to run at exit.
        os._exit(0)

    def _facts(self) -> Dict[str, Any]:
        return {
            "node": os.environ.get("SLURMD_NODENAME") or os.uname().nodename,
            "cores": allocationfacts.cores_of(dict(os.environ)),
            "memory": allocationfacts.memory_of(dict(os.environ)),
            "left": max(0.0, self._end - time.monotonic()),
            "job": os.environ.get("SLURM_JOB_ID", ""),
        }

    def _note(self, **fields: Any) -> None:
        """Append a line about the allocation; a rerun appends after the lines of earlier starts."""
        if self._notes is None:
            path = os.path.join(self._folder, "%d.pilot" % self._index)
            earlier = pilotlines.LineReader(path, self._key)
            while earlier.read_new():
                pass
            self._notes = pilotlines.LineWriter(path, self._key, earlier.number)
        self._notes.append(json.dumps(dict(fields, token=self._token)).encode("utf-8"))

    def _is_over(self) -> bool:
        """Return whether there is a tombstone. A folder that is gone is one. Raises OSError."""
        try:
            # A tombstone holds "over". It is renamed into place, so that it is never seen half.
            return pilotlines.beginning(os.path.join(self._folder, "state"), 4) != b"open"
        except FileNotFoundError:
            return True

    def _serve(self) -> str:
        """Pump lines; return why it ended."""
        while True:
            inputs, outputs = self._descriptors()
            # The wait ends for the next look, even when nothing comes from the runner or the engine.
            pause = max(0.0, min(self._look_at, self._list_at) - time.monotonic())
            ready, writable, _ = select.select(inputs, outputs, [], pause)
            now = time.monotonic()
            if self._parent in ready:
                signals = os.read(self._parent, 16)
                # An empty read: the first process has ended, because the engine has killed it.
                if not signals:
                    return "the batch system ended it"
                self._take_signal(is_last=b"t" in signals)
            # The order matters: output that the runner wrote before it ended is sent before its exit
            # status.
            if len(inputs) > 1 and inputs[1] in ready:
                self._forward_output()
            if writable:
                self._feed()
            reason = self._check_time(now)
            if not reason and now >= self._look_at:
                # Lines are left in the file while the runner does not read: the file is the queue, and
                # memory stays bounded.
                if len(self._input) < MAX_INPUT:
                    reason = self._take_lines(now)
                self._look_at = now + self._timer.after(has_lines=self._heard_at == now)
            if reason:
                return reason

    def _descriptors(self) -> Tuple[List[int], List[int]]:
        """Return what to wait for: signals, the runner's output, and its input while it has to read."""
        inputs, outputs = [self._parent], []
        if self._runner is not None and self._runner.stdout is not None:
            inputs.append(self._runner.stdout.fileno())
            # The input is waited for only while there is something to write; a pipe with room is always
            # writable.
            if self._input and self._runner.stdin is not None:
                outputs.append(self._runner.stdin.fileno())
        return inputs, outputs

    def _take_signal(self, is_last: bool) -> None:
        if is_last:
            # ``min``: a second signal must not extend what the first has left.
            self._end = min(self._end, time.monotonic() + LAST_NOTICE)
        self._retire("a signal of the batch system")

    def _check_time(self, now: float) -> str:
        # Before the end, so that pages that are being rendered can be finished.
        if now >= self._end - self._notice:
            self._retire("its walltime ends soon")
        if now >= self._end:
            return "its walltime ended"
        # The runner's own limit for silence: it reads a pipe here, which stays open when a coordinator
        # dies.
        if self._runner is not None and now - self._heard_at > self._silence:
            self._stop_runner()
            self._send_exit(None, "the coordinator was silent for %d s" % self._silence)
        if now - self._heard_at > ABANDONED:
            return "no coordinator has spoken for %d s" % ABANDONED
        # Listing is rarer than reading: a listing of an NFS folder is a request to the server for each
        # call.
        if now >= self._list_at:
            is_searching = self._runner is not None and now - self._heard_at > SEARCH_AFTER
            self._list_at = now + (SEARCH_INTERVAL if is_searching else LIST_INTERVAL)
            try:
                if self._is_over():
                    return "it is not needed any more"
                self._find_pair()
                # While there is a pair, reading it decides (_take_lines).
                if self._reader is None:
                    self._failing_since = None
            except OSError as error:
                self._require_passing(error, now)
        return ""

    def _require_passing(self, error: OSError, now: float) -> None:
        """Raise an error of the shared folder unless it may pass, as EIO and ESTALE of NFS do."""
        if self._failing_since is None:
            self._failing_since = now
        # A folder that is gone was removed with its job.
        if isinstance(error, FileNotFoundError) or now - self._failing_since > MAX_FAILING:
            raise error

    def _retire(self, reason: str) -> None:
        if not self._is_retiring:
            self._is_retiring = True
            left = max(0.0, self._end - time.monotonic())
            self._note(type="retiring", reason=reason, left=left)

    def _find_pair(self) -> None:
        """Change to the newest pair of this element. The folder is listed: NFS caches absent names."""
        newest: Tuple[int, int] = self._pair
        for name in os.listdir(self._folder):
            found = _PAIR.fullmatch(name)
            if found is not None and int(found.group(1)) == self._index:
                # Tuples compare by epoch first: a new coordinator comes before an old one that still
                # makes pairs.
                newest = max(newest, (int(found.group(2)), int(found.group(3))))
        if newest == self._pair:
            return
        stem = os.path.join(self._folder, "%d.e%d.%d" % ((self._index,) + newest))
        size = os.stat(stem + ".up").st_size
        # The old runner ends first: one allocation has one runner.
        self._stop_runner()
        self._pair = newest
        self._reader = self._writer = None
        # ``.up`` is ours. With lines in it, its numbers would begin again and every line would be
        # refused.
        if size:
            return  # an earlier start of this element has used the pair
        self._timer.begin()
        self._look_at = 0.0  # its first lines are there already
        self._reader = pilotlines.LineReader(stem + ".down", self._key)
        self._writer = pilotlines.LineWriter(stem + ".up", self._key)

    def _take_lines(self, now: float) -> str:
        """Read and carry out what the coordinator has written; return why to end."""
        try:
            if self._pair == (0, 0):
                self._find_pair()
            if self._reader is None:
                return ""
            lines = self._reader.read_new()
        except pilotlines.BadLine:
            return ""  # its bytes may arrive late; the silence limit ends the wait
        except OSError as error:
            self._require_passing(error, now)
            return ""
        self._failing_since = None
        # Any line counts, also one that only says that the coordinator is there (KEEP).
        if lines:
            self._heard_at = now
        return self._carry_out(lines)

    def _carry_out(self, lines: List[bytes]) -> str:
        for line in lines:
            kind, data = line[:1], line[1:]
            if kind == START:
                self._timer.begin()
                # The line is signed by the coordinator (pilotlines.py), so its argument list is trusted.
                self._start_runner(json.loads(data.decode("utf-8")))
            elif kind == DATA and self._runner is not None:
                self._input += data
            # While retiring, the end of a connection is the end of the allocation: no coordinator
            # connects again.
            elif kind in (CLOSE, END):
                self._stop_runner()
                if kind == END or self._is_retiring:
                    return "it was given back"
        return ""

    def _start_runner(self, request: Dict[str, Any]) -> None:
        self._stop_runner()
        self._silence = float(request["silence"])
        # HTCondor starts jobs without HOME, in which fontconfig keeps what it has read of fonts. A user
        # whom the node does not know has none: the path stays "~".
        home = os.path.expanduser("~")
        environ = {
            "HOME": home if os.path.isabs(home) else "/",
            **allocationfacts.kept(dict(os.environ)),
        }
        environ.update(
            allocationfacts.variables(self._token, allocationfacts.memory_of(dict(os.environ)))
        )
        try:
            self._runner = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._send_exit(127, str(error))
            return
        assert self._runner.stdin is not None
        # Only the input: the output is read when select(2) has reported it.
        os.set_blocking(self._runner.stdin.fileno(), False)

    def _feed(self) -> None:
        """Write to the runner what its pipe takes. It never blocks: a runner may hang."""
        # One select(2) may report the end of the output and a broken input together. The runner was let
        # go with the first.
        if self._runner is None or self._runner.stdin is None:
            return
        try:
            written = os.write(self._runner.stdin.fileno(), self._input[: 1 << 16])
            self._input = self._input[written:]
        except BlockingIOError:
            pass  # the pipe is full: the next turn writes the rest
        except OSError:
            # EPIPE: the runner has closed its input or has ended.
            self._input = b""  # its output ends as well, and that is reported

    def _forward_output(self) -> None:
        assert self._runner is not None
        assert self._runner.stdout is not None
        data = os.read(self._runner.stdout.fileno(), MAX_OUTPUT)
        # Output may hold several lines or a part of one; the coordinator's reader puts them together.
        if data:
            self._send(OUTPUT + data)
            return
        # A runner closes its output only by ending, so this wait is short.
        status = self._runner.wait()
        self._stop_runner()
        self._send_exit(status, "the runner ended")

    def _send_exit(self, status: Optional[int], reason: str) -> None:
        self._send(EXIT + json.dumps({"status": status, "reason": reason}).encode("utf-8"))

    def _send(self, line: bytes) -> None:
        assert self._writer is not None
        self._writer.append(line)

    def _stop_runner(self) -> None:
        """End the runner and all that it has started: it kills its group when its input ends."""
        runner, self._runner = self._runner, None
        self._input = b""
        if runner is None:
            return
        # Closing the input makes the runner end its renderers by itself; SIGKILL below is for one that
        # does not.
        for pipe in (runner.stdin, runner.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # bytes that the runner did not take are lost with it
        # It is killed below.
        with contextlib.suppress(subprocess.TimeoutExpired):
            runner.wait(0.5)
        # The group is the runner's own (start_new_session).
        with contextlib.suppress(OSError):
            os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()


def hold(folder: str, key: bytes, walltime: float, words: List[str]) -> NoReturn:
    """Hold the allocation until its end. ``walltime``: seconds from now; ``words``: of the script."""
    # TORQUE tells a job its own, which options of the pool may have made shorter.
    own = os.environ.get("PBS_WALLTIME", "")
    # Before the fork, so both processes count from the same moment.
    end = time.monotonic() + (
        min(walltime, int(own)) if allocationfacts.is_number(own) and int(own) else walltime
    )
    index = allocationfacts.index_of(dict(os.environ), words)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.setsid()
        # Renderers inherit this: Slurm sends TERM to every process of a job, and a page that could
        # still be finished would count as crashed.
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGXCPU, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Holder(folder, index, key, end, read_end).run()
    os.close(read_end)

    def warn(number: int, _frame: Any) -> None:
        # A handler of Python runs between two instructions of the main thread, which waits in
        # waitpid(2).
        with contextlib.suppress(OSError):
            os.write(write_end, b"t" if number in (signal.SIGTERM, signal.SIGXCPU) else b"r")

    # No SIGHUP: its default ends this process, which the other one notices like any end.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, warn)
    # waitpid continues after a handler has run (PEP 475), so signals do not end the wait.
    os.waitpid(child, 0)
    os._exit(0)
