"""``status``, ``why JOB`` and ``clean`` on jobs in every state, and what a job took."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sshrender.api import jobselection
from sshrender.api.joblistsource import JobListSource
from sshrender.api.statusreports import job_reports
from sshrender.cli import tablewatch
from sshrender.cli.app import app
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes, lease
from sshrender.job.spec import RecipeRecord, load_spec
from sshrender.views import jobstats
from sshrender.views.rate import JournalRate
from tests.cli import jobs
from tests.cli.jobs import delivered, ended, failed, sent, started
from tests.conftest import PROGRAM
from tests.entries import entry

MUTOOL = RecipeRecord(name="mutool", steps=(("mutool",),), extension="png", format="png")
QUEUED = "2026-01-02T00:00:00.000Z"

HINT = "hint: sshrender coordinate"

Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command in this process; return its standard output."""

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        found = app(list(words), standalone_mode=False)
        assert (found or 0) == code
        return capsys.readouterr().out

    return run


@pytest.fixture
def queue(san: Path) -> Iterator[Path]:
    """A shared folder with a job in nearly every state."""
    whole = [started(), *(delivered(page) for page in (1, 2, 3)), ended("done")]
    jobs.make(san, "alpha", whole)
    jobs.make(san, "beta", whole, at=jobs.LONG_AGO + 1000)
    jobs.make(san, "gamma", [started(), delivered(1), ended("partial", "signal 2")])
    jobs.make(san, "delta", submitted=QUEUED, owner="bob@desk")
    jobs.make(san, "epsilon", submitted=QUEUED, priority=5, owner="bob@mill", recipes=(MUTOOL,))
    jobs.make(san, "eta", [started(), delivered(1), ended("cancelled")], over="cancelled")
    jobs.make(san, "theta", submitted=QUEUED, held="bob@desk")
    zeta = jobs.make(san, "zeta", [started(), delivered(1)], submitted=QUEUED)
    held = lease.take(zeta.lease)
    yield san
    held.release()


def _jobs(text: str) -> list[str]:
    return [row["job"].partition("-")[0] for row in json.loads(text)["jobs"]]


def test_running_jobs_come_first_then_those_that_wait_in_their_order(queue: Path, say: Say) -> None:
    order = ["zeta", "epsilon", "delta", "theta", "gamma", "eta", "beta", "alpha"]
    assert _jobs(say("status", "--json")) == order
    lines = say("status").splitlines()
    assert [line.partition("-")[0] for line in lines[1:]] == order
    assert "mutool 36 dpi" in lines[2]
    assert "png16m 36 dpi" in lines[1]


def test_a_job_that_waits_says_how_many_are_before_it(queue: Path, say: Say) -> None:
    rows = {row["job"].partition("-")[0]: row for row in json.loads(say("status", "--json"))["jobs"]}
    waits = {name: (row["queue_place"], row["waits"]) for name, row in rows.items() if row["waits"]}
    assert waits == {"epsilon": (1, "next in the queue"), "delta": (2, "1 job before it")}
    lines = say("status").splitlines()
    listed = {line.partition("-")[0]: line for line in lines}
    assert listed["delta"].endswith("1 job before it")
    assert listed["theta"].endswith("held by bob@desk")
    assert HINT not in lines, "a coordinator will take them"
    line = next(line for line in JobListSource(queue, "", []).read().jobs if "delta" in line.name)
    assert (line.place, line.waits) == (2, "1 job before it")


def test_where_no_coordinator_runs_the_command_that_starts_one_is_said(san: Path, say: Say) -> None:
    jobs.make(san, "one", submitted=QUEUED)
    jobs.make(san, "two", submitted="2026-01-02T00:01:00.000Z")
    jobs.make(san, "rendered", [started(), delivered(1), ended("partial", "signal 2")])
    whole = say("status", "two").splitlines()
    assert whole[-2:] == ["  waits     1 job before it, no coordinator has started it yet", HINT]
    assert say("status").splitlines()[-1] == HINT
    row = json.loads(say("status", "one", "--json"))
    assert (row["queue_place"], row["waits"]) == (1, "no coordinator has started it yet")
    # A job that is rendered in the foreground is no sign of a coordinator.
    foreground = lease.take(jobs.make(san, "foreground", [started()]).lease)
    assert say("status").splitlines()[-1] == HINT
    assert say("status", "one").splitlines()[-1] == HINT
    foreground.release()


