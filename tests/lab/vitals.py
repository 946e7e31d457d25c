"""How much memory coordinators take, and how regularly they write their leases, sampled in a thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.coordinators import Coordinator

_PAUSE = 0.25
_SAMPLES_BETWEEN_MEMORY = 8
"""smaps_rollup walks all pages of a process (proc(5)): read it every two seconds only."""


@dataclass
class _Heartbeat:
    """The newest that was seen of one lease, and when."""

    epoch: int
    counter: int
    seen_at: float


class Vitals:
    """Samples while it is open. ``leases``: which lease files to watch at the moment."""

    def __init__(self, coordinators: Sequence[Coordinator], leases: Callable[[], list[Path]]) -> None:
        """Do not begin yet."""
        self.gaps: list[float] = []
        """Seconds between two heartbeats of one holder."""
        self.most_memory = 0
        """Bytes: proportional set size of one job's coordinator and all of its children."""
        self._coordinators = coordinators
        self._leases = leases
        self._beats: dict[Path, _Heartbeat] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Vitals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        samples = 0
        while not self._stop.wait(_PAUSE):
            for path in self._leases():
                self._look_at(path)
            samples += 1
            if samples % _SAMPLES_BETWEEN_MEMORY == 0:
                self._weigh()

    def _look_at(self, path: Path) -> None:
        try:
            fields = json.loads(path.read_bytes())
            epoch, counter, pid = fields["epoch"], fields["counter"], fields["pid"]
        except (OSError, ValueError, KeyError):
            return
        now, last = time.monotonic(), self._beats.get(path)
        if pid == 0:  # released
            self._beats.pop(path, None)
        elif last is None or last.epoch != epoch:
            self._beats[path] = _Heartbeat(epoch, counter, now)
        elif last.counter != counter:
            self.gaps.append(now - last.seen_at)
            self._beats[path] = _Heartbeat(epoch, counter, now)

    def _weigh(self) -> None:
        for coordinator in self._coordinators:
            for pid in _job_coordinators(coordinator):
                total = sum(_proportional_size(each) for each in _with_descendants(pid))
                self.most_memory = max(self.most_memory, total)


def _job_coordinators(coordinator: Coordinator) -> Iterator[int]:
    """The processes that each run one job: ``coordinate`` starts them (api/jobprocess.py)."""
    process = coordinator._process
    if process is None or process.poll() is not None:
        return
    for pid in _with_descendants(process.pid):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"sshrender.api.jobworker" in words and not _has_such_parent(pid):
                yield pid


def _has_such_parent(pid: int) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return b"sshrender.api.jobworker" in Path(f"/proc/{int(fields[1])}/cmdline").read_bytes().split(
        b"\0"
    )


def _with_descendants(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _with_descendants(int(child))


def _proportional_size(pid: int) -> int:
    """Bytes; a page that several processes share counts in equal parts (proc(5), Pss)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
