"""What bounds pilots: no loop of submissions, no query too many, nothing left after a lost answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sshrender.config.units import parse_walltime
from sshrender.coordinator.pilots import poolmanager as pm
from sshrender.coordinator.pilots.pilothosts import IDLE_TIMEOUT, Pilots
from sshrender.coordinator.pilots.pool import DELAYS, Backoff, Demand, PoolReport, PoolSetup
from sshrender.coordinator.pilots.poolmessages import EntryRequested, PilotEnded, PilotRetiring
from sshrender.core import events as ev
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.job.journal import journalentries as je
from sshrender.runner import pilotlines
from sshrender.runner.host import earlierrunners
from sshrender.transports.batch.arrayfolder import ArrayFolder, PilotNote
from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayRequest,
    Command,
    EngineUnavailable,
)
from sshrender.transports.batch.engines.names import engine
from sshrender.transports.batch.filelink import FileLink, FileTransport
from sshrender.transports.batch.pipelink import PipeTransport
from sshrender.transports.interface import ConnectFailed, RunnerSpec
from tests.stretch import stretched, wait_until

KEY = b"k" * 32


class Pool:
    """A manager whose journal writes at once. ``answers`` by the command's first word."""

    def __init__(self, folder: Path, name: str = "slurm", known: Any = (), **answers: Any) -> None:
        self.answers = answers
        self.called: list[str] = []
        self.posted: list[Any] = []
        self.batch = folder / "batch"
        self.batch.mkdir()
        setup = PoolSetup("cluster", engine(name), self._call, pilots=4, cores=1, walltime=600, san="/s")
        self.manager = pm.PoolManager(setup, self.batch, KEY, 1, self._post, known)
        self.manager.need(Demand(100))

    def _call(self, command: Command) -> Answer:
        word = command.words[0]
        self.called.append(" ".join(command.words[:2]))
        answer = self.answers.get(word, Answer(0, "7"))
        if callable(answer):
            answer = answer(command)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Answer)
        return answer

    def _post(self, item: Any) -> None:
        self.posted.append(item)
        if isinstance(item, EntryRequested):
            item.written.set()

    def calls(self, word: str) -> int:
        return sum(each.split()[0] == word for each in self.called)

    def run(self, seconds: int, step: int = 5) -> None:
        """Let time pass on a clock of our own."""
        for second in range(0, seconds, step):
            now = float(second)
            self.manager._take_from_threads(now)
            if now >= self.manager._queries.due:
                self.manager._query(now)
            self.manager._resize(now)

    def take(self, kind: str, index: int = 0, token: str = "t") -> None:
        array = self.manager._arrays[-1]
        self.manager._take(array, PilotNote(index, token, kind, node="n1", left=600.0))


def _torque(name: str, *states: str) -> Answer:
    rows = "".join(
        f"<Job><Job_Id>7[{n}].desk</Job_Id><Job_Name>{name}-{n}</Job_Name><job_state>{state}</job_state>"
        "</Job>"
        for n, state in enumerate(states)
    )
    return Answer(0, f"<Data>{rows}</Data>")


def test_pilots_that_fail_together_are_one_pause() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.note_silent(0.0)
    assert not backoff.may_submit(DELAYS[2] - 1)
    assert backoff.may_submit(DELAYS[2])
    backoff.note_silent(DELAYS[2])
    assert not backoff.may_submit(DELAYS[2] + DELAYS[3] - 1)


def test_what_an_earlier_coordinator_has_cancelled_or_never_submitted_is_no_failure(
    tmp_path: Path,
) -> None:
    """It may have been killed between the name in the journal and the submission."""
    known = [
        je.PilotsRequested(pool="cluster", name="ssr-00000001", count=4, first=0),
        je.PilotsRequested(pool="cluster", name="ssr-00000002", count=4, first=0, array="5"),
    ]
    pool = Pool(tmp_path, known=known, squeue=Answer(0, ""))
    pool.run(121, step=1)
    manager = pool.manager
    assert pool.calls("squeue") == 3
    assert all(array.is_over for array in manager._arrays[:2])
    assert (manager._backoff.silent, manager._backoff.refused) == (0, 0)
    assert pool.calls("sbatch") == 1
    ended = [item.entry for item in pool.posted if isinstance(item, EntryRequested)]
    assert sum(isinstance(entry, je.PilotsEnded) for entry in ended) == 2