def test_a_job_that_no_coordinator_starts_is_before_no_other(san: Path, say: Say) -> None:
    """Something else than its user has written its attributes."""
    written = jobs.make(san, "written", submitted=QUEUED)
    jobs.make(san, "two", submitted="2026-01-02T00:01:00.000Z")
    fields = json.loads(written.attributes.read_text())
    written.attributes.write_text(json.dumps({**fields, "priority": 7}))
    rows = {row["job"].partition("-")[0]: row for row in json.loads(say("status", "--json"))["jobs"]}
    alone = {name: json.loads(say("status", name, "--json")) for name in rows}
    places = [{name: row["queue_place"] for name, row in found.items()} for found in (rows, alone)]
    listed = JobListSource(san, "", [])
    for _ in range(2):
        places.append({line.name.partition("-")[0]: line.place for line in listed.read().jobs})
    assert places == 4 * [{"written": None, "two": 1}]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--state", "running"], ["zeta"]),
        (["--state", "partial,done", "--state", "Held"], ["theta", "gamma", "beta", "alpha"]),
        (["--user", "bob"], ["epsilon", "delta"]),
        (["--user", "bob@mill"], ["epsilon"]),
        (["--user", "bob", "--state", "running"], []),
        (["--state", "removed"], []),
    ],
)
def test_jobs_are_selected_by_state_and_user(
    queue: Path, say: Say, words: list[str], found: list[str]
) -> None:
    assert _jobs(say("status", "--json", *words)) == found
    assert ("no job is like this" in say("status", *words)) == (not found)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--state", "canceled"], "did you mean cancelled"),
        (["--state", ","], "no job has such a state"),
        (["alpha", "--state", "done"], "--state selects from all jobs"),
        (["alpha", "--user", "ann"], "--user selects from all jobs"),
        (["--stats"], "--stats is about one job"),
        (["--watch", "--json"], "--json prints one object"),
        (["--watch", "--interval", "soon"], "a time is written as"),
        (["--watch", "--interval", "0"], "at least 0.5 s"),
    ],
)
def test_options_that_make_no_sense_together_are_refused_with_a_command_that_works(
    san: Path, say: Say, words: list[str], what: str
) -> None:
    jobs.make(san, "alpha", [started(), delivered(1)])
    with pytest.raises(UserError, match=what) as raised:
        app(["status", *words], standalone_mode=False)
    assert raised.value.code == ExitCode.USAGE
    program, *hinted = shlex.split(raised.value.hint)
    assert program == "sshrender"
    if "--watch" not in hinted:  # which has no end
        say(*hinted)


def test_every_state_that_a_job_can_have_can_be_selected(queue: Path) -> None:
    damaged: dict[str, str] = {}
    assert {report.state for report in job_reports(queue, damaged)} <= set(jobselection.STATES)
    assert damaged == {}


def test_the_time_left_follows_from_the_last_run_and_survives_wrong_clocks() -> None:
    at = jobs.LONG_AGO
    rate = JournalRate()
    lines = [entry("run_started", at, epoch=1, output="/out", pages=9)]
    lines += [entry(kind, at + fields["page"], **fields) for kind, fields in map(delivered, range(1, 6))]
    assert len(list(rate.following(lines))) == 6
    assert rate.left(at + 5, 4) == pytest.approx(4, abs=1)
    assert rate.left(at - 3600, 4) == pytest.approx(4, abs=1), "this machine's clock is an hour slow"
    assert rate.left(at + 3600, 4) == rate.left(at + 35, 4), "or an hour fast"
    list(rate.following([entry("storage_failed", at + 6, reason="full")]))
    assert rate.left(at + 6, 4) is None
    list(rate.following([entry("run_started", at + 7, epoch=2, output="/out", pages=9)]))
    assert rate.left(at + 7, 4) is None, "a new run has no rate yet"


