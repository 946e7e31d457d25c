"""Pilots in parts: lines in files, holders and tombstones, how many to submit and when to stop."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.api.poolaccess import pool_setup
from sshrender.config import inventory
from sshrender.config.settings import Settings
from sshrender.coordinator.pilots import poolmanager as pm
from sshrender.coordinator.pilots.pool import (
    MAX_REFUSED,
    Backoff,
    Demand,
    PoolSetup,
    shares,
    to_submit,
    wanted,
)
from sshrender.coordinator.pilots.poolmessages import EntryRequested
from sshrender.errors import UserError
from sshrender.job.folder import JobFolder
from sshrender.runner import allocationfacts, allocationholder, pilotlines
from sshrender.transports.batch import enginecalls, filelink, script
from sshrender.transports.batch.arrayfolder import ArrayFolder, PilotNote
from sshrender.transports.batch.engines.interface import (
    Answer,
    Command,
    EngineUnavailable,
    SubmissionRefused,
)
from sshrender.transports.batch.engines.names import engine
from sshrender.transports.batch.filelink import FileTransport
from tests.stretch import stretched, wait_until

KEY = b"k" * 32


def _lines(path: Path, *contents: bytes) -> Path:
    path.touch()
    writer = pilotlines.LineWriter(str(path), KEY)
    for content in contents:
        writer.append(content)
    return path


@given(contents=st.lists(st.binary(max_size=50), max_size=8), cut=st.integers(0, 400))
def test_half_lines_are_read_when_they_are_whole(
    contents: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    whole = _lines(folder / "0.up", *contents).read_bytes()
    path = folder / "late" / "0.up"
    path.parent.mkdir()
    path.write_bytes(whole[:cut])
    reader = pilotlines.LineReader(str(path), KEY)
    first = reader.read_new()
    path.write_bytes(whole)
    assert first + reader.read_new() == contents
    assert reader.read_new() == []


@given(place=st.integers(0, 200), bit=st.integers(0, 7))
def test_a_line_that_was_changed_moved_or_repeated_is_refused(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    path = _lines(folder / "0.up", b"one", b"two")
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    read: list[bytes] = []
    with contextlib.suppress(pilotlines.BadLine):
        read = pilotlines.LineReader(str(path), KEY).read_new()
    assert read in ([], [b"one"])  # never a line that nobody wrote
    lines = _lines(folder / "1.up", b"one", b"two").read_bytes().splitlines(keepends=True)
    (folder / "1.up").write_bytes(lines[0] + lines[0])
    assert _first_of(folder / "1.up") == [b"one"]
    (folder / "2.up").write_bytes(lines[0])  # a line of another file
    assert _first_of(folder / "2.up") == []


def _first_of(path: Path) -> list[bytes]:
    try:
        return pilotlines.LineReader(str(path), KEY).read_new()
    except pilotlines.BadLine:
        return []


def test_a_line_that_a_full_disk_cut_off_is_written_again_as_a_whole(tmp_path: Path) -> None:
    path = _lines(tmp_path / "0.up", b"one")
    with path.open("ab") as file:
        file.write(b"1 dHdv 00")  # half of a MAC
    with path.open("ab") as file:
        file.write(b"\n")
    pilotlines.LineWriter(str(path), KEY, 1).append(b"two")
    assert pilotlines.LineReader(str(path), KEY).read_new() == [b"one", b"two"]


def _hold(array: ArrayFolder, walltime: float = 600.0, **environ: str) -> subprocess.Popen[bytes]:
    text = script.build(sys.executable, str(array.path), KEY, walltime, {"LANG": "C"})
    job = subprocess.Popen(
        ["/bin/sh", "-s"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], **environ},
    )
    assert job.stdin is not None
    job.stdin.write(text.encode())
    job.stdin.close()
    return job


def _notes(array: ArrayFolder, index: int, count: int) -> list[PilotNote]:
    found: list[PilotNote] = []

    def are_there() -> bool:
        found.extend(array.notes([index]))
        return len(found) >= count

    wait_until(are_there, 60, lambda: found, pause=0.05)
    return found


def test_a_pilot_that_starts_late_finds_the_tombstone_and_exits_with_0(tmp_path: Path) -> None:
    array = ArrayFolder(tmp_path / "batch" / "ssr-1", KEY)
    array.create([0], epoch=1)
    array.bury()
    assert _hold(array).wait(stretched(60)) == 0
    assert list(array.notes([0])) == []
    gone = ArrayFolder(tmp_path / "batch" / "ssr-2", KEY)
    assert _hold(gone).wait(stretched(60)) == 0


def test_what_a_host_lays_into_the_folder_of_an_array_leads_nowhere(tmp_path: Path) -> None:
    """In the layout with one user, a host can put links and FIFOs there."""
    ours = tmp_path / "bashrc"
    ours.write_text("ours")
    job = JobFolder(tmp_path / "job")
    job.create()
    array = ArrayFolder(job.path / "batch" / "ssr-1", KEY)
    array.create([0, 1], epoch=1)
    (array.path / f".state.{os.getpid()}").symlink_to(ours)
    array.bury()
    assert ours.read_text() == "ours"
    assert (array.path / "state").read_text() != "open\n"
    notes = pilotlines.LineWriter(str(array.path / "1.pilot"), KEY)
    notes.append(b'{"type": "started"}')
    (array.path / "0.pilot").unlink()
    os.mkfifo(array.path / "0.pilot")
    # A FIFO is opened without waiting for its other end, and the other pilots are heard.
    assert [note.index for note in array.notes([0, 1])] == [1]
    with pytest.raises(OSError, match="No such device"):
        pilotlines.LineWriter(str(array.path / "0.pilot"), KEY).append(b"x")
    (job.path / "batch").rename(tmp_path / "elsewhere")
    (job.path / "batch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        job.require_workspaces()


def test_a_pilot_says_what_it_has_and_that_it_retires_before_its_walltime(tmp_path: Path) -> None:
    array = ArrayFolder(tmp_path / "batch" / "ssr-1", KEY)
    array.create([7], epoch=1)
    # The options of the pool have made its own walltime shorter.
    job = _hold(array, walltime=600.0, PBS_WALLTIME="50", PBS_ARRAYID="7", PBS_NUM_PPN="3")
    started, retiring = _notes(array, 7, 2)
    assert (started.kind, started.cores, started.node) == ("started", 3, os.uname().nodename)
    assert (retiring.kind, retiring.reason) == ("retiring", "its walltime ends soon")
    assert retiring.token == started.token
    array.bury()
    assert job.wait(stretched(60)) == 0
    assert [note.kind for note in _notes(array, 7, 1)] == ["ended"]


@given(walltime=st.floats(180, 10**6), tokens=st.lists(st.binary(min_size=8, max_size=8), min_size=2))
def test_pilots_that_started_together_retire_within_a_tenth_of_their_walltime(
    walltime: float, tokens: list[bytes]
) -> None:
    notices = {each.hex(): allocationfacts.notice_of(walltime, each.hex()) for each in tokens}
    assert all(60 <= each <= 60 + walltime / 10 for each in notices.values())
    assert len(set(notices.values())) == len({token[:4] for token in notices})
    # Over the whole of the tenth: neither end is left out.
    ends = [allocationfacts.notice_of(walltime, digit * 16) for digit in "0f"]
    assert ends == [60, pytest.approx(60 + walltime / 10)]


def test_a_session_that_is_killed_is_reported_by_the_process_outside_of_it(tmp_path: Path) -> None:
    """TORQUE kills a cancelled job within milliseconds, but no process of another session."""
    array = ArrayFolder(tmp_path / "batch" / "ssr-1", KEY)
    array.create([0], epoch=1)
    job = _hold(array)
    assert _notes(array, 0, 1)[0].kind == "started"
    os.killpg(job.pid, 9)
    job.wait()
    (ended,) = _notes(array, 0, 1)
    assert (ended.kind, ended.reason) == ("ended", "the batch system ended it")


@pytest.mark.parametrize(
    ("environ", "words", "index"),
    [
        ({"SLURM_ARRAY_TASK_ID": "3"}, [], 3),
        ({"PBS_ARRAYID": "4"}, [], 4),
        ({"PBS_ARRAY_INDEX": "5"}, [], 5),
        ({"SGE_TASK_ID": "6"}, [], 6),
        ({"SGE_TASK_ID": "undefined"}, [], 0),
        ({}, ["7"], 7),
        ({}, [], 0),
    ],
)
def test_each_engine_tells_a_pilot_which_element_it_is(
    environ: dict[str, str], words: list[str], index: int
) -> None:
    assert allocationfacts.index_of(environ, words) == index


def test_variables_of_an_engine_reach_neither_the_renderers_nor_the_job() -> None:
    environ = {"SLURM_CPU_BIND": "x", "SLURM_CONF": "/c", "PATH": "/bin", "PMIX_ID": "1", "GS_LIB": "/"}
    assert allocationfacts.kept(environ) == {"SLURM_CONF": "/c", "PATH": "/bin"}
    assert enginecalls.kept({**environ, "SBATCH_X": "1", "LC_ALL": "C"}) == {
        "SLURM_CONF": "/c",
        "PATH": "/bin",
        "LC_ALL": "C",
    }


def test_the_key_is_in_the_script_and_in_no_argument() -> None:
    text = script.build("python3", "/san/job", KEY, 60, {"A": "b c"})
    command = re.search(r"^exec .*$", text, re.MULTILINE)
    assert command is not None
    assert KEY.hex() not in command[0]
    assert KEY.hex() in text
    assert "export A='b c'" in text


class Engineless:
    """Commands of TORQUE that are answered here."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.called: list[Command] = []

    def __call__(self, command: Command) -> Answer:
        self.called.append(command)
        return self.answer


