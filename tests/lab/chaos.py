"""Random faults for coordinators and hosts, and a count of the renderers that each host runs."""

from __future__ import annotations

import heapq
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.lab.coordinators import Coordinator
from tests.lab.host import Host
from tests.lab.namespaces import pid_namespace


class _Renderer(NamedTuple):
    """A process; the kernel's time of its start tells it from a later one of the same pid."""

    pid: int
    parent: int
    started: str
    words: tuple[bytes, ...]


class Census:
    """Counts the renderers that live on each host at once, all the time, in a thread.

    Whatever a slot has started, one whose parent was killed too, and the canary page's; of Ghostscripts
    that only say their version there may be more. So may there be of those that make no page: one
    searches for the page of a diagnostic while the slot's own rests, and one shows each runner once what
    a PNG file begins with.
    """

    def __init__(self, hosts: Sequence[Host], slots: Mapping[str, int]) -> None:
        """*slots*: how many renderers each of these hosts may run. Does not begin yet."""
        self.most: Counter[str] = Counter()
        self.looks = 0
        self.crowds: list[str] = []
        """Those who were too many, for whoever looks for the cause."""
        self._hosts = hosts
        self._slots = slots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Census:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(0.1):
            found = self._look()
            again = (
                self._look() if any(len(found[name]) > self._slots[name] for name in found) else found
            )
            for name, renderers in found.items():
                # Who is there in both was there between them, and so were all the others of these.
                living = renderers & again.get(name, set())
                self.most[name] = max(self.most[name], len(living))
                if len(living) > self._slots[name]:
                    self.crowds.append(f"{time.strftime('%T')} {name}: {sorted(living)}")
            self.looks += 1

    def _look(self) -> dict[str, set[_Renderer]]:
        found: dict[str, set[_Renderer]] = {}
        for name, entry, words in _processes(self._hosts):
            makes_no_page = b"-sDEVICE=nullpage" in words or any(
                word.endswith(b"chunks.%d") for word in words
            )
            is_renderer = b"canary.pdf" in words or any(
                word.startswith(b"-sSSHRENDER=") for word in words
            )
            if is_renderer and not makes_no_page:
                with suppress(OSError):
                    found.setdefault(name, set()).add(_read(entry, words))
        return {name: _without_children(renderers) for name, renderers in found.items()}


def _processes(hosts: Sequence[Host]) -> Iterator[tuple[str, Path, list[bytes]]]:
    """What runs on these hosts: whose it is, its folder of /proc, its words."""
    names = {}
    for host in hosts:
        if host.is_on():
            with suppress(OSError):
                names[pid_namespace(host._init)] = host.name
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            name = names.get(str((entry / "ns" / "pid").readlink()))
            if name is not None:
                yield name, entry, words


def _read(entry: Path, words: list[bytes]) -> _Renderer:
    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return _Renderer(int(entry.name), int(fields[1]), fields[19], tuple(words[:3] + words[-3:]))


def _without_children(renderers: set[_Renderer]) -> set[_Renderer]:
    """A proxy is two for a moment, when it has forked and the other has not become gs yet."""
    pids = {each.pid for each in renderers}
    return {each for each in renderers if each.parent not in pids}


class Chaos:
    """Kills and crashes and cuts at random, and mends what it did some seconds later."""

    def __init__(self, seed: int, coordinators: Sequence[Coordinator], hosts: Sequence[Host]) -> None:
        """The seed decides what happens, though not what that meets."""
        self.done: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._coordinators = coordinators
        self._hosts = hosts
        self._broken: set[str] = set()
        self._repairs: list[tuple[float, int, str, Callable[[], None]]] = []

    def reign(self, seconds: float, most_between: float) -> None:
        """For so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._break_something()
            pause = min(self._rng.uniform(0.5, most_between), end - time.monotonic())
            until = time.monotonic() + pause
            while time.monotonic() < until:
                self._mend(time.monotonic())
                time.sleep(0.05)

    def end(self) -> None:
        """All is well again."""
        self._mend(float("inf"))

    def kill(self, victim: Coordinator) -> None:
        """This one, now; it is started again some seconds later."""
        victim.kill()
        self._note("killed", victim.name, self._rng.uniform(2.0, 8.0), victim.start)

    def _break_something(self) -> None:
        what = self._rng.choice((self._kill, self._kill, self._crash, self._cut, self._kill_runner))
        what()

    def _kill(self) -> None:
        living = [each for each in self._coordinators if each.is_alive()]
        if living:
            self.kill(self._rng.choice(living))

    def _crash(self) -> None:
        host = self._any_host()
        if host is not None:
            host.crash()
            self._note("crashed", host.name, self._rng.uniform(0.5, 8.0), host.start)

    def _cut(self) -> None:
        host = self._any_host()
        if host is not None:
            host.cut()
            # A runner gives up after 8 s of silence: some find out, others never do.
            self._note("cut off", host.name, self._rng.uniform(0.5, 14.0), host.heal)

    def _kill_runner(self) -> None:
        """As the kernel does that is out of memory: its renderers may outlive it for a moment."""
        runners = [
            int(entry.name)
            for _, entry, words in _processes(self._hosts)
            if b"sshrender-runner" in words
        ]
        if runners:
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(sorted(runners)), signal.SIGKILL)
            self.done["runners killed"] += 1

    def _any_host(self) -> Host | None:
        """One that is well; half of them always are."""
        well = [host for host in self._hosts if host.name not in self._broken]
        return self._rng.choice(well) if len(well) > len(self._hosts) // 2 else None

    def _note(self, what: str, name: str, seconds: float, mend: Callable[[], None]) -> None:
        self.done[what] += 1
        self._broken.add(name)
        heapq.heappush(self._repairs, (time.monotonic() + seconds, self.done.total(), name, mend))

    def _mend(self, now: float) -> None:
        while self._repairs and self._repairs[0][0] <= now:
            _, _, name, mend = heapq.heappop(self._repairs)
            self._broken.discard(name)
            mend()
