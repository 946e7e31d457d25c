"""Three coordinators, six hosts, twelve jobs; somebody kills and cuts at random, and all ends well."""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from sshrender.job import attributes, history, report
from sshrender.job.folder import JobFolder
from sshrender.job.journal import read_journal
from sshrender.job.publish import page_name
from sshrender.job.spec import load_spec
from tests import pdfs
from tests.lab.coordinators import Coordinator, Machine, submitted, wait_until
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.namespaces import pid_namespace
from tests.lab.plugin import FarmFactory
from tests.lab.slow import slow_down

SLOTS = {"node1": 2, "node2": 2, "node3": 2, "node4": 1, "node5": 1, "node6": 1}
PAGE_SECONDS = {"node1": 0.3, "node2": 0.5, "node3": 0.7, "node4": 0.3, "node5": 0.6, "node6": 1.0}
COORDINATORS = ("one", "two", "three")
LONG = float(os.environ.get("SSHRENDER_CHAOS_SECONDS", "600"))
SEED = int(os.environ.get("SSHRENDER_CHAOS_SEED", "20"))
AFTERWARDS = 300.0
"""Seconds in which all ends once everything is healed: what is tried again pauses for up to a minute."""

Entry = dict[str, Any]


# -- renderers ---------------------------------------------------------------------------------


class _Renderer(NamedTuple):
    """A process; the kernel's time of its start tells it from a later one of the same pid."""

    pid: int
    parent: int
    started: str
    words: tuple[bytes, ...]