def test_pilots_that_an_earlier_coordinator_has_held_are_released(tmp_path: Path) -> None:
    known = [je.PilotsRequested(pool="cluster", name="ssr-00000001", count=4, first=0, array="7")]
    rows = "\n".join(f"7|{n}|PENDING||N/A|ssr-00000001|JobHeldUser" for n in range(4))
    pool = Pool(tmp_path, known=known, squeue=Answer(0, rows), scontrol=Answer(0))
    pool.manager._query(0.0)
    pool.manager._resize(0.0)
    pool.manager._query(60.0)
    assert pool.called == ["squeue --me", "scontrol release", "squeue --me"]


def test_an_array_that_the_engine_never_got_counts_as_refused(tmp_path: Path) -> None:
    pool = Pool(tmp_path, sbatch=EngineUnavailable("timeout"), squeue=Answer(0, ""))
    pool.run(240)
    assert pool.manager._backoff.silent == 0
    assert pool.calls("sbatch") >= 2
    pool.run(36_000)
    assert pool.calls("sbatch") <= 20


def test_an_array_whose_answer_was_lost_is_found_by_name_and_cancelled_at_the_end(
    tmp_path: Path,
) -> None:
    pool = Pool(tmp_path, "torque", qsub=EngineUnavailable("timeout"), qdel=Answer(0))
    pool.manager._resize(0.0)
    array = pool.manager._arrays[0]
    pool.answers["qstat"] = _torque(array.handle.name, "Q", "Q", "Q", "Q")
    assert [entry.type for entry in pool.manager.finish(5.0)] == ["pilots_ended"]
    assert pool.called == ["qsub -N", "qstat -x", "qdel 7[].desk"]
    assert not list(pool.batch.iterdir())


def test_an_end_asks_for_lost_ids_once(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "torque", qsub=EngineUnavailable("timeout"), qstat=Answer(0, "<Data/>"))
    for second in (0.0, 100.0):
        pool.manager._resize(second)
        pool.manager._max_size = 1
        for pilot in pool.manager._arrays[0].pilots.values():
            pilot.end()
    assert pool.manager.finish(5.0) == []
    assert pool.calls("qstat") == 1
    # Their entries stay open for another coordinator, which finds them if they are there.
    assert {path.read_text() for path in pool.batch.glob("*/state")} == {"over\n"}


def test_a_part_of_an_array_is_not_cancelled_by_the_name_of_all(tmp_path: Path) -> None:
    pool = Pool(tmp_path, sbatch=EngineUnavailable("timeout"))
    pool.manager._resize(0.0)
    pool.take("started")
    pool.manager.need(Demand(2))
    pool.manager._resize(1.0)
    assert pool.called == ["sbatch --parsable"]
    name = pool.manager._arrays[0].handle.name
    rows = "\n".join(f"7|{n}|{'PENDING' if n else 'RUNNING'}||N/A|{name}|None" for n in range(4))
    pool.answers["squeue"] = Answer(0, rows)
    pool.manager._query(60.0)
    pool.manager._resize(61.0)
    assert pool.called[-1] == "scancel 7_[2-3]"


def test_cancellations_that_fail_are_tried_again_more_and_more_rarely(tmp_path: Path) -> None:
    pool = Pool(tmp_path, scancel=EngineUnavailable("timeout"), squeue=EngineUnavailable("timeout"))
    pool.manager._resize(0.0)
    pool.manager.need(Demand(0))
    pool.run(36_000)
    assert 5 <= pool.calls("scancel") <= 80


