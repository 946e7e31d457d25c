"""What users read of an engine that fails: pilots left in its queue, and what to type."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sshrender.coordinator.pilots.leftpilots import Orphans, cancel_left, hold_left
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.coordinator.pilots.poolcheck import check_pools
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch.arrayfolder import ArrayFolder
from sshrender.transports.batch.engines.interface import Answer, Command, EngineUnavailable
from sshrender.transports.batch.engines.names import engine
from sshrender.views import pooltable

KNOWN = je.PilotsRequested(pool="cluster", name="ssr-00000001", count=2, array="7[].desk")
LOST = je.PilotsRequested(pool="cluster", name="ssr-00000002", count=2)
AWAY = EngineUnavailable("qdel gave no answer in 30 s")


class Site:
    """A pool whose commands are answered here, by their first word."""

    def __init__(self, name: str, login: tuple[str, ...] = (), **answers: Answer | Exception) -> None:
        self.called: list[str] = []
        self._answers = answers
        self.pools: Mapping[str, PoolSetup] = {
            "cluster": PoolSetup("cluster", engine(name), self._call, 4, 1, 600.0, "/s", login=login)
        }

    def _call(self, command: Command) -> Answer:
        self.called.append(" ".join(command.words))
        answer = self._answers.get(command.words[0], Answer(0))
        if isinstance(answer, Exception):
            raise answer
        return answer


def _listed(name: str) -> Answer:
    row = f"<Job><Job_Id>9[0].desk</Job_Id><Job_Name>{name}-0</Job_Name><job_state>Q</job_state></Job>"
    return Answer(0, f"<Data>{row}</Data>")


def test_arrays_are_cancelled_by_their_id_and_a_lost_one_is_looked_for_by_name_once() -> None:
    site = Site("torque", qstat=_listed("ssr-00000002"))
    assert cancel_left([KNOWN, LOST], site.pools) == []
    assert site.called == ["qstat -x -t", "qdel 7[].desk", "qdel 9[].desk"]
    site = Site("torque", qstat=Answer(0, "<Data></Data>"))
    assert cancel_left([LOST], site.pools) == []  # the engine never got it
    site = Site("slurm")
    assert cancel_left([LOST], site.pools) == []
    assert site.called == ["scancel --me --name=ssr-00000002"]


@pytest.mark.parametrize("code", [153, 170])
def test_what_has_ended_meanwhile_is_not_left(code: int) -> None:
    site = Site("torque", qdel=Answer(code, "", "qdel: nonexistent job id: 7[].desk"))
    assert cancel_left([KNOWN], site.pools) == []


def test_what_cannot_be_cancelled_is_told_with_what_to_type() -> None:
    site = Site("torque", ("ssh", "-p", "22", "login1"), qdel=AWAY, qstat=AWAY)
    lost, known = cancel_left([KNOWN, LOST], site.pools)
    assert known.command == """ssh -p 22 login1 'qdel '"'"'7[].desk'"'"''"""
    assert known.in_words().endswith(f"to cancel them: {known.command}")
    assert (lost.command, lost.reason) == ("", str(AWAY))
    assert site.called == ["qstat -x -t"]  # it is not asked again for each array
    (left,) = cancel_left([KNOWN], {})
    assert left.reason == "the inventory does not have this pool"


def test_an_array_that_the_engine_does_not_cancel_keeps_no_other_one_in_the_queue() -> None:
    other = je.PilotsRequested(pool="cluster", name="ssr-00000002", count=2, array="9[].desk")
    site = Site("torque", qdel=Answer(1, "", "qdel: Server could not connect to MOM 7[].desk"))
    left = cancel_left([KNOWN, other], site.pools)
    assert site.called == ["qdel 7[].desk", "qdel 9[].desk"]
    assert [each.name for each in left] == [KNOWN.name, other.name]


@pytest.mark.parametrize(("name", "array"), [("x", "7"), ("ssr-00000001", "-W force")])
def test_what_no_coordinator_wrote_into_the_journal_is_no_word_of_a_command(
    name: str, array: str
) -> None:
    site = Site("torque")
    entry = je.PilotsRequested(pool="cluster", name=name, count=1, array=array)
    assert cancel_left([entry], site.pools) == []
    assert site.called == []


def test_arrays_are_held_and_those_that_the_engine_does_not_hold_are_cancelled() -> None:
    site = Site("torque", qstat=_listed("ssr-00000002"))
    assert hold_left([KNOWN, LOST], site.pools) == []
    assert site.called == ["qstat -x -t", "qhold 7[].desk", "qhold 9[].desk"]
    site = Site("torque", qhold=Answer(168, "", "qhold: Unauthorized Request 7[].desk"))
    assert hold_left([KNOWN], site.pools) == []
    assert site.called == ["qhold 7[].desk", "qdel 7[].desk"]
    site = Site("slurm", scontrol=AWAY)
    (left,) = hold_left([LOST], site.pools)
    assert (left.command, left.reason) == ("scancel --me --name=ssr-00000002", str(AWAY))
    assert site.called == ["scontrol hold jobname=ssr-00000002"]  # nothing else while it is away


def test_a_run_without_the_pool_ends_its_pilots_and_says_what_is_left(tmp_path: Path) -> None:
    for entry in (KNOWN, LOST):
        ArrayFolder(tmp_path / entry.name, b"k").create([0], 1)
    site = Site("torque", qstat=AWAY)
    other = je.PilotsRequested(pool="gone", name="ssr-00000003", count=1, array="8[].desk")
    orphans = Orphans([KNOWN, other], tmp_path, site.pools)
    orphans.start()
    assert [each.name for each in orphans.finish(30) if isinstance(each, je.PilotsEnded)] == [KNOWN.name]
    assert (tmp_path / KNOWN.name / "state").read_text() == "over\n"
    assert [left.pool for left in orphans.left] == ["gone"]


def test_a_check_counts_the_pilots_of_this_user_alone() -> None:
    rows = "".join(
        f"<Job><Job_Id>{n}[0].desk</Job_Id><Job_Name>ssr-0000000{n}-0</Job_Name>"
        f"<Job_Owner>{owner}@desk</Job_Owner><job_state>{state}</job_state></Job>"
        for n, (owner, state) in enumerate(
            [("ann", "R"), ("artist", "Q"), ("ann", "Q"), ("artist", "R")]
        )
    )
    listed, version = Answer(0, f"<Data>{rows}</Data>"), Answer(0, "", "Version: 6.1.3")
    site = Site("torque", qsub=version, qstat=listed, pbsnodes=Answer(0, "<Data></Data>"))
    counts = []
    for user in ("artist", ""):
        (found,) = check_pools([replace(site.pools["cluster"], user=user)])
        counts.append((found.waiting, found.running))
    assert counts == [(1, 1), (2, 2)]  # where ssh decides who the user is there, all are counted


def test_a_check_counts_the_pilots_of_an_engine_that_names_no_owner() -> None:
    rows = "7|0|PENDING||N/A|ssr-00000007|Resources\n7|1|RUNNING|n1|N/A|ssr-00000007|None\n"
    version = Answer(0, "slurm 22.05.8")
    site = Site(
        "slurm",
        sbatch=version,
        squeue=Answer(0, rows),
        sinfo=Answer(0, "n1|idle|0/4/0/4|2027-01-01T00:00:00"),
    )
    (found,) = check_pools([replace(site.pools["cluster"], user="artist")])
    assert (found.waiting, found.running) == (1, 1)
    assert found.reason == "1 waiting in the queue: Resources"


def test_a_pool_whose_queue_cannot_be_asked_is_not_usable() -> None:
    """HTCondor's nodes are told by one daemon, and its queue by another, which may be off."""
    gone = """Error: Can't find address for schedd desk

Extra Info: You probably saw this error because the condor_schedd is not
running on the machine you are trying to query. If the condor_schedd is not
"""
    site = Site(
        "htcondor",
        condor_version=Answer(0, "$CondorVersion: 23.9.6 2026-07-12 $"),
        condor_q=Answer(1, "", gone),
        condor_status=Answer(0, '[{"Machine": "n1", "State": "Unclaimed", "Cpus": 8}]'),
    )
    (found,) = check_pools(list(site.pools.values()))
    assert (found.state, found.free) == ("lost", 0)
    assert found.reason == "htcondor does not answer: Can't find address for schedd desk"


def test_a_check_asks_side_by_side_and_shows_what_to_type_on_the_login_host() -> None:
    meeting = threading.Barrier(3)

    def call(command: Command) -> Answer:
        if "--version" in command.words:
            return Answer(0, "slurm 22.05.8")
        meeting.wait(60)  # each of the others waits for all of them
        return Answer(1, "", "slurm_load_partitions: Unable to contact slurm controller")

    login = ("ssh", "artist@login1")
    pool = PoolSetup("cluster", engine("slurm"), call, 4, 1, 600.0, "/s", login=login)
    (check,) = check_pools([pool])
    assert (check.state, check.command) == ("lost", "ssh artist@login1 sinfo")
    assert "    try: ssh artist@login1 sinfo" in pooltable.lines([asdict(check)])
