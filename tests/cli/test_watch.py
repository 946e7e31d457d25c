"""``watch`` without a terminal and without a job: a line for each job, until none runs."""

from __future__ import annotations

from pathlib import Path

from sshrender.api.joblistsource import JobListSource
from sshrender.job.queue.requestoperations import Operation
from tests import pdfs
from tests.conftest import Run


def test_without_a_job_each_job_is_a_line(sshrender: Run, san: Path, home: Path) -> None:
    answer = sshrender("watch")
    assert (answer.returncode, answer.stdout) == (0, "no jobs\n")
    assert answer.stderr.count("\n") == 1, "why there is no dashboard"
    document = pdfs.write(home / "doc.pdf", pdfs.numbered(2))
    answer = sshrender("submit", str(document), "--hold")
    assert answer.returncode == 0, answer.stderr
    answer = sshrender("watch")
    assert answer.returncode == 0, "a job that no coordinator has is not waited for"
    assert answer.stdout.split()[1:4] == [next(san.glob("doc-*")).name, "held,", "0/2"]
    answer = sshrender("watch", "--san", str(san / "nowhere"))
    assert answer.returncode == 6
    assert "hint:" in answer.stderr


def test_the_list_changes_a_job_as_the_commands_do(sshrender: Run, san: Path, home: Path) -> None:
    pdfs.write(home / "doc.pdf", pdfs.numbered(2))
    job = sshrender("submit", "doc.pdf").stdout.strip()
    table = JobListSource(san, "jobs", [])
    for op, state in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled")):
        assert table.change(job, Operation(op)) == ""
        assert [line.state for line in table.read().jobs] == [state]
    assert "cancelled" in table.change(job, Operation.CANCEL)