def _pool(call: Any, **fields: Any) -> PoolSetup:
    return PoolSetup(
        "cluster", engine("torque"), call, **{"pilots": 4, "cores": 1, **fields}, walltime=600, san="/s"
    )


def test_refused_submissions_are_bounded_whatever_the_time(tmp_path: Path) -> None:
    """Ten hours on a clock of our own; each turn asks for pilots."""
    call = Engineless(Answer(172, "", "qsub: submit error (Unknown queue)"))

    def post(item: Any) -> None:
        if isinstance(item, EntryRequested):
            item.written.set()

    manager = pm.PoolManager(_pool(call), tmp_path / "batch", KEY, 1, post)
    manager.need(Demand(100))
    (tmp_path / "batch").mkdir()
    for second in range(0, 36_000, 5):
        manager._resize(float(second))
    assert 2 <= len(call.called) <= MAX_REFUSED + 5


class _Pool:
    """A pool whose journal writes at once; ``answers`` by the command's first word."""

    def __init__(self, folder: Path, name: str = "slurm", **answers: Answer | Exception) -> None:
        self.answers = answers
        self.called: list[str] = []
        self.posted: list[Any] = []
        self.calls_away, self.answers_again = threading.Event(), threading.Event()
        (folder / "batch").mkdir()
        setup = PoolSetup("cluster", engine(name), self._call, pilots=4, cores=1, walltime=600, san="/s")
        self.manager = pm.PoolManager(setup, folder / "batch", KEY, 1, self._post)
        self.manager.need(Demand(100))

    def _call(self, command: Command) -> Answer:
        word = command.words[0]
        self.called.append(" ".join(command.words[:2]))
        answer = self.answers.get(word, Answer(0, "7"))
        if answer is _NEVER:
            self.calls_away.set()
            assert self.answers_again.wait(30)
            answer = Answer(0, "7")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _post(self, item: Any) -> None:
        self.posted.append(item)
        if isinstance(item, EntryRequested):
            item.written.set()