class Census:
    """Counts the renderers that live on each host at once, all the time, in a thread.

    Whatever a slot has started, one whose parent was killed too, and the canary page's; of Ghostscripts
    that only say their version there may be more.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        """Does not begin yet."""
        self.most: Counter[str] = Counter()
        self.looks = 0
        self.crowds: list[str] = []
        """Those who were too many, for whoever looks for the cause."""
        self._hosts = hosts
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
            again = self._look() if any(len(found[name]) > SLOTS[name] for name in found) else found
            for name, renderers in found.items():
                # Who is there in both was there between them, and so were all the others of these.
                living = renderers & again.get(name, set())
                self.most[name] = max(self.most[name], len(living))
                if len(living) > SLOTS[name]:
                    self.crowds.append(f"{time.strftime('%T')} {name}: {sorted(living)}")
            self.looks += 1

    def _look(self) -> dict[str, set[_Renderer]]:
        found: dict[str, set[_Renderer]] = {}
        for name, entry, words in _processes(self._hosts):
            if any(word.startswith(b"-sSSHRENDER=") or word == b"canary.pdf" for word in words):
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


# -- chaos -------------------------------------------------------------------------------------


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


# -- jobs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One of the twelve, as its folder on the SAN tells it."""

    folder: JobFolder
    entries: list[Entry]
    status: dict[str, Any]

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind."""
        return [entry for entry in self.entries if entry["type"] == kind]

    def row(self) -> str:
        """Its line in the table."""
        runs = self.of("run_started")
        begun = datetime.fromisoformat(runs[0]["time"])
        seconds = (datetime.fromisoformat(self.entries[-1]["time"]) - begun).total_seconds()
        who = " ".join(run["coordinator"].partition(" ")[0] for run in runs)
        failed = len(self.of("attempt_failed")) + len(self.of("page_returned"))
        pages = self.status["pages"]["total"]
        return f"{self.folder.name:14} {pages:5} {failed:7} {len(runs):5} {seconds:8.1f}  {who}"


class Office:
    """Where the jobs are submitted and asked for; it coordinates none."""

    def __init__(self, farm: Farm, hosts: Path, pages: int) -> None:
        """*pages*: of each document, or some more."""
        self.machine = Machine(farm, "office", hosts)
        self._farm = farm
        folder = farm.root / "documents"
        folder.mkdir()
        self._documents = [
            str(pdfs.write(folder / f"d{n:02}.pdf", pdfs.numbered(pages + n, width=200 + n)))
            for n in range(12)
        ]
        self.names: list[str] = []
        self.held = ""

    def submit_most(self) -> None:
        """Seven plain ones, and three that are urgent."""
        documents = self._documents
        self.names += self._submit(*documents[:7])
        self.names += self._submit(*documents[7:10], "--priority", "5")

    def submit_the_others(self) -> None:
        """One that comes after another, and one that is held."""
        documents = self._documents
        self.names += self._submit(documents[10], "--after", self.names[8])
        self.names += self._submit(documents[11], "--hold")
        self.held = self.names[-1]
        assert len(set(self.names)) == 12

    def _submit(self, *words: str) -> list[str]:
        # A folder for each: of one document alone, -o is the folder of its pages itself.
        names = [Path(word).stem for word in words if word.endswith(".pdf")]
        output = "/mnt/san/out" if len(names) > 1 else f"/mnt/san/out/{names[0]}-pages"
        return submitted(self.machine.say("submit", *words, "-r", "30", "-o", output))

    def release(self) -> None:
        """The one that is held may go on."""
        said = self.machine.say("release", self.held)
        assert said.returncode == 0, said.stderr

    def unfinished(self) -> list[str]:
        """The jobs that have not come to an end."""
        return [name for name in self.names if not attributes.load(self.folder(name)).over]

    def who_has_begun(self) -> str:
        """The machine that coordinates the first job of which a page is there; empty: there is none."""
        for name in self.names:
            entries = list(read_journal(self.folder(name).journal))
            if any(entry["type"] == "page_delivered" for entry in entries):
                return str(entries[0]["coordinator"]).partition(" ")[0]
        return ""

    def folder(self, name: str) -> JobFolder:
        """Of a job."""
        return JobFolder(self._farm.san / name)

    def jobs(self) -> list[Job]:
        """What has become of them."""
        said = self.machine.say("status", "--json")
        assert said.returncode == 0, said.stderr
        told = {status["job"]: status for status in json.loads(said.stdout)["jobs"]}
        assert sorted(told) == sorted(self.names)
        return [
            Job(self.folder(name), list(read_journal(self.folder(name).journal)), told[name])
            for name in self.names
        ]


# -- what is to be true afterwards -----------------------------------------------------------------


def _check(job: Job, farm: Farm) -> None:
    assert job.status["state"] == "done", job.status
    total = job.status["pages"]["total"]
    assert job.status["pages"] == {
        "total": total,
        "done": total,
        "suspect": 0,
        "failed": 0,
        "missing": 0,
    }
    names = [page_name(page, total, "png") for page in range(1, total + 1)]
    digests = _check_pages(job, names)
    _check_output(farm.san / Path(job.status["output"]).relative_to(farm.san_inside), digests)
    _check_epochs(job)
    _check_replay(job)


def _check_pages(job: Job, names: list[str]) -> dict[str, str]:
    """Each proved page is whole, and what the journal says of it: the digests of their files."""
    digests = {path.name: _digest(path) for path in job.folder.pages.iterdir()}
    assert sorted(digests) == names
    for name in names:
        with Image.open(job.folder.pages / name) as picture:
            picture.load()
    told = job.of("page_delivered")
    assert sorted({entry["file"] for entry in told}) == names
    for entry in told:
        assert entry["sha256"] == digests[entry["file"]], entry
    assert max(Counter(entry["page"] for entry in told).values()) == 1, "a page was delivered twice"
    return digests


def _check_output(output: Path, digests: dict[str, str]) -> None:
    found = {path.name: _digest(path) for path in output.iterdir() if not path.name.startswith(".")}
    assert found == digests


def _check_epochs(job: Job) -> None:
    """An epoch is one coordinator's, and so are the attempts that are named after it."""
    epochs = [run["epoch"] for run in job.of("run_started")]
    assert len(set(epochs)) == len(epochs), [run["coordinator"] for run in job.of("run_started")]
    assert epochs == sorted(epochs)
    attempts = [entry["attempt"] for entry in job.of("page_sent")]
    assert len(set(attempts)) == len(attempts)
    current = 0
    for entry in job.entries:
        current = entry["epoch"] if entry["type"] == "run_started" else current
        if entry["type"] == "page_sent":
            assert entry["attempt"].startswith(f"{current}."), "a coordinator that was fenced off wrote"


