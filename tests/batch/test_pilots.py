"""Whole jobs on a batch system of stand-ins: pilots start, end early and leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import pdfs
from tests.batch.conftest import Batch, Paced
from tests.batch.pooljob import PoolJob, require_plain
from tests.conftest import PROGRAM, Run
from tests.stretch import stretched, wait_until


def _start(batch: Batch, document: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "render", "--hosts", batch.hosts, "--dpi", "40", "-o", "out", str(document), *words],
        cwd=batch.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _uncharged(batch: Batch) -> bool:
    kinds = {entry["kind"] for entry in batch.journal("attempt_failed")}
    states = {entry["state"] for entry in batch.journal("host_state")}
    return not kinds and not states & {"quarantined", "refused"}


def _each_once(batch: Batch, pages: int) -> bool:
    delivered = [entry["page"] for entry in batch.journal("page_delivered")]
    return sorted(delivered) == list(range(1, pages + 1))


@pytest.mark.parametrize(
    ("batch", "pages", "dpi"),
    [
        ("torque", 10, 150),
        ("openpbs", 10, 150),
        ("htcondor", 10, 150),
        pytest.param("torque", 261, 60, marks=pytest.mark.matrix),
    ],
    indirect=["batch"],
)
def test_a_job_over_a_batch_system_alone_is_what_plain_ghostscript_makes(
    batch: Batch, sshrender: Run, home: Path, pages: int, dpi: int
) -> None:
    if batch.engine == "htcondor":
        batch.write(carrier="pipe")
    document = pdfs.write(home / "ten.pdf", pdfs.numbered(pages))
    words = ["--dpi", str(dpi), "--encoder", "ghostscript", "-o", "out", str(document)]
    answer = sshrender("render", "--hosts", batch.hosts, *words)
    assert answer.returncode == 0, answer.stderr
    require_plain(home / "out", document, home / "plain", dpi)
    submit, query = {"htcondor": ("condor_submit", "condor_q")}.get(batch.engine, ("qsub", "qstat"))
    assert len(batch.calls(submit)) == 1
    assert len(batch.calls(query)) <= 1 + pages // 100  # never more than one a minute
    names = [entry["type"] for entry in batch.journal() if entry["type"].startswith("pilots_")]
    assert names == ["pilots_requested", "pilots_submitted", "pilots_ended"]
    assert bool(batch.calls("condor_ssh_to_job")) == (batch.engine == "htcondor")
    assert batch.printed() == ""  # it would lie in the spool folder of a node until the end of the job
    batch.require_empty()


def test_pilots_that_are_cancelled_in_the_middle_lose_nothing_and_charge_nobody(
    batch: Batch, home: Path, paced: Paced
) -> None:
    paced(0.5, last=12)
    batch.configure(slots=4)
    process = _start(batch, pdfs.write(home / "many.pdf", pdfs.numbered(48)))
    wait_until(lambda: len(batch.jobs("R")) == 2)
    wait_until(lambda: len(batch.journal("page_delivered")) > 3)
    subprocess.run(["qdel", "0[0]"], check=True)
    ended = wait_until(
        lambda: [entry for entry in batch.journal("host_state") if entry["state"] == "removed"]
    )
    paced(0)
    _, err = process.communicate(timeout=stretched(90))
    assert process.returncode == 0, err
    assert ended[0]["host"] == "torque:0_0"
    assert "the batch system ended it" in ended[0]["reason"]
    assert _uncharged(batch)
    assert _each_once(batch, 48)
    batch.require_empty()


def test_another_coordinator_attaches_to_the_pilots_of_one_that_was_killed(
    batch: Batch, sshrender: Run, home: Path, paced: Paced
) -> None:
    paced(0.2, last=8)
    process = _start(batch, pdfs.write(home / "many.pdf", pdfs.numbered(30)))
    wait_until(lambda: len(batch.journal("page_delivered")) > 3)
    process.kill()
    process.communicate()
    paced(0)
    job = next((home / "san").glob("many-*")).name
    answer = sshrender("resume", "--hosts", batch.hosts, job)
    assert answer.returncode == 0, answer.stderr
    assert len(batch.calls("qsub")) == 1  # nothing was queued again
    # No host: a page that the first one had published, and not recorded, when it was killed.
    second = {entry["host"] for entry in batch.journal("page_delivered") if entry["epoch"] == 2}
    assert second - {""} <= {"torque:0_0", "torque:0_1"}
    assert _each_once(batch, 30)
    batch.require_empty()


def test_a_refused_submission_ends_a_job_without_other_hosts_and_says_why(
    batch: Batch, sshrender: Run, home: Path
) -> None:
    batch.write(queue="nope")
    document = pdfs.write(home / "two.pdf", pdfs.numbered(2))
    answer = sshrender("render", "--hosts", batch.hosts, "--json", "-o", "out", str(document))
    assert answer.returncode == 4
    assert "Unknown queue" in json.loads(answer.stdout)["reason"]
    assert 1 <= len(batch.calls("qsub")) <= 3
    batch.require_empty()


def test_an_array_limit_of_one_is_met_by_arrays_of_one(batch: Batch, home: Path, paced: Paced) -> None:
    paced(0.1, last=4)
    batch.configure(max_array=1)
    process = _start(batch, pdfs.write(home / "many.pdf", pdfs.numbered(12)))
    wait_until(lambda: len({entry["host"] for entry in batch.journal("page_sent")}) == 2)
    paced(0)
    _, err = process.communicate(timeout=stretched(90))
    assert process.returncode == 0, err
    assert len(batch.calls("qsub")) == 3  # one of two, which was refused, and two of one
    batch.require_empty()


def test_pilots_that_wait_are_shown_and_cancelled_with_their_job(
    batch: Batch, sshrender: Run, home: Path
) -> None:
    batch.configure(slots=0)
    process = _start(batch, pdfs.write(home / "two.pdf", pdfs.numbered(2)))
    wait_until(lambda: len(batch.jobs("Q")) == 2)
    wait_until(lambda: bool(batch.journal("pool_reported")))
    job = next((home / "san").glob("two-*")).name
    (pool,) = json.loads(sshrender("hosts", "--hosts", batch.hosts, "--json").stdout)["pools"]
    assert (pool["state"], pool["waiting"], pool["running"]) == ("usable", 2, 0)
    assert pool["reason"].startswith("2 waiting in the queue: Not enough of the right type of nodes")
    shown = json.loads(sshrender("status", "--hosts", batch.hosts, "--json", job).stdout)
    assert shown["state"] == "running"
    assert [pool["waiting"] for pool in shown["pools"]] == [2]
    assert "2 waiting in the queue" in shown["reason"]
    assert sshrender("cancel", "--hosts", batch.hosts, job).returncode == 0
    process.communicate(timeout=stretched(60))
    assert batch.calls("qdel")
    batch.require_empty()


@pytest.mark.matrix
def test_pilots_of_two_jobs_share_a_node(batch: Batch, home: Path, paced: Paced) -> None:
    paced(0.3)
    batch.configure(slots=2)
    batch.write(pilots=1)
    documents = [pdfs.write(home / f"{count}.pdf", pdfs.numbered(count)) for count in (30, 31)]
    processes = [_start(batch, each, "-o", each.stem) for each in documents]
    for process, document in zip(processes, documents, strict=True):
        _, err = process.communicate(timeout=stretched(200))
        assert process.returncode == 0, err
        assert len(list((home / document.stem).glob("*.png"))) == int(document.stem)
    assert len(batch.calls("qsub")) == 2
    hosts = {
        path.parent: PoolJob(path.parent).hosts() for path in (home / "san").glob("*/journal.jsonl")
    }
    assert sorted(map(sorted, hosts.values())) == [["torque:0_0"], ["torque:1_0"]]
    batch.require_empty()


def test_a_signal_leaves_no_pilot(batch: Batch, home: Path, paced: Paced) -> None:
    paced(0.1, last=2)
    process = _start(batch, pdfs.write(home / "many.pdf", pdfs.numbered(20)))
    wait_until(lambda: bool(batch.journal("page_sent")))
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=stretched(60))
    assert process.returncode == 128 + signal.SIGTERM
    batch.require_empty()


def test_hosts_shows_the_engine_and_its_nodes(batch: Batch, sshrender: Run) -> None:
    answer = sshrender("hosts", "--hosts", batch.hosts)
    assert answer.returncode == 0, answer.stderr
    assert "torque 6.1.3.h5" in answer.stdout
    (batch.cluster.folder / "down").touch()
    answer = sshrender("hosts", "--hosts", batch.hosts, "--json")
    assert answer.returncode == 4
    (pool,) = json.loads(answer.stdout)["pools"]
    assert pool["state"] == "lost"
    assert "Connection refused" in pool["reason"]


def test_a_password_goes_into_no_file_so_pools_are_left_out(
    batch: Batch, sshrender: Run, home: Path
) -> None:
    document = pdfs.protect(pdfs.write(home / "two.pdf", pdfs.numbered(2)), home / "secret.pdf", "pass")
    (home / "word").write_text("pass\n")
    words = ["--password-file", "word", "-o", "out", str(document)]
    answer = sshrender("render", "--hosts", batch.hosts, *words)
    assert answer.returncode == 4
    assert "the document has a password" in answer.stderr
    assert not batch.calls("qsub")


def test_held_jobs_keep_their_place_in_the_queue_and_drained_nodes_lose_their_pilots(
    batch: Batch, sshrender: Run, home: Path, paced: Paced
) -> None:
    paced(2.0)
    batch.configure(slots=1)
    process = _start(batch, pdfs.write(home / "many.pdf", pdfs.numbered(900)))
    wait_until(lambda: len(batch.journal("page_delivered")) > 0 and len(batch.jobs("Q")) == 1)
    job = next((home / "san").glob("many-*")).name
    assert sshrender("hold", "--hosts", batch.hosts, job).returncode == 0
    wait_until(lambda: len(batch.jobs("H")) == 1)
    assert sshrender("release", "--hosts", batch.hosts, job).returncode == 0
    wait_until(lambda: not batch.jobs("H"))
    node = os.uname().nodename
    assert sshrender("drain", "--hosts", batch.hosts, node).returncode == 0
    wait_until(lambda: "drained" in {entry["state"] for entry in batch.journal("host_state")})
    assert sshrender("undrain", "--hosts", batch.hosts, node).returncode == 0
    wait_until(lambda: batch.journal("host_state")[-1]["state"] == "idle")
    assert sshrender("cancel", "--hosts", batch.hosts, job).returncode == 0
    process.communicate(timeout=stretched(90))
    assert _uncharged(batch)
    batch.require_empty()


def test_pilots_without_ghostscript_give_their_allocations_back_and_are_not_repeated(
    batch: Batch, sshrender: Run, home: Path
) -> None:
    text = Path(batch.hosts).read_text()
    Path(batch.hosts).write_text(f'[defaults]\nghostscript = "/nonexistent/gs"\n{text}')
    document = pdfs.write(home / "many.pdf", pdfs.numbered(6))
    answer = sshrender("render", "--hosts", batch.hosts, "--json", "-o", "out", str(document))
    assert answer.returncode == 7, answer.stderr
    hosts = json.loads(answer.stdout)["hosts"]
    assert {host["state"] for host in hosts} == {"refused"}
    assert all("/nonexistent/gs" in host["reason"] for host in hosts), hosts
    assert len(batch.calls("qsub")) <= 2
    batch.require_empty()


def test_a_job_without_a_coordinator_is_held_in_the_queue_and_cancelled_there(
    batch: Batch, sshrender: Run, home: Path
) -> None:
    batch.configure(slots=0)
    process = _start(batch, pdfs.write(home / "two.pdf", pdfs.numbered(2)))
    wait_until(lambda: bool(batch.journal("pilots_submitted")))
    process.kill()
    process.communicate()
    folder = next((home / "san").glob("two-*"))
    answer = sshrender("hold", "--hosts", batch.hosts, "--json", folder.name)
    assert json.loads(answer.stdout)["jobs"][0]["result"] == "held"
    assert batch.jobs("H")
    assert not batch.jobs("Q")
    # No tombstone: the next coordinator takes them over.
    assert "over\n" not in [path.read_text() for path in folder.glob("batch/*/state")]
    (batch.cluster.folder / "down").touch()
    answer = sshrender("cancel", "--hosts", batch.hosts, "--json", folder.name)
    assert answer.returncode == 0
    (left,) = json.loads(answer.stdout)["jobs"][0]["pilots"]
    assert "Connection refused" in left["reason"]
    (batch.cluster.folder / "down").unlink()
    assert [path.read_text() for path in folder.glob("batch/*/state")] == ["over\n"]
    # What it says is typed as it stands.
    assert left["command"] in answer.stderr
    subprocess.run(["sh", "-c", left["command"]], check=True)
    assert not batch.jobs("Q", "H")
    answer = sshrender("cancel", "--hosts", batch.hosts, "--json", folder.name)
    assert "pilots" not in json.loads(answer.stdout)["jobs"][0]