_NEVER = Answer(-1)


def test_an_array_whose_submission_outlasts_the_run_is_buried_and_cancelled(tmp_path: Path) -> None:
    pool = _Pool(tmp_path, sbatch=_NEVER)
    pool.manager.start()
    try:
        assert pool.calls_away.wait(30)
        # The engine may take it yet: its entry stays open, for whoever continues the job.
        assert pool.manager.finish(0.05) == []
        (state,) = (tmp_path / "batch").glob("*/state")
        assert state.read_text() == "over\n"
        assert [each for each in pool.called if each.startswith("scancel")] == ["scancel --me"]
    finally:
        pool.answers_again.set()
        pool.manager._thread.join(30)
    assert [each for each in pool.called if each.startswith("scancel")] == ["scancel --me"] * 2


def test_a_refused_array_is_none_of_the_pool_s(tmp_path: Path) -> None:
    pool = _Pool(tmp_path, sbatch=Answer(1, "", "sbatch: error: Invalid partition"))
    pool.manager._resize(0.0)
    assert pool.manager._arrays == []


def test_a_cancellation_that_failed_leaves_the_array_open_and_is_tried_again_later(
    tmp_path: Path,
) -> None:
    away = "scancel: error: Unable to contact slurm controller"
    pool = _Pool(tmp_path, scancel=Answer(1, "", away))
    pool.manager._resize(0.0)
    pool.manager.need(Demand(0))
    for second in range(1, 11):
        pool.manager._resize(float(second))
    assert pool.called == ["sbatch --parsable", "scancel --me"]
    assert len(pool.manager._arrays[0].waiting()) == 4
    assert pool.manager.finish(1.0) == []
    (left,) = pool.manager.left
    assert (left.command, left.reason) == (
        f"scancel --me --name={left.name}",
        "Unable to contact slurm controller",
    )
    pool.answers.clear()
    assert [entry.name for entry in pool.manager.finish(1.0)] == [  # type: ignore[attr-defined]
        pool.manager._arrays[0].handle.name
    ]