# --watch


def _tables(*texts: str) -> Callable[[], tablewatch.Shown]:
    """Return these tables, one after the other; the last one is the last to be shown."""
    left = list(texts)

    def read() -> tablewatch.Shown:
        text = left.pop(0)
        if text == "broken":
            raise UserError(ExitCode.STORAGE, "the SAN does not answer", "mount it")
        return tablewatch.Shown(text.splitlines(), is_last=not left)

    return read


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited: nothing here takes any time."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    monkeypatch.setattr(tablewatch, "_now", lambda: "NOW")
    return found


def test_a_log_gets_a_table_where_it_has_changed(
    capsys: pytest.CaptureFixture[str], waits: list[float]
) -> None:
    tablewatch.repeat(_tables("one", "one", "broken", "two"), 7.0)
    assert capsys.readouterr().out.splitlines() == [
        *("NOW", "one", ""),
        *("NOW", "error: the SAN does not answer", "hint: mount it", ""),
        *("NOW", "two"),
    ]
    assert waits == [7.0, 7.0, 7.0]


def test_the_first_table_that_cannot_be_read_is_an_error(waits: list[float]) -> None:
    with pytest.raises(UserError, match="does not answer"):
        tablewatch.repeat(_tables("broken"), 7.0)


def test_a_terminal_shows_each_table_in_place_and_within_its_size(
    capsys: pytest.CaptureFixture[str], waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((12, 6)))
    tablewatch.repeat(_tables("one", "a wide line of text\n紙紙紙紙紙紙紙\n3\n4\n5\n6"), 2.0)
    _, first, second = capsys.readouterr().out.split("\x1b[H\x1b[2J")
    assert first.splitlines()[1:] == ["one"]
    assert second.splitlines()[1:] == ["a wide line ", "紙紙紙紙紙紙", "3", "and 3 more l"]


# why JOB


def _problems(say: Say, job: str) -> list[dict[str, Any]]:
    found = json.loads(say("why", job, "--json"))
    assert found["job"].startswith(job)
    problems: list[dict[str, Any]] = found["problems"]
    text = say("why", job)
    assert all(each["words"] in text for each in problems)
    return problems


