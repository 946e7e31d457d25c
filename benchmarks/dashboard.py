"""Measures what the dashboard costs: the journal of a large job grows in real time, `watch` shows it.

    python -m benchmarks.dashboard [--hosts 60] [--pages 2000] [--seconds 30]

Prints the CPU time of `sshrender watch` as a share of one core, and the bytes that it sent to a terminal
of 160 by 50.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import random
import resource
import select
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

from sshrender.job import lease
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import JournalWriter
from sshrender.job.journal.journalformat import SCHEMA, parse, timestamp
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings

WARM_UP = 4.0


class Replay:
    """Write the journal of a job on many hosts, in real time."""

    def __init__(self, san: Path, hosts: int, pages: int, seconds: float) -> None:
        self.folder = JobFolder(san / "large-00000000")
        self.folder.path.mkdir()
        self.folder.create()
        document = DocumentRecord(name="large.pdf", bytes=1 << 30, sha256="0" * 64, pages=pages)
        settings = RenderSettings(device="png16m", dpi=150.0, pages=f"1-{pages}")
        now = timestamp(time.time())
        JobSpec(name=self.folder.name, created=now, document=document, settings=settings).save(
            self.folder
        )
        self._lease = lease.take(self.folder.lease)
        self._writer = JournalWriter(self.folder.journal)
        self._names = [f"node{number:02d}" for number in range(1, hosts + 1)]
        self._pages = pages
        self._rate = 0.8 * pages / seconds
        self._random = random.Random(1)
        self._sent = self._done = 0
        self._write("run_started", epoch=1, pages=pages, output="", coordinator="", hosts=self._names)
        for name in self._names:
            facts: dict[str, Any] = {"cores": 8, "slots": 8, "ghostscript": "10.00.0"}
            self._write("host_connected", host=name, python="3.11.2", **facts)
            self._write("host_state", host=name, state="idle", reason="")

    def step(self, elapsed: float) -> None:
        """Return the entries up to this moment."""
        while self._sent < min(self._pages, self._rate * elapsed + 16 * len(self._names)):
            self._sent += 1
            self._write("page_sent", **self._attempt(self._sent))
        while self._done < min(self._sent, int(self._rate * elapsed)):
            self._done += 1
            facts: dict[str, Any] = {"file": f"page-{self._done:04d}.png", "sha256": "0" * 64}
            facts |= {"bytes": 50000, "width": 1240, "height": 1754, "ghostscript": "10.00.0"}
            facts |= {
                "seconds": 0.05 + self._random.random(),
                "attempts": 1,
                "diagnostics": [],
                "cpu": 0.1,
            }
            self._write("page_delivered", **self._attempt(self._done), **facts)
        loads = {name: (self._random.random(), 8.0) for name in self._random.sample(self._names, 6)}
        self._write("hosts_sampled", loads=loads)

    def _attempt(self, page: int) -> dict[str, Any]:
        return {"page": page, "host": self._names[page % len(self._names)], "attempt": f"1.{page}"}

    def _write(self, kind: str, **fields: Any) -> None:
        line = {"schema": SCHEMA, "time": timestamp(time.time()), "type": kind, **fields}
        self._writer.append([parse(json.loads(json.dumps(line)))])


def measure(hosts: int, pages: int, seconds: float) -> tuple[float, int]:
    """Return (share of a core, bytes per second)."""
    with tempfile.TemporaryDirectory() as name:
        replay = Replay(Path(name), hosts, pages, seconds)
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, 160))
        watching = subprocess.Popen(
            [sys.executable, "-m", "sshrender", "watch", str(replay.folder.path), "--san", name],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(slave)
        try:
            return _look_on(replay, watching.pid, master, seconds)
        finally:
            watching.kill()
            watching.wait()
            os.close(master)


def _look_on(replay: Replay, pid: int, master: int, seconds: float) -> tuple[float, int]:
    began = time.monotonic()
    sent, cpu = 0, 0.0
    is_warm = False
    while (elapsed := time.monotonic() - began) < seconds:
        replay.step(elapsed)
        if not is_warm and elapsed > WARM_UP:
            is_warm, cpu, sent = True, _cpu(pid), 0
        deadline = time.monotonic() + 0.2
        while (left := deadline - time.monotonic()) > 0:
            if select.select([master], [], [], left)[0]:
                sent += len(os.read(master, 65536))
    return (_cpu(pid) - cpu) / (seconds - WARM_UP), int(sent / (seconds - WARM_UP))


def _cpu(pid: int) -> float:
    """Return seconds of user and system time (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=60)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    words = parser.parse_args()
    share, rate = measure(words.hosts, words.pages, words.seconds)
    print(f"{words.hosts} hosts, {words.pages} pages: {100 * share:.1f} % of a core, {rate} bytes/s")
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(f"(the replay itself took {own.ru_utime + own.ru_stime:.1f} s)")


if __name__ == "__main__":
    main()