@pytest.mark.parametrize(
    ("name", "answer", "is_done"),
    [
        ("slurm", Answer(1, "", "scancel: error: Kill job error on job id 7: Access denied"), False),
        ("slurm", Answer(1, "", "scancel: error: Kill job error: Invalid job id specified"), True),
        ("slurm", Answer(153), False),
        ("torque", Answer(153, "", "qdel: nonexistent job id"), True),
        ("torque", Answer(1), False),
        ("openpbs", Answer(35, "", "qdel: Job has finished"), True),
        ("openpbs", Answer(111, "", "Connection refused"), False),
        ("gridengine", Answer(1, 'denied: job "7" does not exist'), True),
        ("gridengine", Answer(1, "", "error: unable to send message to qmaster"), False),
        ("htcondor", Answer(1, "", "Couldn't find/remove all jobs matching constraint"), True),
        ("htcondor", Answer(1, "", "Can't find address of local schedd"), False),
    ],
)
def test_what_counts_as_done_is_the_engine_s_own(name: str, answer: Answer, is_done: bool) -> None:
    assert engine(name).is_done(answer) is is_done
    assert engine(name).is_done(Answer(0))


def test_an_array_whose_id_comes_while_the_job_is_held_is_held_and_released(tmp_path: Path) -> None:
    pool = _Pool(tmp_path, sbatch=EngineUnavailable("timeout"))
    manager = pool.manager
    manager._resize(0.0)
    name = manager._arrays[0].handle.name
    manager.need(Demand(100, is_held=True))
    manager._resize(1.0)
    assert pool.called == ["sbatch --parsable"]
    pool.answers["squeue"] = Answer(0, f"7|0|PENDING||N/A|{name}|None\n")
    pool.answers["scontrol"] = EngineUnavailable("timeout")
    manager._query(60.0)
    pool.answers["scontrol"] = Answer(0)
    manager._query(120.0)
    manager._query(180.0)
    manager.need(Demand(100))
    manager._resize(181.0)
    orders = [each for each in pool.called if each.startswith("scontrol")]
    assert orders == ["scontrol hold", "scontrol hold", "scontrol release"]


def test_pilots_that_the_engine_does_not_hold_are_cancelled_and_come_back_after_the_release(
    tmp_path: Path,
) -> None:
    pool = _Pool(tmp_path, scontrol=Answer(1, "", "Access/permission denied for job 7"))
    manager = pool.manager
    manager._resize(0.0)
    manager.need(Demand(100, is_held=True))
    for second in (1.0, 2.0, 3.0):
        manager._resize(second)
    assert pool.called == ["sbatch --parsable", "scontrol hold", "scancel --me"]
    assert not manager._arrays[0].waiting()
    manager.need(Demand(100))
    manager._resize(4.0)
    assert pool.called[3:] == ["sbatch --parsable"]


def test_a_pilot_on_a_dead_node_runs_for_ever_and_counts_no_more(tmp_path: Path) -> None:
    """TORQUE lists it as R and its owner cannot delete it: another one takes its place."""
    pool = _Pool(tmp_path, "torque", qsub=Answer(0, "7[].desk\n"), qdel=Answer(0))
    manager = pool.manager
    manager.need(Demand(100))
    manager._resize(0.0)
    name = manager._arrays[0].handle.name
    for pilot in manager._arrays[0].pilots.values():
        pilot.is_live = True
    manager.give_up("torque:7_0")
    rows = "".join(
        f"<Job><Job_Id>7[{n}].desk</Job_Id><Job_Name>{name}-{n}</Job_Name><job_state>R</job_state></Job>"
        for n in range(4)
    )
    pool.answers["qstat"] = Answer(0, f"<Data>{rows}</Data>")
    pool.answers["qdel"] = Answer(224, "", "qdel: Server could not connect to MOM 7[0].desk")
    manager._query(60.0)
    manager._resize(61.0)
    assert [each for each in pool.called if each.startswith("qsub")] == ["qsub -N", "qsub -N"]
    assert [len(array.pilots) for array in manager._arrays] == [4, 1]
    assert not manager._arrays[0].is_over  # it may come back with its node, and finds a tombstone then


