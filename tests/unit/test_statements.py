"""What the program says of a job is true: pauses, hosts, percentages, durations, and how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.killedruns import record_end_by_hand
from sshrender.core import events as ev
from sshrender.core import queueorder, snapshot
from sshrender.core.policy import HostPlan, Policy
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import HostState
from sshrender.document import facts
from sshrender.errors import UserError
from sshrender.job import lease, spec
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journal import RESERVE, JournalWriter, read_journal
from sshrender.job.journal.journalentries import RunEnded
from sshrender.job.leasefiles import Claim
from sshrender.job.spec import DocumentRecord, JobSpec, RecipeRecord, RenderSettings
from sshrender.job.status import accounting, jobstatus
from sshrender.job.status.jobstatus import JobReport
from sshrender.runner import main as runner_main
from sshrender.runner.host import jobfolder
from sshrender.transports.interface import LinkClosed
from sshrender.views import hostwords, joblist, plain, progressboard, summary
from sshrender.views.dashboard import headline
from sshrender.views.dashboard.source import JobFacts
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import JobModel
from sshrender.views.rate import Rate
from sshrender.views.rendersettings import settings_in_words
from sshrender.views.text import clock_time
from tests.entries import entry
from tests.tui.journals import BEGAN, Journal

TIME = "2026-11-23T20:00:00.000Z"
SPEC = JobSpec(
    name="big-12345678",
    created=TIME,
    document=DocumentRecord(name="big.pdf", bytes=100, sha256="0" * 64, pages=10),
    settings=RenderSettings(device="png16m", dpi=150, pages="1-10"),
)
HOLDER = Claim(1, 1, "desk", 7, "", "", "0" * 32)
FULL = "No space left on device"
RECIPE = RecipeRecord(name="mutool", extension="png", format="png", steps=(("mutool", "{page}"),))


def _report(
    journal: Journal, holder: Claim | None = HOLDER, attributes: Attributes | None = None
) -> JobReport:
    return jobstatus.of(JobFolder(Path("/san/big-12345678")), SPEC, journal.entries, holder, attributes)


def _nothing() -> Journal:
    journal = Journal(10, ["node1"])
    journal.entries.clear()
    return journal


def _whole(report: JobReport) -> str:
    return "\n".join(joblist.whole(report.as_json()))


def _model(journal: Journal, pages: int = 10) -> JobModel:
    model = JobModel(range(1, pages + 1))
    for each in journal.entries:
        model.take(each)
    return model


def _headline(journal: Journal, coordinator: str, width: int = 160) -> str:
    known = JobFacts("big-12345678", "/san/big", "big.pdf", tuple(range(1, 11)), "png16m at 150 dpi")
    now = BEGAN + journal.now
    lines = headline.lines(known, _model(journal), coordinator, now, width, Styles())
    return "\n".join(line.plain for line in lines)


def test_a_job_that_was_killed_before_it_began_is_not_said_to_be_in_the_queue() -> None:
    """It was never submitted, so no coordinator takes it: it seemed to wait for its turn."""
    left = _report(_nothing(), holder=None, attributes=Attributes())
    assert "not in the queue" in left.reason
    assert _whole(left).endswith("hint: sshrender resume big-12345678")
    waits = _report(_nothing(), holder=None, attributes=Attributes().changed(submitted=TIME))
    assert (waits.state, waits.reason) == ("queued", "")
    assert "hint" not in _whole(waits)


def _finished(failed: int = 0) -> Journal:
    """Return a run of ten pages and sixty seconds, of which so many failed."""
    journal = Journal(10, ["node1", "node2"])
    for page in range(1, 11):
        journal.now = 6.0 * page
        attempt = journal.send(page, "node1")
        if page <= failed:
            journal.fail(page, "node1", attempt)
            journal.give_up(page, ["node1"])
        else:
            journal.deliver(page, "node1", attempt)
    journal.write("run_ended", state="partial" if failed else "done", reason="")
    return journal


def _ended_again(journal: Journal, after: float) -> Journal:
    """Add a run that finds nothing to do."""
    journal.now += after
    journal.write("run_started", epoch=2, pages=10, output="/out", hosts=["node1", "node2"])
    journal.now += 1
    journal.write("run_ended", state="done", reason="")
    return journal


def _paused() -> Journal:
    journal = Journal(10, ["node1"])
    journal.deliver(1, "node1", journal.send(1, "node1"))
    failing = journal.send(2, "node1")
    journal.now = 5.0
    journal.write("attempt_failed", page=2, host="node1", attempt=failing, kind="storage", reason=FULL)
    journal.write("storage_failed", reason=FULL, waits=300.0)
    journal.now = 10.0
    return journal


# A pause


def test_a_pause_is_a_state_with_its_times_and_its_reason() -> None:
    report = _report(_paused())
    told = report.as_json()
    since = journal_time(5)
    assert (told["state"], told["reason"]) == ("paused", FULL)
    assert told["paused"] == {"reason": FULL, "since": since, "until": journal_time(305)}
    words = _whole(report)
    assert f"paused on desk (pid 7) since {clock_time(since)}" in words
    assert f"waits until {clock_time(journal_time(305))} ({FULL})" in words


# Pilots in the queue of a batch system


def test_waiting_in_the_queue_is_a_state_with_the_engine_s_reason_and_time() -> None:
    journal = Journal(10, [])
    waits = {"pool": "cluster", "waiting": 3, "running": 0, "reason": "Resources", "start": "23:30"}
    journal.write("pool_reported", **waits)
    shown = _headline(journal, "desk (pid 7)")
    assert "waiting in the queue" in shown
    assert "pool cluster: 3 waiting, 0 running (Resources; expected to start 23:30)" in shown
    reason = "3 waiting in the queue: Resources; expected to start 23:30"
    report = _report(journal)
    assert (report.state, report.reason) == ("running", reason)
    assert "pool cluster: 3 waiting" in _whole(report)
    journal.write("pool_reported", **{**waits, "waiting": 2, "running": 1, "start": ""})
    journal.greet("slurm:12_3")
    journal.send(1, "slurm:12_3")
    shown = _headline(journal, "desk (pid 7)")
    assert "running" in shown.splitlines()[0]
    assert "2 waiting, 1 running (Resources)" in shown
    assert not _report(journal).reason
    # A coordinator that is gone, or the end of the run: the queue is none of its business any more.
    assert "pool cluster" not in _headline(journal, "")
    journal.write("run_ended", state="done", reason="")
    assert "pool cluster" not in _headline(journal, "desk (pid 7)")


def test_a_pool_stays_current_however_many_hosts_and_pools_a_journal_names() -> None:
    journal = Journal(10, [])
    for number in range(jobstatus.MAX_HOSTS + 5):
        journal.write("pool_reported", pool=f"p{number}", waiting=1, running=0, reason="", start="")
    journal.write("pool_reported", pool="p0", waiting=0, running=7, reason="", start="")
    report = _report(journal)
    assert len(report.pools) == jobstatus.MAX_HOSTS
    assert report.pools[0].running == 7
    model = _model(journal)
    assert model.pools.latest["p0"].running == 7
    assert len(model.pools.latest) < jobstatus.MAX_HOSTS


def journal_time(seconds: float) -> str:
    """Return a moment of a test's journal, as it is written there."""
    return entry("storage_recovered", BEGAN + seconds).time