def test_what_pilots_report_is_read_while_a_command_of_the_engine_hangs(tmp_path: Path) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def squeue(_command: Command) -> Answer:
        hangs.set()
        assert goes_on.wait(60)
        return Answer(0, "")

    pool = Pool(tmp_path, squeue=squeue)
    pool.manager._resize(0.0)
    array = pool.manager._arrays[0]
    pool.manager._queries.due = 0.0
    pool.manager.start()
    try:
        assert hangs.wait(30)
        writer = pilotlines.LineWriter(str(array.folder.path / "0.pilot"), array.folder.key)
        writer.append(b'{"type": "started", "token": "t", "node": "n1", "left": 600}')
        wait_until(lambda: any(isinstance(item, pm.PilotStarted) for item in pool.posted), 30)
    finally:
        goes_on.set()
        pool.manager.finish(10.0)
    # The query had begun before that pilot reported: it says nothing of it.
    assert array.pilots[0].is_live


def test_a_pilot_that_left_without_a_word_is_replaced(tmp_path: Path) -> None:
    """It was told to leave, and the engine killed it before it could report its end."""
    pool = Pool(tmp_path)
    pool.manager.need(Demand(1))
    pool.manager._resize(0.0)
    pool.take("started")
    pool.manager.dismiss("slurm:7_0")
    pool.manager._resize(10.0)
    pool.manager._resize(39.0)
    assert pool.calls("sbatch") == 1
    pool.manager._resize(40.0)
    assert pool.calls("sbatch") == 2


def test_a_full_disk_gets_no_folder_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrayFolder, "_write_state", full)
    pool = Pool(tmp_path)
    with pytest.raises(OSError, match="No space"):
        pool.manager._resize(0.0)
    assert not list(pool.batch.iterdir())
    assert (pool.posted, pool.called) == ([], [])


def test_a_refused_array_leaves_no_folder(tmp_path: Path) -> None:
    pool = Pool(tmp_path, sbatch=Answer(1, "", "sbatch: error: Invalid partition"))
    pool.manager._resize(0.0)
    assert not list(pool.batch.iterdir())


class Run:
    """The pilots of a pool, of which each that starts is a host of a scheduler."""

    def __init__(self, folder: Path, pages: int = 4, hosts: int = 0, **fields: Any) -> None:
        drained = fields.pop("drained", None)
        self.now = 0.0
        self.pool = Pool(folder)
        self.pilots = Pilots([self.pool.manager], drained=drained)
        plans = [HostPlan(f"ssh{number}", 1) for number in range(hosts)]
        start = RunStart(pins=fields.pop("pins", ()))
        self.scheduler = Scheduler(Policy(**fields), plans, range(1, pages + 1), start)
        self.scheduler.apply(ev.HostsExpected(4), now=self.now)
        self.scheduler.start(self.now)
        self.connect(*(plan.name for plan in plans))

    def connect(self, *hosts: str) -> None:
        self.handle(*(ev.HostConnected(host, 1, 0.0, 0.0) for host in hosts))

    def handle(self, *events: ev.Event) -> None:
        self.scheduler.handle(*events, now=self.now)

    def start(self, index: int = 0, token: str = "t") -> list[ev.Event]:
        """Let a pilot of the newest array start."""
        self.pool.take("started", index, token)
        _, events = self.pilots.on_started(self.pool.posted[-1])
        self.handle(*events)
        return events

    def update(self, seconds: float = 1.0) -> list[ev.Event]:
        self.now += seconds
        events = self.pilots.update(self.scheduler, self.now)
        self.handle(*events)
        return events

    @property
    def pages(self) -> int:
        """For how many pages the pool is to have slots."""
        return self.pool.manager._demand.pages


def test_pages_in_work_elsewhere_need_no_pilot(tmp_path: Path) -> None:
    """A pilot that has left because no page was left would be replaced, again and again."""
    run = Run(tmp_path, pages=1, hosts=1)
    run.update()
    assert run.scheduler.hosts["ssh0"].in_flight
    assert run.pages == 0
    # A pilot may come all the same if that host fails: the run does not end with it.
    run.pool.manager._show(run.now)
    assert run.pool.posted[-1].expected == 1
    run.handle(ev.HostLost("ssh0", "it is off"))
    run.update()
    assert run.pages == 1