def _listed(name: str, *states: str) -> Answer:
    """What squeue prints of array 7: a state and a reason for each element, or none of it."""
    rows = [each.partition(" ") for each in states]
    lines = [f"7|{i}|{state}||N/A|{name}|{why or 'None'}" for i, (state, _, why) in enumerate(rows)]
    return Answer(0, "\n".join(lines))


def _start(pool: _Pool, *indexes: int) -> None:
    array = pool.manager._arrays[0]
    for index in indexes:
        pool.manager._take(array, PilotNote(index, "t", "started", node="n1"))


def test_a_pilot_that_is_queued_again_waits_and_is_cancelled_when_another_took_its_place(
    tmp_path: Path,
) -> None:
    """After a preemption, or the failure of its node: nothing is charged, and there is none too many."""
    pool = _Pool(tmp_path)
    manager = pool.manager
    manager._resize(0.0)
    array = manager._arrays[0]
    _start(pool, 0, 1, 2, 3)
    manager._take(array, PilotNote(0, "t", "ended", reason="the batch system ended it"))
    pool.answers["squeue"] = _listed(array.handle.name, "PENDING BeginTime", *["RUNNING"] * 3)
    manager._query(60.0)
    manager._resize(60.0)
    assert (array.waiting(), len(manager._arrays), manager._backoff.silent) == ([0], 1, 0)
    # It ends once more, and is replaced before a query tells that it is queued.
    array.pilots[0].has_ended = True
    manager._resize(61.0)
    assert len(manager._arrays) == 2
    manager._query(120.0)
    manager._resize(120.0)
    assert sum(len(each.waiting()) for each in manager._arrays) == 1
    # The one that starts beyond the limit is ended.
    for each in manager._arrays:
        for pilot in each.pilots.values():
            pilot.is_live, pilot.has_ended = True, False
    array.pilots[0].is_live = False
    before = len(pool.called)
    _start(pool, 0)
    manager._take_from_threads(121.0)
    assert pool.called[before:] == ["scancel 7_[0]"]


def test_what_may_have_been_queued_again_is_cancelled_at_the_end(tmp_path: Path) -> None:
    pool = _Pool(tmp_path)
    pool.manager._resize(0.0)
    _start(pool, 0, 1, 2, 3)
    array = pool.manager._arrays[0]
    pool.manager._take(array, PilotNote(2, "t", "ended", reason="the batch system ended it"))
    assert len(pool.manager.finish(1.0)) == 1
    assert pool.called[-1] == "scancel 7_[2]"


@pytest.mark.parametrize(
    "reason", ["launch failed requeued held", "launch_failure_limit_exceeded_requeued_held"]
)
def test_pilots_whose_start_has_failed_are_cancelled_and_pause_the_pool(
    tmp_path: Path, reason: str
) -> None:
    """Slurm holds them, for ever, where a user is to look at them."""
    pool = _Pool(tmp_path)
    manager = pool.manager
    manager._resize(0.0)
    name = manager._arrays[0].handle.name
    pool.answers["squeue"] = _listed(name, *[f"PENDING {reason}"] * 4)
    manager._query(60.0)
    assert pool.called[-2:] == ["squeue --me", "scancel --me"]
    manager._resize(61.0)
    manager._show(61.0)
    assert len(manager._arrays) == 1
    assert (pool.posted[-1].expected, pool.posted[-1].reason) == (0, reason)


def test_pilots_that_end_at_once_are_bounded_whatever_the_time(tmp_path: Path) -> None:
    """Ten hours on a clock of our own: the engine accepts every array, and lists none of it."""
    pool = _Pool(tmp_path, squeue=Answer(0, ""))
    for second in range(0, 36_000, 5):
        if second >= pool.manager._queries.due:
            pool.manager._query(float(second))
        pool.manager._resize(float(second))
    submissions = [each for each in pool.called if each.startswith("sbatch")]
    assert 2 <= len(submissions) <= 30


def test_three_pilots_that_never_speak_pause_the_pool() -> None:
    backoff = Backoff()
    for _ in range(3):
        assert backoff.may_submit(0.0)
        backoff.note_silent(0.0)
    assert not backoff.may_submit(60.0)
    assert backoff.is_hopeless(60.0)
    assert backoff.may_submit(2_000.0)
    backoff.spoke()
    backoff.note_silent(2_000.0)  # one that ends after others have worked says nothing about the script
    assert backoff.may_submit(2_000.0)


@given(pages=st.integers(0, 5000), pilots=st.integers(1, 50), cores=st.integers(1, 16))
def test_no_more_pilots_than_there_are_pages_for(pages: int, pilots: int, cores: int) -> None:
    number = wanted(Demand(pages), _pool(Engineless(Answer(0)), pilots=pilots, cores=cores))
    assert number <= pilots
    assert (number - 1) * cores < max(1, pages)
    assert number == pilots or number * cores >= pages