def test_a_pause_is_charged_to_no_host() -> None:
    journal = _paused()
    assert [host["failures"] for host in _report(journal).as_json()["hosts"]] == [0]
    assert [host.failures for host in _model(journal).hosts.values()] == [0]
    assert [account.failures for account in accounting.of("big", "ann", journal.entries)] == [0]


@pytest.mark.parametrize("end", ["storage_recovered", "run_ended", "run_started"])
def test_a_pause_ends(end: str) -> None:
    journal = _paused()
    fields: dict[str, Any] = {"run_ended": {"state": "partial", "reason": "x"}}.get(end, {})
    journal.write(end, **fields, **({"epoch": 2} if end == "run_started" else {}))
    assert _report(journal).paused is None
    assert _model(journal).paused == ""
    assert _report(journal).state == "running"


def test_the_dashboard_says_since_when_a_run_is_paused_and_not_how_long_it_will_take() -> None:
    shown = _headline(_paused(), "desk (pid 7)")
    assert f"paused since {clock_time(journal_time(5))}" in shown
    assert "waits until" in shown
    assert "s left" not in shown
    narrow = _headline(_paused(), "desk (pid 7)", 48).splitlines()[0]
    assert f"big-12345678  paused, waits until {clock_time(journal_time(305))}" in narrow