def test_pages_that_are_pinned_to_a_host_need_no_pilot(tmp_path: Path) -> None:
    run = Run(tmp_path, pages=3, hosts=1, pins=[(2, frozenset({"ssh0"})), (3, frozenset({"ssh0"}))])
    run.handle(ev.HostLost("ssh0", "it is off"))
    run.update()
    assert run.pages == 1


def test_a_limit_of_the_job_limits_its_pilots(tmp_path: Path) -> None:
    run = Run(tmp_path, pages=50, limit=2)
    run.update()
    assert run.pages == 2
    with_host = tmp_path / "other"
    with_host.mkdir()
    run = Run(with_host, pages=50, hosts=1, limit=1)
    run.update()
    assert run.pages == 0


def test_a_node_that_was_drained_before_the_run_gets_no_page(tmp_path: Path) -> None:
    run = Run(tmp_path, drained={"n1": ev.DrainRequested("n1", "ann", "a new disk")})
    run.pool.manager._resize(0.0)
    events = run.start()
    assert ev.DrainRequested("slurm:7_0", "ann", "a new disk") in events
    run.connect("slurm:7_0")
    run.update()
    assert run.pool.manager._demand.avoid == ("n1",)
    (removed,) = run.update(IDLE_TIMEOUT)
    assert removed == ev.HostRemoved("slurm:7_0", "it is drained")


def test_pilots_that_exclude_a_node_are_replaced_when_it_is_put_back_into_use(tmp_path: Path) -> None:
    """It may be the only free node: they would wait for another one for ever."""
    requests: list[Command] = []

    def submit(command: Command) -> Answer:
        requests.append(command)
        return Answer(0, str(7 + len(requests)))

    run = Run(tmp_path, pages=100, drained={"n1": ev.DrainRequested("n1", "ann", "a new disk")})
    run.pool.answers["sbatch"] = submit
    manager = run.pool.manager
    manager._resize(0.0)
    run.start()
    manager.give_up("slurm:8_0")
    run.update()
    manager._resize(1.0)
    assert "--exclude=n1" in requests[-1].words
    before = len(requests)
    for now in (2.0, 3.0):
        manager._resize(now)
        assert len(requests) == before, "they were replaced although the node is still drained"
    run.pilots.on_drain(ev.UndrainRequested("n1", "ann"))
    run.update()
    manager._resize(4.0)
    assert [call.split()[0] for call in run.pool.called[-2:]] == ["scancel", "sbatch"]
    assert not any(word.startswith("--exclude") for word in requests[-1].words)
    waiting = [array.avoid for array in manager._arrays if array.waiting()]
    assert ("n1",) not in waiting


def test_pilots_that_leave_before_they_are_used_pause_the_pool(tmp_path: Path) -> None:
    """Where an engine cannot keep off a drained node, the next pilot would start there again."""
    run = Run(tmp_path, pages=1, drained={"n1": ev.DrainRequested("n1", "ann", "")})
    manager = run.pool.manager
    run.update()
    for number in range(300):
        manager._take_from_threads(run.now)
        manager._resize(run.now)
        if any(pilot.is_waiting for array in manager._arrays for pilot in array.pilots.values()):
            run.start(token=str(number))
            host = run.pool.posted[-1].host
            run.connect(host)
            run.update()
            run.update(IDLE_TIMEOUT)
            run.pool.take("ended", token=str(number))
    assert run.pool.calls("sbatch") == 3
    manager._show(run.now)
    report = run.pool.posted[-1]
    assert isinstance(report, PoolReport)
    assert (report.expected, report.reason) == (0, "its pilots cannot be used: n1: it is drained")


def test_one_good_pilot_does_not_hide_bad_nodes(tmp_path: Path) -> None:
    run = Run(tmp_path, pages=100)
    manager = run.pool.manager
    run.update()
    manager._resize(0.0)
    run.start(0)
    run.connect("slurm:7_0")
    for index in (1, 2, 3):
        run.update()
        run.start(index)
        run.handle(ev.HostRefused(f"slurm:7_{index}", "no renderer", "no gs"))
    run.update()
    manager._take_from_threads(run.now)
    assert manager._backoff.useless == 3
    assert not manager._backoff.may_submit(run.now + 60)