@given(
    pages=st.integers(0, 5000),
    sizes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 16)), min_size=1, max_size=5),
)
def test_pools_share_the_pages_and_have_slots_for_all_of_them(
    pages: int, sizes: list[tuple[int, int]]
) -> None:
    pools = [_pool(Engineless(Answer(0)), pilots=pilots, cores=cores) for pilots, cores in sizes]
    parts = shares(pages, pools)
    slots = [wanted(Demand(part), pool) * pool.cores for part, pool in zip(parts, pools, strict=True)]
    capacities = [pool.pilots * pool.cores for pool in pools]
    # Enough for all pages, or all that there are; no more than what rounding up adds in each pool.
    assert sum(slots) >= min(pages, sum(capacities))
    assert sum(slots) < pages + sum(pool.cores for pool in pools) + len(pools)
    for part, capacity in zip(parts, capacities, strict=True):
        assert abs(part - pages * capacity / sum(capacities)) < 1


def test_a_pool_that_brings_nothing_leaves_its_pages_to_the_others_and_tries_again() -> None:
    both = [replace(_pool(Engineless(Answer(0)), pilots=10), name=name) for name in ("a", "b")]
    assert shares(10, both) == [5, 5]
    assert shares(10, both, {"b"}) == [10, 5]
    assert shares(10, both, {"a", "b"}) == [10, 10]


@given(
    want=st.integers(0, 1000),
    turns=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9)), max_size=30),
)
def test_no_more_pilots_wait_than_run_but_for_the_first_four(
    want: int, turns: list[tuple[int, int, int]]
) -> None:
    """A queue that starts, ends and preempts pilots as it likes, and then starts what waits."""
    live = waiting = 0
    for started, ended, preempted in turns:
        new = to_submit(want, live, waiting)
        waiting += new
        assert not new or (waiting <= max(4, live) and live + waiting <= want)
        live, waiting = live + min(started, waiting), max(0, waiting - started)
        live -= min(ended, live)
        live, waiting = live - min(preempted, live), waiting + min(preempted, live)
    looks = 0
    while live < want:
        live, waiting, looks = live + waiting + to_submit(want, live, waiting), 0, looks + 1
    assert looks <= 10  # a thousand pilots: 4, 8, 16 and so on


def test_pilots_that_cannot_be_used_pause_the_pool_although_they_report() -> None:
    backoff = Backoff()
    for _ in range(2):
        backoff.spoke()
        backoff.note_useless(0.0)
    backoff.worked()  # three in a row
    for _ in range(3):
        assert backoff.may_submit(0.0)
        backoff.spoke()
        backoff.note_useless(0.0)
    assert not backoff.may_submit(60.0)
    assert backoff.is_hopeless(60.0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('engine = "lsf"', "engine"),
        ('walltime = "1m"', "walltime"),
        ("pilots = 0", "pilots"),
        ('options = ["-V"]', "environment"),
        ('options = ["a\\nb"]', "control character"),
        ('queue = "a"\npartition = "b"', "partition"),
        ('environment = {"a b" = "c"}', "variable"),
        ('wall_time = "1h"', "did you mean walltime"),
        ('engine = "htcondor"\nqueue = "a"', "no queues"),
        ('engine = "gridengine"\ncores = 4', "parallel environment"),
    ],
)
def test_each_mistake_in_a_pool_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "hosts.toml"
    keys = {each.partition(" ")[0] for each in line.splitlines()}
    usual = {"engine": '"slurm"', "pilots": "2", "walltime": '"1h"'}
    text = "".join(f"{key} = {value}\n" for key, value in usual.items() if key not in keys)
    path.write_text(f'[san]\npath = "/san"\n[[pools]]\nname = "cluster"\n{text}{line}\n')
    with pytest.raises(UserError) as caught:
        inventory.load(path)
    assert complaint in caught.value.what


