"""The queue, as a person and as cron use it, on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from tests import pdfs
from tests.cli.conftest import Paced
from tests.conftest import Run, Start
from tests.entries import delivered, lines_of
from tests.stretch import wait_until


@pytest.fixture
def papers(home: Path) -> Path:
    """A folder of three documents, and something else."""
    folder = home / "papers"
    folder.mkdir()
    for name in ("one", "two", "three"):
        pdfs.write(folder / f"{name}.pdf", pdfs.numbered(3))
    (folder / "notes.txt").write_text("none")
    return folder


def _states(sshrender: Run) -> dict[str, str]:
    """By the document's name."""
    jobs = json.loads(sshrender("status", "--json").stdout)["jobs"]
    return {Path(job["document"]["name"]).stem: job["state"] for job in jobs}


def _started(home: Path, *words: str) -> list[str]:
    """The jobs in the order in which they were begun."""
    found = []
    for path in home.glob(".local/state/sshrender/*/journal.jsonl"):
        entries = lines_of(path)
        began = [entry["time"] for entry in entries if entry["type"] == "run_started"]
        found += [(began[0], path.parent.name.partition("-")[0])] if began else []
    return [name for _, name in sorted(found)]


def _await_pages(home: Path, count: int) -> None:
    """Wait until so many pages of the job "long" are on record as delivered."""
    journals = ".local/state/sshrender/long-*/journal.jsonl"
    wait_until(lambda: len(delivered(home.glob(journals))) >= count, what=f"{count} pages")


def test_a_folder_is_submitted_and_seen_through(sshrender: Run, home: Path, papers: Path) -> None:
    answer = sshrender("submit", papers, "-r", "36", "-o", "out")
    assert answer.returncode == 0, answer.stderr
    names = answer.stdout.splitlines()
    assert [name.partition("-")[0] for name in names] == ["one", "three", "two"]
    assert set(_states(sshrender).values()) == {"queued"}
    answer = sshrender("coordinate", "--once", "--quiet")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert set(_states(sshrender).values()) == {"done"}
    for name in ("one", "two", "three"):
        made = sorted(path.name for path in (home / "out" / f"{name}-pages").iterdir())
        assert made == ["page-0001.png", "page-0002.png", "page-0003.png"]
    answer = sshrender("coordinate", "--once")
    assert (answer.returncode, answer.stderr) == (0, ""), "nothing is left"


def test_patterns_priorities_and_jobs_after_others(sshrender: Run, home: Path, papers: Path) -> None:
    assert sshrender("submit", "papers/o*.pdf", "-r", "36").returncode == 0
    assert sshrender("submit", "papers/two.pdf", "-r", "36", "--priority", "9").returncode == 0
    answer = sshrender("submit", "papers/three.pdf", "-r", "36", "--priority", "99", "--after", "one")
    assert answer.returncode == 0, answer.stderr
    assert sshrender("coordinate", "--once", "--jobs", "1").returncode == 0
    assert _started(home) == ["two", "one", "three"]


def test_no_job_comes_after_itself(sshrender: Run, home: Path, papers: Path) -> None:
    assert sshrender("submit", "papers/one.pdf", "-r", "36").returncode == 0
    assert sshrender("submit", "papers/two.pdf", "-r", "36", "--after", "one").returncode == 0
    answer = sshrender("alter", "one", "--after", "two")
    assert (answer.returncode, "none of them would ever start" in answer.stderr) == (2, True)
    assert "hint: sshrender alter two-" in answer.stderr
    answer = sshrender("submit", "papers/one.pdf", "-r", "36", "--after", "two")
    assert answer.returncode == 2
    assert sshrender("alter", "two", "--after", "").returncode == 0
    assert sshrender("alter", "one", "--after", "two").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert _started(home) == ["two", "one"]


def test_several_jobs_that_are_altered_get_a_folder_each(
    sshrender: Run, home: Path, papers: Path
) -> None:
    assert sshrender("submit", "papers/one.pdf", "papers/two.pdf", "-r", "36").returncode == 0
    assert sshrender("alter", "one", "two", "-o", "out").returncode == 0
    assert sshrender("coordinate", "--once", "--quiet").returncode == 0
    for name in ("one", "two"):
        assert len(list((home / "out" / f"{name}-pages").glob("*.png"))) == 3


def test_what_changes_nothing_says_so(sshrender: Run, home: Path, papers: Path) -> None:
    assert sshrender("submit", "papers/one.pdf", "-r", "36").returncode == 0
    assert "was not held" in sshrender("release", "one").stderr
    assert sshrender("coordinate", "--once").returncode == 0
    answer = sshrender("cancel", "one")
    assert (answer.returncode, "has ended already: done" in answer.stderr) == (0, True)
    assert set(_states(sshrender).values()) == {"done"}