def test_a_pilot_that_retires_is_not_given_back_to_use(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.pool.manager._resize(0.0)
    run.start(0)
    run.start(1)
    run.pilots.on_retiring(PilotRetiring("slurm:7_0", "its walltime ends soon"))
    events = run.pilots.on_drain(ev.UndrainRequested("n1", "ann"))
    assert [event.host for event in events] == ["n1", "slurm:7_1"]  # type: ignore[union-attr]
    assert run.pilots.on_drain(ev.UndrainRequested("slurm:7_0", "ann")) == []


def test_an_allocation_that_ends_at_once_is_noted_and_one_that_worked_is_not(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.pool.manager._resize(0.0)
    for index in (0, 1):
        run.start(index)
    run.connect("slurm:7_0")
    run.update()
    for index in (0, 1):
        run.pilots.on_ended(PilotEnded(f"slurm:7_{index}", "the batch system ended it"))
    assert list(run.pool.manager._useless) == ["n1: the batch system ended it"]


def test_a_missing_command_of_the_pipe_leads_to_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "ssr-1"
    ArrayFolder(folder, KEY).create([0], 1)
    spec = RunnerSpec("python3", "label", "marker", 30.0)
    for falls_back in (True, False):
        files = FileTransport(folder, 0, KEY, 1 + falls_back)
        pipe = PipeTransport(files, lambda words: ["/nowhere/srun"], {}, falls_back=falls_back)
        if falls_back:
            assert isinstance(pipe.connect(spec, 5.0), FileLink)
        else:
            with pytest.raises(ConnectFailed, match="cannot start /nowhere/srun"):
                pipe.connect(spec, 5.0)


def test_htcondor_keeps_the_requirements_of_the_pool_when_nodes_are_avoided() -> None:
    options = ('requirements = (OpSys == "LINUX")', "rank = Memory")
    request = ArrayRequest("ssr-1", 2, 1, 600.0, options=options, avoid=("node7",))
    lines = engine("htcondor").submit(request).stdin.splitlines()
    assert [line for line in lines if line.startswith("requirements")][-1] == (
        'requirements = ((OpSys == "LINUX")) && (Machine != "node7" && !regexp("^node7[.]", Machine))'
    )
    assert lines[-1] == "queue 2"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), (7200, 7200), ("2:00:00", 7200), ("02:00:00", 7200), ("1-12:00:00", 129_600)],
)
def test_a_walltime_is_written_as_anywhere_here_or_as_batch_systems_do(
    text: object, seconds: float
) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", ["2:00", "1:99:00", "1-2", "UNLIMITED", "-1:00:00", "2:00:00:00"])
def test_a_walltime_that_may_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2:00:00"):
        parse_walltime(text)


def test_pilots_that_say_nothing_tell_what_their_nodes_may_lack(tmp_path: Path) -> None:
    pool = Pool(tmp_path, squeue=Answer(0, ""))
    pool.run(90)
    pool.manager._show(90.0)
    report = pool.posted[-1]
    assert report.reason == (
        "a pilot left the queue before it reported: its node may lack /s or python3"
    )
    assert report.expected == 0


def test_a_runner_ends_earlier_ones_of_its_allocation_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(token: str, *words: str) -> subprocess.Popen[bytes]:
        code = "import sys; print(flush=True); sys.stdin.read()"
        process = subprocess.Popen(
            [sys.executable, "-ISc", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"SSHRENDER_ALLOCATION": token},
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    token = f"a{os.getpid()}"
    earlier = start(token, "sshrender-runner", "node1")
    others = [start(token, "a guardian"), start(f"{token}0", "sshrender-runner", "node1")]
    monkeypatch.setenv("SSHRENDER_ALLOCATION", token)
    earlierrunners.end_others()
    assert earlier.wait(stretched(30)) == -signal.SIGINT
    for process in others:
        assert process.poll() is None
        process.communicate()
        assert process.returncode == 0