def _paused_run() -> Scheduler:
    scheduler = Scheduler(Policy(storage_wait=300), [HostPlan("a", 1)], range(1, 4))
    scheduler.start(0.0)
    scheduler.handle(ev.HostConnected("a", 1, 0.0, 0.0), now=1.0)
    scheduler.handle(ev.StorageFailed(FULL), now=10.0)
    scheduler.handle(now=40.0)
    return scheduler


def test_a_snapshot_knows_how_long_a_run_is_paused_and_how_long_it_waits() -> None:
    shot = snapshot.take(_paused_run())
    assert (shot.paused, shot.paused_seconds, shot.pause_left) == (FULL, 30.0, 270.0)


def test_plain_lines_tell_a_pause_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    view = plain.PlainView(sys.stdout)
    shot = snapshot.take(_paused_run())
    for second in range(40):
        view.snapshot(replace(shot, paused_seconds=float(second)), float(second))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all("paused for" in line and FULL in line for line in lines)
    assert not any("s left" in line for line in lines)


def test_the_board_shows_no_time_left_while_a_run_is_paused() -> None:
    rate = Rate()
    for second in range(20):
        rate.note(float(second), second)
    # Without its host, which was not heard for so long that it is lost.
    running = replace(snapshot.take(_paused_run()), paused="", hosts=())
    assert " left" in progressboard._pace(running, rate, 20.0).plain
    assert " left" not in progressboard._pace(replace(running, paused=FULL), rate, 20.0).plain