def test_hold_release_cancel_and_again(sshrender: Run, home: Path, papers: Path) -> None:
    assert sshrender("submit", "papers/one.pdf", "-r", "36", "--hold").returncode == 0
    assert sshrender("submit", "papers/two.pdf", "-r", "36").returncode == 0
    assert sshrender("cancel", "two").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"one": "held", "two": "cancelled"}
    assert "held by" in sshrender("status", "one").stdout
    answer = sshrender("resume", "one")
    assert answer.returncode == 2
    assert "hint: sshrender release one-" in answer.stderr
    assert sshrender("release", "one").returncode == 0
    assert sshrender("resubmit", "two").returncode == 0
    assert _states(sshrender) == {"one": "queued", "two": "queued"}
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"one": "done", "two": "done"}
    told = sshrender("why", "two", "--page", "1", "--json").stdout
    assert json.loads(told)["now"] == "page 1 is delivered"


def test_what_is_not_due_yet_stays(sshrender: Run, papers: Path) -> None:
    assert sshrender("submit", "papers/one.pdf", "--not-before", "2h").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"one": "queued"}
    assert "not before" in sshrender("status", "one").stdout
    assert sshrender("alter", "one", "--not-before", "").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"one": "done"}


def test_submitting_again_is_harmless(sshrender: Run, papers: Path) -> None:
    first = sshrender("submit", "papers/one.pdf")
    again = sshrender("submit", "papers/one.pdf")
    assert first.stdout == again.stdout
    assert "in the queue already" in again.stderr
    assert sshrender("submit", "papers/one.pdf", "--priority", "7", "--hold").returncode == 0
    job = json.loads(sshrender("status", "one", "--json").stdout)
    assert (job["priority"], job["state"]) == (7, "held")
    assert sshrender("release", "one").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    assert "done already" in sshrender("submit", "papers/one.pdf").stderr
    assert _states(sshrender) == {"one": "done"}


def test_one_that_cannot_be_submitted_does_not_keep_the_others(
    sshrender: Run, home: Path, papers: Path
) -> None:
    (papers / "bad.pdf").write_text("no PDF at all")
    answer = sshrender("submit", papers, "--json")
    assert answer.returncode == 5
    told = json.loads(answer.stdout)["jobs"]
    assert [job["state"] for job in told] == ["failed", "queued", "queued", "queued"]
    assert not (home / "bad-pages").exists()


def test_a_job_that_needs_a_password_that_is_not_here_waits_for_a_machine_that_has_it(
    sshrender: Run, home: Path, papers: Path
) -> None:
    pdfs.protect(papers / "one.pdf", home / "locked.pdf", "s3cret")
    (home / "password").write_text("s3cret\n")
    answer = sshrender("submit", "locked.pdf", "--password-file", "password")
    assert answer.returncode == 0, answer.stderr
    assert "s3cret" not in "".join(
        path.read_text(errors="replace") for path in home.glob(".local/state/sshrender/*/*.json")
    )
    (home / "password").rename(home / "elsewhere")
    assert sshrender("coordinate", "--once").returncode == 2
    job = json.loads(sshrender("status", "locked", "--json").stdout)
    assert job["state"] == "queued", "another machine may have the password"
    assert "password" in job["reason"]
    (home / "elsewhere").rename(home / "password")
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"locked": "done"}


def test_a_killed_render_is_taken_over_and_no_proved_page_is_drawn_again(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.5, last=8)
    document = pdfs.write(home / "long.pdf", pdfs.numbered(30))
    render = start("render", document, "--progress", "none")
    pages = home / "long-pages"
    _await_pages(home, 6)
    render.kill()
    render.wait()
    paced(0)
    assert sshrender("coordinate", "--once", timeout=200).returncode == 0
    assert len(list(pages.glob("page-*.png"))) == 30
    (journal,) = home.glob(".local/state/sshrender/long-*/journal.jsonl")
    entries = lines_of(journal)
    second = [n for n, entry in enumerate(entries) if entry["type"] == "run_started"][1]
    before = {entry["page"] for entry in entries[:second] if entry["type"] == "page_delivered"}
    after = {entry["page"] for entry in entries[second:] if entry["type"] == "page_sent"}
    assert before
    assert not before & after