def test_all_problems_of_a_job_are_grouped_by_their_cause(san: Path, say: Say) -> None:
    give_up = {"kind": "timeout", "attempts": 2, "hosts": ["node1", "node2"]}
    jobs.make(
        san,
        "sick",
        [
            started(9),
            ("host_state", {"host": "node3", "state": "refused", "reason": "no python3"}),
            ("host_state", {"host": "node2", "state": "lost", "reason": "no answer in 8.1 s"}),
            ("host_state", {"host": "node2", "state": "idle", "reason": ""}),
            ("host_state", {"host": "node2", "state": "lost", "reason": "no answer in 9.4 s"}),
            ("storage_failed", {"reason": "No space left on device"}),
            failed(1, kind="storage", reason="No space left on device"),
            ("storage_recovered", {}),
            failed(1),
            delivered(1),
            failed(2, "node2"),
            delivered(2),
            *(delivered(page, diagnostics=["unknown operator: foo"]) for page in (3, 4)),
            failed(5, kind="timeout", reason="took longer than 2.0 s"),
            ("page_failed", {"page": 5, "reason": "took longer than 2.0 s", **give_up}),
            ("page_failed", {"page": 6, "reason": "took longer than 2.1 s", **give_up}),
            ("page_fell_back", {"page": 7, "to": "mutool", "reason": "crashed"}),
            delivered(7),
            ("fonts_missing", {"fonts": {"Helvetica": "1-2"}}),
            ended("partial", "signal 2"),
        ],
        pages=9,
    )
    found = {(each["kind"], each["state"]): each for each in _problems(say, "sick")}
    pages = {key: each["pages"] for key, each in found.items() if each["pages"]}
    assert pages == {
        ("failed", "timeout"): [5, 6],
        ("missing", ""): [8, 9],
        ("suspect", ""): [3, 4],
        ("retried", "crashed"): [1, 2],
        ("fallback", "mutool"): [7],
    }
    assert found["failed", "timeout"]["times"] == 4
    assert found["retried", "crashed"]["hosts"] == ["node1", "node2"]
    assert found["host", "lost"]["times"] == 2
    assert found["host", "refused"]["cause"] == "no python3"
    assert "for 2s: No space left on device" in found["pause", ""]["words"]
    assert "signal 2" in found["run", "partial"]["words"]
    assert "Helvetica" in found["document", ""]["words"]
    hints = [line for line in say("why", "sick").splitlines() if line.startswith("hint: ")]
    assert hints == [
        "hint: the history of page 5: sshrender why sick-12345678 --page 5",
        "hint: to render the missing and failed pages: sshrender resume sick-12345678",
    ]
    assert "page 5 has failed" in say(*shlex.split(hints[0].rpartition(": ")[2])[1:])


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "no coordinator has started it yet"),
        ({"held": "bob@desk", "why": "disk"}, "held by bob@desk: disk"),
        ({"after": ["one-12345678"]}, "after one-12345678"),
        ({"not_before": "2099-01-01T00:00:00.000Z"}, "it starts after 20"),
    ],
)
def test_what_a_job_waits_for_is_a_problem(
    san: Path, say: Say, attributes: dict[str, Any], words: str
) -> None:
    jobs.make(san, "late", submitted=QUEUED, **attributes)
    (first, *_) = _problems(say, "late")
    assert first["kind"] == "waiting"
    assert words in say("why", "late")


def test_a_job_without_problems_says_so_and_a_pause_lasts_until_it_ends(san: Path, say: Say) -> None:
    whole = [started(), *(delivered(page) for page in (1, 2, 3)), ended("done")]
    jobs.make(san, "fine", whole)
    assert _problems(say, "fine") == []
    assert "no problem is on record" in say("why", "fine")
    jobs.make(san, "full", [started(), ("storage_failed", {"reason": "full"})])
    pause = next(each for each in _problems(say, "full") if each["kind"] == "pause")
    assert pause["until"] == ""
    assert "paused since" in pause["words"]


def test_a_damaged_journal_of_thousands_of_causes_is_cut_where_it_is_printed(
    san: Path, say: Say
) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    events = [started(), *(failed(1, reason=f"cause {letter}") for letter in letters), delivered(1)]
    jobs.make(san, "noisy", events)
    text = say("why", "noisy")
    assert text.count("tried again") == 20
    assert "and 6 more like these" in text


# --stats


def test_what_a_job_took_is_summed_over_its_runs() -> None:
    events = [
        started(),
        sent(1),
        sent(2),
        failed(2),
        sent(2, "node2", "1.9"),
        sent(1, "node2", "1.8", because="it takes long"),
        delivered(1, "node2", attempt="1.8", seconds=4.0, bytes=500),
        delivered(2, "node2", attempt="1.9", seconds=0.5),
        ended("partial"),
        ("run_started", {"epoch": 2, "pages": 3, "output": "/out"}),
        sent(3),
        delivered(3, seconds=1.0),
        ended("done"),
        ("run_started", {"epoch": 3, "pages": 3, "output": "/out"}),
        ended("done"),
        delivered(77),
    ]
    lines = [entry(kind, jobs.LONG_AGO + 10 * at, **fields) for at, (kind, fields) in enumerate(events)]
    found = jobstats.of(lines, {1, 2, 3})
    assert found["runs"] == 2, "the last one did nothing"
    assert found["seconds"] == 70 + 20
    assert (found["pages"], found["bytes"]) == (3, 2500)
    assert found["pages_per_second"] == round(3 / 90, 3)
    assert found["cpu_seconds"] == 1.5
    assert found["render_seconds"] == 5.5
    assert (found["attempts"], found["failed_attempts"], found["retries"]) == (5, 1, 1)
    assert (found["hedges"], found["hedges_won"]) == (1, 1)
    assert [each["page"] for each in found["slowest_pages"]] == [1, 3, 2]
    text = "\n".join(jobstats.lines(found))
    assert "2.4 KiB in 3 pages" in text
    assert "page 1 4.00 s on node2" in text
    nothing = jobstats.of([], {1})
    assert (nothing["pages_per_second"], nothing["slowest_pages"]) == (None, [])
    assert "0 B in 0 pages" in "\n".join(jobstats.lines(nothing))