def test_the_summary_after_ctrl_c_names_the_pause() -> None:
    told = {
        "job": "big-12345678", "state": "partial", "output": "/out", "seconds": 9.0, "hosts": [],
        "pages": {"total": 3, "done": 1, "suspect": 0, "failed": 0, "missing": 2},
        "failed_pages": [], "suspect_pages": [], "notes": [], "fonts_missing": [], "exit_code": 130,
        "reason": f"signal 2, while the run was paused: {FULL}",
        "paused": {"reason": FULL, "since": TIME, "until": None},
    }  # fmt: skip
    words = "\n".join(summary.lines(told))
    assert f"while the run was paused: {FULL}" in words
    assert f"paused since {clock_time(TIME)}" in words


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="needs Linux")
def test_the_journal_keeps_space_for_what_a_full_disk_does(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl", has_reserve=True)
    try:
        writer.append([entry("storage_failed", BEGAN, reason=FULL)])
        status = (tmp_path / "journal.jsonl").stat()
        assert list(read_journal(tmp_path / "journal.jsonl"))
    finally:
        writer.close()
    if status.st_blocks * 512 < RESERVE:
        pytest.skip("this file system cannot reserve space")
    assert status.st_size < RESERVE


# Hosts


def test_a_host_works_or_is_free_and_those_with_a_problem_come_first() -> None:
    journal = Journal(10, ["idler", "worker", "guest", "gone", "bad"])
    journal.send(1, "worker")
    journal.state("guest", "busy", "other people's load is 2.00 per core")
    journal.state("gone", "lost", "no message for 8 s")
    journal.state("bad", "refused", "python3 not found on bad")
    hosts = _model(journal).hosts
    assert {name: host.in_words(None) for name, host in hosts.items()} == {
        "idler": "free", "worker": "working", "guest": "busy (others)", "gone": "lost", "bad": "refused",
    }  # fmt: skip
    ordered = sorted(
        hosts.values(), key=lambda host: hostwords.rank(host.state, is_working=host.is_working)
    )
    assert [host.name for host in ordered] == ["bad", "gone", "worker", "idler", "guest"]
    assert "hosts: 1 refused, 1 lost" in _headline(journal, "desk (pid 7)")
    lines = [line.split()[1:3] for line in _whole(_report(journal)).splitlines() if "  host " in line]
    assert lines[:2] == [["bad", "refused:"], ["gone", "lost:"]]
    assert ["worker", "working;"] in lines
    assert ["idler", "free;"] in lines
    states = {host["name"]: host["state"] for host in _report(journal).as_json()["hosts"]}
    assert states["worker"] == states["idler"] == "idle"  # programs rely on that


def _drained(delivered: int) -> Journal:
    """Return a job of ten pages whose only host is drained after so many."""
    journal = Journal(10, ["node1"])
    for page in range(1, delivered + 1):
        journal.now += 1.0
        journal.deliver(page, "node1", journal.send(page, "node1"))
    journal.state("node1", "drained", "by ann")
    return journal


def test_a_job_whose_hosts_are_all_drained_says_that_and_no_speed() -> None:
    words = "no host is usable: 1 drained"
    journal = _drained(5)
    shown = _headline(journal, "desk (pid 7)")
    assert words in shown
    assert "left" not in shown
    assert "pages/min" not in shown
    assert " pages/s" not in shown.split("peak")[0]
    assert f"waits     {words}" in _whole(_report(journal))


@pytest.mark.parametrize("kind", ["held", "complete"])
def test_no_host_is_blamed_where_none_is_needed(kind: str) -> None:
    journal = _drained(5 if kind == "held" else 10)
    if kind == "held":
        journal.write("requested", op="hold", by="ann", host="", page=0, note="", is_late=False)
        assert "pages/min" not in _headline(journal, "desk (pid 7)")
    for shown in (_headline(journal, "desk (pid 7)"), _whole(_report(journal))):
        assert "no host is usable" not in shown
        assert ("held by ann" in shown) is (kind == "held")


def test_a_host_that_had_no_time_to_answer_is_not_called_lost() -> None:
    scheduler = Scheduler(Policy(is_mixed=True), [HostPlan("a", 1), HostPlan("b", 1)], [1])
    scheduler.start(0.0)
    scheduler.handle(ev.HostConnected("a", 1, 0.0, 0.0), now=0.1)
    (attempt,) = scheduler.attempts
    scheduler.handle(ev.PageRendered("a", attempt, 0.1, ()), now=1.0)
    scheduler.handle(ev.PageDelivered("a", attempt, 0.0), now=1.8)
    scheduler.handle(now=10.0)
    assert scheduler.end is not None
    late = scheduler.hosts["b"]
    assert late.state is HostState.UNKNOWN
    assert "it had not answered yet" in late.reason
    assert all(host.state is not HostState.LOST for host in scheduler.hosts.values())


def test_a_run_that_found_no_host_says_what_to_type_next() -> None:
    told = {
        "job": "big-12345678", "state": "failed", "output": "/out", "seconds": 9.0, "paused": None,
        "pages": {"total": 3, "done": 0, "suspect": 0, "failed": 0, "missing": 3},
        "failed_pages": [], "suspect_pages": [], "notes": [], "fonts_missing": [], "exit_code": 4,
        "reason": "no host was usable in time", "hosts": [],
    }  # fmt: skip
    for form in (summary.lines, summary.brief):
        lines = list(form(told))
        assert lines[-1].startswith("hint: sshrender hosts")
        assert any("no host was usable in time" in line for line in lines)


# Numbers


def test_a_percentage_counts_delivered_pages_alone() -> None:
    shown = _headline(_finished(failed=2), "")
    assert "80 %" in shown
    assert "8 of 10 pages" in shown
    assert "2 failed" in shown


def test_a_finished_job_shows_its_duration_its_folder_and_its_hosts() -> None:
    journal = _ended_again(_finished(), after=3600.0)
    assert "took 1m00s on 1 host, 10 pages delivered in /out" in _headline(journal, "")
    hosts = _model(journal).hosts
    assert {host.state for host in hosts.values()} == {"idle"}
    assert all(host.in_words(None) == "free" for host in hosts.values())


def test_runs_that_found_nothing_to_do_and_the_time_between_runs_count_nothing() -> None:
    journal = _ended_again(_finished(failed=1), after=3600.0)
    journal.now += 86400
    journal.write("run_started", epoch=3, pages=10, output="/out", hosts=["node1"])
    journal.now += 5
    attempt = journal.send(1, "node1")
    journal.now += 5
    journal.deliver(1, "node1", attempt)
    last = BEGAN + journal.now
    journal.write("run_ended", state="done", reason="")
    times = _model(journal).times
    assert times.seconds() == pytest.approx(70.0)
    assert times.at(BEGAN + 30.0) == pytest.approx(30.0)
    assert times.at(BEGAN + 4000.0) == pytest.approx(60.0)  # between two runs
    assert times.at(last) == pytest.approx(70.0)


def test_a_recipe_job_names_what_renders_it() -> None:
    by_recipe = RenderSettings(device="png16m", dpi=72, pages="1", recipes=(RECIPE,))
    assert settings_in_words(by_recipe.model_dump(mode="json")) == "png pages by mutool at 72 dpi"
    assert settings_in_words(SPEC.settings.model_dump(mode="json")) == "png16m at 150 dpi"


def test_strict_counts_the_same_in_status_as_in_the_summary() -> None:
    journal = Journal(10, ["node1"])
    for page in range(1, 11):
        journal.deliver(page, "node1", journal.send(page, "node1"), ["odd"] if page == 7 else [])
    journal.write("run_ended", state="partial", reason="")
    strict = _report(journal, None, Attributes(over="partial", wishes={"strict": True}))
    assert strict.state == "partial"
    assert (strict.pages["suspect"], strict.pages["failed"], strict.pages["done"]) == (0, 1, 9)
    assert sum(count for name, count in strict.pages.items() if name != "total") == 10
    assert strict.failed[0]["page"] == 7
    lenient = _report(journal, None, Attributes(over="done"))
    assert (lenient.state, lenient.pages["suspect"], lenient.failed) == ("done", 1, [])


# Ends


def _killed_run(folder: Path) -> None:
    """Take the job's lease in a process that is killed with it."""
    code = (
        "import os, signal, sys; from pathlib import Path; from sshrender.job import lease;"
        "lease.take(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "lease")], check=False)


def test_a_run_that_its_user_killed_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder(tmp_path / SPEC.name)
    folder.create()
    monkeypatch.setattr("sshrender.api.killedruns.load_spec", lambda _folder: SPEC)
    journal = Journal(10, ["node1"])
    journal.deliver(1, "node1", journal.send(1, "node1"))
    writer = JournalWriter(folder.journal)
    writer.append(journal.entries)
    writer.close()
    _killed_run(folder.path)
    observer = lease.Observer(folder.lease)
    assert observer.holder() is None
    assert not observer.was_given_back()  # as after the death of a machine: the queue would continue it
    assert record_end_by_hand([folder.path]) == []
    assert observer.holder() is None
    assert observer.was_given_back()
    found = queueorder.Entry(SPEC.name, queueorder.LeaseHolder.NONE)
    assert queueorder.state(found, (), 0.0) is queueorder.QueueState.NOT_SUBMITTED
    last = list(read_journal(folder.journal))[-1]
    assert isinstance(last, RunEnded)
    assert last.state == "partial"
    assert "stopped at once by" in last.reason


def test_a_job_that_another_process_runs_is_left_alone(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / SPEC.name)
    folder.create()
    held = lease.take(folder.lease)
    assert record_end_by_hand([folder.path]) == []
    held.ensure()
    assert not folder.journal.exists()


# Requests and errors


def test_a_page_that_the_job_does_not_render_is_refused_by_its_number() -> None:
    some = SPEC.model_copy(update={"settings": RenderSettings(device="png16m", dpi=150, pages="1-3,7")})
    spec.require_pages(some, [3, 7])
    with pytest.raises(UserError, match="does not render pages 4-5,10"):
        spec.require_pages(some, [10, 3, 4, 5])


def test_a_wrong_shared_folder_is_not_called_missing(tmp_path: Path) -> None:
    wrong = jobfolder.check(str(tmp_path / "big-12345678"), "nonce", "x")
    assert not wrong["seen"]
    assert "it is another one, or nothing is mounted on it" in wrong["reason"]
    missing = jobfolder.check(str(tmp_path / "nowhere" / "big-12345678"), "nonce", "x")
    assert missing["reason"] == "there is no such folder"


@pytest.mark.parametrize(
    ("status", "words"), [(127, "python3 not found on node2"), (126, "python3 cannot be executed on")]
)
def test_a_missing_python_is_named(status: int, words: str) -> None:
    closed = LinkClosed(f"the runner ended with exit code {status}", status)
    assert words in closed.reason_on("node2", "python3")


def test_a_missing_python_is_named_in_the_words_of_tcsh() -> None:
    closed, words = LinkClosed("", 1), "python3: Command not found."
    assert closed.lacks_program(words)
    assert closed.reason_on("node2", "python3", words) == "python3 not found on node2"
    assert not closed.lacks_program("down for maintenance")


def test_a_document_that_is_only_protected_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(b"%PDF-1.7\n" + b"x" * 3000 + b"\ntrailer << /Encrypt 7 0 R >>\n%%EOF")
    asks = ["**** This file requires a password for access."]
    assert "protected by a password" in facts.no_pages(path, asks, None).what
    assert "wrong password" in facts.no_pages(path, asks, "x").what
    assert "protected in a way" in facts.no_pages(path, ["Couldn't initialise file."], None).what
    path.write_bytes(b"%PDF-1.7\n" + b"x" * 3000)
    assert "beyond repair" in facts.no_pages(path, [], None).what


def test_status_is_json_whatever_a_pause_says() -> None:
    journal = Journal(10, ["node1"])
    journal.write("storage_failed", reason=FULL, waits=1e300)
    told = _report(journal).as_json()
    assert told["paused"]["until"] is None
    json.dumps(told, allow_nan=False)


# A known cause before what follows from it


class _Posts:
    """A wire that keeps what is posted."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def post(self, event: str, **_fields: Any) -> None:
        self.posted.append(event)


class _FailingSlot:
    """A slot whose renderer cannot even start."""

    def __init__(self, _settings: Any, _tasks: Any, post: _Posts, *_more: Any) -> None:
        self._wire = post

    def start(self) -> None:
        self._wire.post("trouble")


@pytest.mark.parametrize(("version", "posted"), [("9.20", ["hello"]), ("10.00.0", ["hello", "trouble"])])
def test_a_slot_that_fails_at_once_does_not_hide_what_is_wrong_with_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, posted: list[str]
) -> None:
    monkeypatch.setattr("sshrender.runner.main.slot.Slot", _FailingSlot)
    post = _Posts()
    _answer(tmp_path, monkeypatch, post, version)
    assert post.posted == posted


@pytest.mark.parametrize(("pages", "made"), [(2, 2), (99, 4), (None, 4)])
def test_a_host_makes_no_more_slots_than_there_are_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int | None, made: int
) -> None:
    """Each warms a renderer before it knows whether a page comes for it."""
    monkeypatch.setattr("sshrender.runner.main.slot.Slot", _FailingSlot)
    runner = _answer(tmp_path, monkeypatch, _Posts(), "10.00.0", slots=4, at_once=pages)
    assert len(runner._slots) == made


def _answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, post: _Posts, version: str, **told: Any
) -> runner_main.Runner:
    """Have a runner of a job in ``folder`` answer to a preparation."""
    (folder / "work").mkdir(parents=True)
    (folder / "nonce").write_text("x")
    monkeypatch.setattr(runner_main.Runner, "_send_heartbeats", lambda _self: None)
    monkeypatch.setattr("os.umask", lambda _mask: 0)
    runner = runner_main.Runner(post, 8.0)  # type: ignore[arg-type]
    runner._folder = str(folder)
    runner._handshake.facts.update(ghostscript=version, others=0.0, slots=1, free_memory=1 << 33)
    runner._handshake._has_facts.set()
    told |= {"page_timeout": 1, "page_memory": 1 << 30, "recycle_pages": 9, "recycle_memory": 1 << 30}
    told |= {"folder": str(folder), "nonce_file": "nonce", "nonce": "x", "device": "png16m", "dpi": "72"}
    runner._answer_hello({**told, "file": "source.pdf"})
    return runner