def test_a_render_that_was_stopped_by_hand_is_left_alone(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.5, last=8)
    document = pdfs.write(home / "long.pdf", pdfs.numbered(30))
    render = start("render", document, "--progress", "none")
    _await_pages(home, 6)
    render.send_signal(signal.SIGINT)
    assert render.wait(90) == 130
    paced(0)
    assert sshrender("coordinate", "--once").returncode == 0
    assert _states(sshrender) == {"long": "partial"}
    answer = sshrender("resume", "long", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["pages"]["done"] == 30


def test_a_service_stops_at_a_signal_and_its_job_waits_for_the_next(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.5, last=8)
    document = pdfs.write(home / "long.pdf", pdfs.numbered(30))
    assert sshrender("submit", document).returncode == 0
    service = start("coordinate", stderr=subprocess.PIPE)
    _await_pages(home, 6)
    assert _states(sshrender) == {"long": "running"}
    service.terminate()
    assert service.wait(90) == 143
    paced(0)
    assert _states(sshrender) == {"long": "queued"}
    assert sshrender("coordinate", "--once", timeout=200).returncode == 0
    assert _states(sshrender) == {"long": "done"}


def test_a_running_job_is_held_released_and_limited(
    sshrender: Run, start: Start, home: Path, paced: Paced
) -> None:
    paced(0.5, last=8)
    document = pdfs.write(home / "long.pdf", pdfs.numbered(30))
    assert sshrender("submit", document, "--limit", "1").returncode == 0
    service = start("coordinate", stderr=subprocess.DEVNULL)
    try:
        _await_pages(home, 4)
        assert sshrender("hold", "long", "--note", "not now").returncode == 0
        job = json.loads(sshrender("status", "long", "--json").stdout)
        assert job["state"] == "held"
        assert job["reason"].endswith(": not now")
        assert sshrender("alter", "long", "--limit", "none", "--priority", "7").returncode == 0
        paced(0)
        assert sshrender("release", "long").returncode == 0
        (folder,) = home.glob(".local/state/sshrender/long-*")
        wait_until(lambda: jobattributes.load(JobFolder(folder)).over == "done", 120)
    finally:
        service.terminate()
        service.wait(90)
    job = json.loads(sshrender("status", "long", "--json").stdout)
    assert (job["state"], job["priority"]) == ("done", 7)


def test_space_comes_back_and_accounts_stay(sshrender: Run, home: Path, papers: Path) -> None:
    for name in ("one", "two"):
        assert sshrender("render", papers / f"{name}.pdf").returncode == 0
    assert sshrender("submit", papers / "three.pdf").returncode == 0
    before = sshrender("report", "--by", "user,month").stdout
    assert " 6 " in before.splitlines()[1]
    assert json.loads(sshrender("clean", "--older-than", "30d", "--json").stdout) == (
        {"schema": 1, "removed": [], "kept": [], "dry_run": False, "exit_code": 0}
    )
    answer = sshrender("clean", "three")
    assert answer.returncode == 2
    assert "is queued, not finished" in answer.stderr
    assert sshrender("clean", "--older-than", "0s").returncode == 0
    assert _states(sshrender) == {"three": "queued"}
    assert sshrender("report", "--by", "user,month").stdout == before
    assert len(list((home / "one-pages").iterdir())) == 3
    rows = json.loads(sshrender("status", "--all", "--json").stdout)["jobs"]
    assert sorted(row["state"] for row in rows) == ["queued", "removed", "removed"]
    removed = [row for row in rows if row["state"] == "removed"]
    assert sum(account["pages"] for row in removed for account in row["accounts"]) == 6


def test_somebody_is_told(sshrender: Run, home: Path, papers: Path) -> None:
    script = home / "told"
    script.write_text('#!/bin/sh\necho "$SSHRENDER_JOB $SSHRENDER_STATE" >> "$HOME/ends"\n')
    script.chmod(0o755)
    (home / "sshrender.toml").write_text(f'on_done = ["{script}"]\n')
    assert sshrender("submit", papers, "-r", "20").returncode == 0
    assert sshrender("coordinate", "--once").returncode == 0
    ends = (home / "ends").read_text().splitlines()
    assert sorted(line.split("-")[0] for line in ends) == ["one", "three", "two"]
    assert all(line.endswith(" done") for line in ends)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["submit", "nothing/*.pdf"], 5, "no PDF is there"),
        (["submit", "papers/one.pdf", "--priority", "2000"], 2, "--priority 2000"),
        (["submit", "papers/one.pdf", "--limit", "0"], 2, "--limit 0"),
        (["submit", "papers/one.pdf", "--not-before", "noon"], 2, "a start time is 22:30"),
        (["submit", "papers/one.pdf", "--after", "nobody"], 2, "there is no job nobody"),
        (["hold", "nobody"], 2, "there is no job nobody"),
        (["alter", "nobody"], 2, "no change is given"),
        (["clean"], 2, "name the jobs, or give"),
        (["clean", "--older-than", "soon"], 2, "a time is written as"),
        (["report", "--by", "colour"], 2, "there is no colour"),
        (["resume", "nobody"], 2, "there is no job nobody"),
        (["coordinate", "--once", "--san", "/nowhere"], 6, "does not exist"),
    ],
)
def test_what_cannot_be_meant_is_said(
    sshrender: Run, papers: Path, words: list[str], code: int, said: str
) -> None:
    answer = sshrender(*words)
    assert answer.returncode == code
    assert said in answer.stderr
    assert "hint: " in answer.stderr