def _check_replay(job: Job) -> None:
    """The journal tells the same each time, and what ``status`` tells."""
    spec = load_spec(job.folder)
    assert spec is not None
    first, again = (
        report.of(job.folder, spec, list(read_journal(job.folder.journal)), None, found)
        for found in (attributes.load(job.folder), attributes.load(job.folder))
    )
    assert first.as_json() == again.as_json()
    assert (first.state, first.pages) == (job.status["state"], job.status["pages"])
    pages = history.fold(job.entries).pages
    assert sorted(pages) == list(range(1, spec.document.pages + 1))
    assert pages == history.fold(job.entries).pages


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- the tests -------------------------------------------------------------------------------------


def _ordeal(farm: Farm, seconds: float, pages: int, most_between: float) -> None:
    for host in farm.hosts:
        slow_down(host, PAGE_SECONDS[host.name])
    hosts = farm.write_inventory(extra={name: {"slots": slots} for name, slots in SLOTS.items()})
    office = Office(farm, hosts, pages)
    office.submit_most()
    began = time.monotonic()
    with ExitStack() as machines, Census(farm.hosts) as census:
        coordinators = {
            name: Coordinator(farm, name, hosts, "coordinate", "--jobs", "2") for name in COORDINATORS
        }
        for each in coordinators.values():
            machines.callback(each.kill)
            each.start()
        office.submit_the_others()
        chaos = Chaos(SEED, list(coordinators.values()), farm.hosts)
        wait_until(office.who_has_begun, AFTERWARDS, *coordinators.values())
        chaos.kill(coordinators[office.who_has_begun()])  # so that a job is taken over for sure
        chaos.reign(seconds / 2, most_between)
        office.release()
        chaos.reign(seconds / 2, most_between)
        chaos.end()
        healed, left = time.monotonic(), len(office.unfinished())
        patience = AFTERWARDS + seconds  # what is left may be most of it, on a machine that is slow
        wait_until(lambda: not office.unfinished(), patience, *coordinators.values(), pause=0.5)
        ended = time.monotonic()
        jobs = office.jobs()
        said = "\n".join(each.said() for each in coordinators.values())
    _print(jobs, chaos.done, census)
    print(f"{ended - began:.0f} s, {ended - healed:.0f} s of them at peace, for {left} of the jobs")
    assert "Traceback" not in said, said
    for job in jobs:
        _check(job, farm)
    assert {name: most for name, most in census.most.items() if most > SLOTS[name]} == {}
    assert max(census.most.values()) == max(SLOTS.values()), "the census has missed the renderers"
    assert sum(len(job.of("run_started")) for job in jobs) > len(jobs), "no job was taken over"


def _print(jobs: Sequence[Job], done: Counter[str], census: Census) -> None:
    runs = sum(len(job.of("run_started")) for job in jobs)
    told = ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
    most = ", ".join(f"{name} {census.most[name]} of {slots}" for name, slots in SLOTS.items())
    print(f"\n{'job':14} {'pages':>5} {'in vain':>7} {'runs':>5} {'seconds':>8}  coordinators")
    for job in jobs:
        print(job.row())
    print(f"{told}; {runs - len(jobs)} take-overs")
    print(f"renderers at once, in {census.looks} looks: {most}")
    print("\n".join(census.crowds[:20]))


@pytest.mark.timeout(600)
def test_a_little_chaos_spoils_nothing(farm_factory: FarmFactory) -> None:
    _ordeal(farm_factory(6), seconds=30.0, pages=12, most_between=4.0)


@pytest.mark.matrix
@pytest.mark.timeout(2 * LONG + AFTERWARDS + 300)
def test_ten_minutes_of_chaos_spoil_nothing(farm_factory: FarmFactory) -> None:
    _ordeal(farm_factory(6), seconds=LONG, pages=int(LONG / 2), most_between=8.0)