def test_words_reach_the_login_host_as_they_are_and_its_errors_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ssh does: one line goes to a shell there."""
    # A login shell runs what the user's start files say. What is killed there may leave a lock behind.
    monkeypatch.setenv("HOME", str(tmp_path))
    call = enginecalls.EngineCalls(["sh", "-c", 'eval "$1"', "ssh"])
    answer = call(Command(("printf", "%s|", "12[3].desk", "a b", "$HOME; 'x'"), ""))
    assert answer.out == "12[3].desk|a b|$HOME; 'x'|"
    assert call(Command(("cat",), "the script")).out == "the script"
    with pytest.raises(SubmissionRefused, match="qsub is not installed there"):
        call(Command(("qsub", "--version"), ""))
    with pytest.raises(EngineUnavailable, match="ssh: "):
        call(Command(("sh", "-c", "echo refused >&2; exit 255"), ""))
    with pytest.raises(EngineUnavailable, match="no answer in"):
        call(Command(("sleep", "5"), ""), timeout=0.2)


def test_a_login_shell_says_where_the_commands_are_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = (
        "echo Welcome; echo beware >&2; export PATH=$HOME/bin:$PATH SBATCH_PARTITION=x POEM='a\nb * c'\n"
    )
    (tmp_path / ".profile").write_text(profile)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qsub").write_text('#!/bin/sh\necho "$SBATCH_PARTITION|$POEM|$PWD|$*"; cat\n')
    (tmp_path / "bin" / "qsub").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    # sshd has the user's shell read the line.
    for shell in filter(None, map(shutil.which, ("sh", "bash", "tcsh", "fish"))):
        monkeypatch.setenv("SHELL", shell)
        for server in ("", "other"):
            call = enginecalls.EngineCalls(["sh", "-c", '"$SHELL" -c "$1"', "ssh"], server)
            answer = call(Command(("qsub", "grün  *"), "in"))
            assert (answer.out, answer.err, answer.code) == ("||/|grün  *\nin", "", 0)


def test_a_server_that_a_queue_names_is_asked_by_every_command(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(
        '[san]\npath = "/san"\n[[pools]]\nname = "p"\nengine = "torque"\npilots = 1\nwalltime = "1h"\n'
        'memory = "1G"\nqueue = "batch@far"\n'
    )
    read = inventory.load(path)
    setup = pool_setup(read.pools[0], read, Path("/san"), Settings())
    assert setup.call(Command(("sh", "-c", "echo $PBS_DEFAULT"))).out == "far\n"
    with pytest.raises(SubmissionRefused, match="qstat is not installed here"):
        setup.call(Command(("qstat", "-x")))
    # TORQUE tells a job nothing of its memory.
    assert allocationfacts.memory_of({**setup.environment}) <= 1 << 30
    assert not {name for name in allocationfacts.kept({**setup.environment}) if "MEMORY" in name}


def test_the_login_host_is_reached_as_the_inventory_says(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(
        '[san]\npath = "/san"\n[[hosts]]\nname = "login1"\nuser = "ann"\nport = 2222\n'
        '[[pools]]\nname = "p"\nengine = "slurm"\npilots = 1\nwalltime = "1h"\nvia = "login1"\n'
    )
    read = inventory.load(path)
    setup = pool_setup(read.pools[0], read, Path("/san"), Settings())
    assert setup.via[0] == "ssh"
    assert {"-p", "2222", "ann@login1", "BatchMode=yes"} <= set(setup.via)
    assert setup.typed("qdel", "7[]") == """ssh -p 2222 ann@login1 'qdel '"'"'7[]'"'"''"""


def test_pools_of_one_engine_share_its_answers_and_those_of_another_cluster_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def file(**pool: str) -> Path | None:
        fields = {"name": "p", "engine": "slurm", "walltime": "1h", **pool}
        lines = "\n".join(f'{key} = "{value}"' for key, value in fields.items())
        path = tmp_path / "hosts.toml"
        path.write_text(f'[san]\npath = "/san"\n[[pools]]\npilots = 1\n{lines}\n')
        read = inventory.load(path)
        return pool_setup(read.pools[0], read, Path("/san"), Settings()).shared

    monkeypatch.setenv("HOME", str(tmp_path))
    here = file()
    assert here is not None
    assert here.is_relative_to(tmp_path)
    assert file(name="q", partition="batch") == here
    others = [file(via="login1"), file(engine="torque"), file(engine="torque", queue="b@two")]
    monkeypatch.setenv("SLURM_CONF", "/etc/other.conf")
    others.append(file())
    assert len({here, *others}) == 5


def test_a_runner_has_a_home_if_the_batch_system_sets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTCondor sets none. Where nothing is cached, fontconfig then complains on each page."""
    monkeypatch.delenv("HOME")
    pilot = allocationholder.Holder(str(tmp_path), 0, KEY, time.monotonic(), 0)
    pilot._start_runner({"argv": ["sh", "-c", 'echo "$HOME"'], "silence": 60})
    assert pilot._runner is not None
    output, _ = pilot._runner.communicate(timeout=60)
    assert output.decode().strip() == pwd.getpwuid(os.getuid()).pw_dir


