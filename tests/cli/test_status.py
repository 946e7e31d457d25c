"""``status`` and ``why``: how jobs stand, and why, told from the SAN alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.statusreports import job_reports
from sshrender.coordinator.jobrun import with_taker
from sshrender.coordinator.outcome import Outcome
from sshrender.coordinator.workers.leaserenewer import LeaseGone
from tests import pdfs
from tests.cli import jobs
from tests.cli.conftest import Paced
from tests.cli.jobs import delivered, ended, started
from tests.conftest import Run, Start
from tests.stretch import page_timeout, wait_until


def _start(start: Start, sshrender: Run, document: Path) -> subprocess.Popen[bytes]:
    """A render of a document with a page without end, once its other pages are delivered.

    The journal is asked: a page stands in the output a moment before its entry does in the journal.
    """
    process = start("render", document, stderr=subprocess.DEVNULL)

    def others_delivered() -> bool:
        report = sshrender("status", document.stem, "--json")
        return report.returncode == 0 and json.loads(report.stdout)["pages"]["missing"] == 1

    wait_until(others_delivered, 60, "all pages but one")
    return process


@pytest.fixture
def endless(home: Path, paced: Paced) -> Path:
    """Two pages, and one that no renderer ends, though it takes no core."""
    paced(0, last=2)
    return pdfs.write(home / "endless.pdf", pdfs.numbered(3))


def test_no_job_is_no_error(sshrender: Run, san: Path) -> None:
    answer = sshrender("status")
    assert (answer.returncode, answer.stdout) == (0, "no jobs\n")
    assert json.loads(sshrender("status", "--json").stdout) == {"schema": 1, "jobs": [], "exit_code": 0}


def test_a_job_that_is_done(sshrender: Run, san: Path, home: Path) -> None:
    document = pdfs.write(home / "five.pdf", pdfs.numbered(5))
    ran = json.loads(sshrender("render", document, "--pages", "2-4", "--json").stdout)
    report = json.loads(sshrender("status", "five", "--json").stdout)
    assert report["state"] == "done"
    assert report["coordinator"] is None
    for key in ("job", "job_dir", "output", "pages", "failed_pages", "suspect_pages"):
        assert report[key] == ran[key]
    shown = sshrender("status", "five").stdout
    assert "3 of 3 delivered" in shown
    assert "pages 2-4" in shown
    assert f"{ran['job']}  done   3/3" in sshrender("status").stdout


def test_a_job_that_runs_and_one_whose_coordinator_died(
    sshrender: Run, start: Start, san: Path, endless: Path
) -> None:
    process = _start(start, sshrender, endless)
    try:
        report = json.loads(sshrender("status", "endless", "--json").stdout)
        assert report["state"] == "running"
        assert f"pid {process.pid}" in report["coordinator"]
        assert report["pages"] == {"total": 3, "done": 2, "failed": 0, "missing": 1, "suspect": 0}
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    report = json.loads(sshrender("status", "endless", "--json").stdout)
    assert (report["state"], report["reason"]) == ("partial", "its coordinator is gone")
    assert "hint: sshrender resume endless-" in sshrender("status", "endless").stdout


def test_a_page_that_failed_and_its_story(sshrender: Run, san: Path, endless: Path) -> None:
    answer = sshrender("render", endless, "--page-timeout", page_timeout(2), "--retries", "2")
    assert answer.returncode == 3
    report = json.loads(sshrender("status", "endless", "--json").stdout)
    assert report["state"] == "partial"
    assert [page["page"] for page in report["failed_pages"]] == [3]
    told = sshrender("why", "endless", "--page", "3").stdout
    assert told.count("page 3 sent to localhost") == 2
    assert told.count("failed on localhost (timeout)") == 2
    assert "failed after 2 attempts" in told
    assert told.splitlines()[-1].startswith("page 3 has failed")
    # Tried again with the time that it had, it would only fail again.
    assert f"sshrender resume {report['job']} --page-timeout " in told.splitlines()[-1]
    entries = json.loads(sshrender("why", "endless", "--page", "3", "--json").stdout)["entries"]
    assert [entry["type"] for entry in entries].count("attempt_failed") == 2
    assert all(entry["words"] for entry in entries)
    assert sshrender("why", "endless", "--page", "1").stdout.splitlines()[-1] == "page 1 is delivered"


def test_the_story_of_a_host(sshrender: Run, san: Path, home: Path) -> None:
    sshrender("render", pdfs.write(home / "five.pdf", pdfs.numbered(5)))
    told = sshrender("why", "five", "--host", "localhost").stdout
    assert "run 1 started on" in told
    assert "run ended: done" in told
    assert told.splitlines()[-1] == "localhost: 5 pages, 0 failures"


def test_a_job_is_meant_by_name_beginning_or_folder(sshrender: Run, san: Path, home: Path) -> None:
    document = pdfs.write(home / "five.pdf", pdfs.numbered(5))
    for dpi in (36, 72):
        assert sshrender("render", document, "-r", dpi, "-o", f"at-{dpi}").returncode == 0
    names = sorted(path.name for path in san.iterdir())
    for named in (names[0], names[0][:-1], san / names[0], os.path.relpath(san / names[0], home)):
        assert json.loads(sshrender("status", named, "--json").stdout)["job"] == names[0]
    both = sshrender("status", "five")
    assert both.returncode == 2
    assert names[0] in both.stderr
    assert names[1] in both.stderr


def test_a_question_that_has_no_answer_says_what_to_ask(sshrender: Run, san: Path, home: Path) -> None:
    sshrender("render", pdfs.write(home / "five.pdf", pdfs.numbered(5)))
    for words, said in (
        (["status", "nothing"], "there is no job nothing"),
        (["status", "./here"], "is not the folder of a job"),
        (["why", "five", "--page", "1", "--host", "localhost"], "--page and --host cannot be used"),
        (["why", "five", "--page", "9"], "page 9 is not a page of this job"),
        (["why", "five", "--host", "elsewhere"], "elsewhere is not a host of this job"),
    ):
        answer = sshrender(*words)
        assert answer.returncode == 2, words
        assert said in answer.stderr
        assert "hint: " in answer.stderr


def test_damaged_jobs_and_journals_hide_no_others(sshrender: Run, san: Path, home: Path) -> None:
    sshrender("render", pdfs.write(home / "five.pdf", pdfs.numbered(5)))
    (job,) = san.iterdir()
    with (job / "journal.jsonl").open("ab") as journal:
        journal.write(
            b'{"schema": 2, "time": 7, "type": "host_state"}\n{"schema": 2, "type": "x"}\nrubbish'
        )
    (san / "odd-12345678").mkdir()
    (san / "odd-12345678" / "job.json").write_text("{")
    answer = sshrender("status")
    assert answer.returncode == 0
    assert "5/5" in answer.stdout
    assert "5 of 5 delivered" in sshrender("status", "five").stdout


def test_a_san_that_is_not_there_is_said(sshrender: Run, san: Path) -> None:
    answer = sshrender("status", "--san", san / "gone")
    assert answer.returncode == 6
    assert "does not exist" in answer.stderr


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, LeaseGone.REASON),
        ({"held": "bob@desk"}, "held by bob@desk, while this run did not renew its lease"),
        (
            {"over": "cancelled", "why": "cancelled by bob@desk"},
            "cancelled by bob@desk, while this run did not renew its lease",
        ),
    ],
)
def test_a_run_that_was_stopped_says_which_command_took_its_job(
    san: Path, attributes: dict[str, Any], reason: str
) -> None:
    folder = jobs.make(san, "one", **attributes)
    parts: dict[str, Any] = {field.name: None for field in fields(Outcome)}
    outcome = Outcome(**{**parts, "reason": LeaseGone.REASON})
    assert with_taker(folder, outcome).reason == reason
    # Any other end has its own reason.
    assert with_taker(folder, replace(outcome, reason="signal 2")).reason == "signal 2"


def test_hosts_are_shown_as_they_are_in_the_newest_run(san: Path) -> None:
    lost = ("host_state", {"host": "node1", "state": "lost", "reason": "gone"})
    jobs.make(san, "one", [started(), delivered(1), lost, ended("partial"), started()])
    (report,) = job_reports(san, {})
    assert [(host.name, host.state, host.reason) for host in report.hosts] == [("node1", "unknown", "")]