# clean


def _clean(say: Say, *words: str) -> tuple[list[str], dict[str, str]]:
    answer = json.loads(say("clean", "--json", *words))
    removed = [name.partition("-")[0] for name in answer["removed"]]
    return removed, {each["job"].partition("-")[0]: each["reason"] for each in answer["kept"]}


def test_without_a_terminal_clean_keeps_interrupted_jobs_and_says_so(queue: Path, say: Say) -> None:
    removed, kept = _clean(say, "--older-than", "30d", "--dry-run")
    assert sorted(removed) == ["alpha", "beta", "eta"]
    assert kept == {"gamma": "unfinished, 2 of 3 pages missing; --yes removes it, too"}
    assert _clean(say, "--older-than", "30d") == (removed, kept)
    assert _clean(say, "--older-than", "30d") == ([], kept)
    assert _clean(say, "--older-than", "30d", "--yes") == (["gamma"], {})
    assert _jobs(say("status", "--json")) == ["zeta", "epsilon", "delta", "theta"]


def test_a_named_job_is_removed_unless_it_is_too_recent(
    queue: Path, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.make(queue, "young", [started(), delivered(1), ended("partial")], at=time.time() - 60)
    removed, kept = _clean(say, "young", "alpha", "--older-than", "30d")
    assert removed == ["alpha"]
    assert kept["young"].startswith("its last event was ")
    capsys.readouterr()
    app(["clean", "gamma"], standalone_mode=False)
    assert "gamma-12345678 (unfinished, 2 of 3 pages missing) removed" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", []), (b"\n", ["gamma"])])
def test_at_a_terminal_clean_asks(
    san: Path, home: Path, say: Say, answer: bytes, left: list[str]
) -> None:
    jobs.make(san, "gamma", [started(), delivered(1), ended("partial", "signal 2")])
    jobs.make(san, "eta", [started(), delivered(1), ended("cancelled")], over="cancelled")
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "clean", "--older-than", "30d"], stdin=its, stdout=its, stderr=its, cwd=home
    )
    os.close(its)
    os.write(ours, answer)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    assert b"gamma-12345678: unfinished, 2 of 3 pages missing" in shown
    assert b"Remove this unfinished job, too?" in shown
    assert _jobs(say("status", "--json")) == left


@pytest.mark.parametrize("name", ["job.json", "attributes.json"])
def test_a_job_of_a_newer_version_is_not_called_damaged(san: Path, name: str) -> None:
    """Its owner would set aside, on our advice, a job that another machine can run."""
    folder = jobs.make(san, "new", submitted=QUEUED)
    file = folder.path / name
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "schema": 2, "unknown": 1}))
    read = load_spec if name == "job.json" else jobattributes.load
    with pytest.raises(UserError) as raised:
        read(folder)
    assert "written by a newer version of sshrender: it has schema 2" in raised.value.what
    assert raised.value.hint == "update the program on this machine"
    # A field of a wrong form is named.
    wrong = "created" if name == "job.json" else "priority"
    file.write_text(json.dumps({**fields, wrong: []}))
    with pytest.raises(UserError, match=f"{name} is damaged: {wrong} is wrong"):
        read(folder)