def test_a_runner_that_ends_before_it_has_read_its_input_is_reported(tmp_path: Path) -> None:
    """One look may find its output ended and its input broken."""
    parent, other = os.pipe()
    _lines(tmp_path / "0.pilot")
    # The walltime is over, so that it serves one look.
    pilot = allocationholder.Holder(str(tmp_path), 0, KEY, time.monotonic(), parent)
    pilot._writer = pilotlines.LineWriter(str(_lines(tmp_path / "0.e1.1.up")), KEY)
    pilot._start_runner({"argv": ["true"], "silence": 60})
    assert pilot._runner is not None
    os.waitid(os.P_PID, pilot._runner.pid, os.WEXITED | os.WNOWAIT)
    pilot._input = b"a line that nobody reads\n"
    assert pilot._serve() == "its walltime ended"
    lines = pilotlines.LineReader(str(tmp_path / "0.e1.1.up"), KEY).read_new()
    assert [line[:1] for line in lines] == [allocationholder.EXIT]
    os.close(parent)
    os.close(other)


@pytest.mark.parametrize(
    ("cores", "kept"),
    [("1" + "0" * 400, 1024), ("NaN", 0), ("-Infinity", 0), ("1e999", 1024), ('"4"', 0), ("4", 4)],
)
def test_any_number_of_a_note_is_read(tmp_path: Path, cores: str, kept: int) -> None:
    deep = b"[" * 100_000
    _lines(tmp_path / "0.pilot", deep, b'{"type": "started", "cores": %s}' % cores.encode())
    assert [note.cores for note in ArrayFolder(tmp_path, KEY).notes([0])] == [kept]


def test_a_raised_digit_is_no_index(tmp_path: Path) -> None:
    assert allocationfacts.index_of({"SLURM_ARRAY_TASK_ID": "\u00b2", "PBS_ARRAYID": "3"}, []) == 3


def test_a_connection_begins_without_waits_and_a_quiet_one_costs_few_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(pilotlines, "time", SimpleNamespace(monotonic=lambda: now))
    timer, begin, looks = pilotlines.LookTimer(), now, 0
    while now < begin + pilotlines.EAGER_SECONDS:
        now += timer.after(has_lines=False)
        looks += 1
    assert looks <= 201  # then it is over, whatever comes
    for _ in range(5):
        now += timer.after(has_lines=False)
    assert timer.after(has_lines=False) == pilotlines.QUIET_INTERVAL
    assert timer.after(has_lines=True) == pilotlines.BUSY_INTERVAL


class _Failing:
    """A file of lines that the file server does not give out."""

    def __init__(self, code: int) -> None:
        self.error = OSError(code, os.strerror(code))

    def read_new(self) -> list[bytes]:
        raise self.error


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_file_server_that_fails_for_a_moment_ends_no_pilot(tmp_path: Path, code: int) -> None:
    array = ArrayFolder(tmp_path / "batch" / "ssr-1", KEY)
    array.create([0], epoch=1)
    link = FileTransport(array.path, 0, KEY, 1).attach()
    working, link._reader = link._reader, _Failing(code)  # type: ignore[assignment]
    assert link.read(0.0) == b""
    link._reader = working
    assert link.read(0.0) == b""
    pilot = allocationholder.Holder(str(array.path), 0, KEY, 600.0, 0)
    pilot._find_pair()
    pilot._reader = _Failing(code)  # type: ignore[assignment]
    now = time.monotonic()
    assert pilot._take_lines(now) == ""
    assert pilot._take_lines(now + allocationholder.MAX_FAILING - 1) == ""
    with pytest.raises(OSError, match=os.strerror(code)):
        pilot._take_lines(now + allocationholder.MAX_FAILING + 1)
    pilot._reader, pilot._failing_since = _Failing(errno.ENOENT), None  # type: ignore[assignment]
    with pytest.raises(FileNotFoundError):  # the folder is gone, which is a tombstone
        pilot._take_lines(now)


def test_many_links_that_begin_together_look_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = ArrayFolder(tmp_path / "batch" / "ssr-1", KEY)
    array.create([0], epoch=1)
    link = FileTransport(array.path, 0, KEY, 1).attach()
    for looks, pause in ((10**6, pilotlines.EAGER_INTERVAL), (1, pilotlines.BUSY_INTERVAL)):
        monkeypatch.setattr(filelink, "MAX_LOOKS", looks)
        link.read(0.0)
        assert link._pause == pause
    link.close()
