"""Journals of any content, read by everything that reads journals: damaged entries stay out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.coordinator import overviewwriter
from sshrender.coordinator.storageerrors import storage_error
from sshrender.errors import ExitCode
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history, journal, journalchecks, journalentries, journalformat
from sshrender.job.journal.journal import (
    JournalTail,
    JournalWriter,
    NewerJournal,
    OldJournal,
    read_journal,
)
from sshrender.job.journal.journalformat import SCHEMA, as_fields, as_line, parse_line
from sshrender.job.journal.replay import replay
from sshrender.job.queue import queueoperations
from sshrender.job.spec import DocumentRecord, JobSpec, RenderSettings
from sshrender.job.status import accounting, jobstatus
from sshrender.views import joblist, jobmodel, pagehistory, plain
from sshrender.views import overview as sheet
from sshrender.views.dashboard import details, headline, tables
from sshrender.views.dashboard.source import JobFacts
from sshrender.views.dashboard.styles import of_terminal
from tests.entries import entry, lines_of, parsed
from tests.tui.journals import eventful

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
TIME = "2026-11-23T20:00:00.000Z"
SPEC = JobSpec(
    name="big-12345678",
    created=TIME,
    document=DocumentRecord(name="big.pdf", bytes=100, sha256="0" * 64, pages=60),
    settings=RenderSettings(device="png16m", dpi=150, pages="1-60"),
)

odd = st.sampled_from(
    [
        None, True, False, -1, 0, 1, 7, 1.5, 10**30, -(10**30), 1e308, float("inf"),
        float("nan"), "", "a", "\ud800", "\x1b]0;x\x07", "1-", "a-b,", "../x", "held", "node1", "hold",
        "drain", "retry", [], ["a"], [1], [None], [[1]], [["a"]], {}, {"a": "b"}, {"a": 1},
        {"a": [1, 2]}, {"a": ["x", {}]},
    ]
)  # fmt: skip
FIELDS = {name: journalformat.fields_of(kind) for name, kind in journalentries.TYPES.items()}
names = st.sampled_from(sorted({"time", *(name for known in FIELDS.values() for name in known)}))
lines = st.builds(
    lambda kind, fields, moment: {"schema": SCHEMA, "time": moment, **fields, "type": kind},
    st.sampled_from([*FIELDS, "something_new"]) | odd,
    st.dictionaries(names, odd, max_size=4),
    st.just(TIME)
    | odd
    | st.sampled_from(
        ["\ud800", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-02-30T00:00:00Z"]
    ),
)


def _sound() -> dict[str, dict[str, Any]]:
    """An entry of each type, whole, from which one field at a time is taken or spoiled."""
    values: dict[Any, Any] = {
        journalchecks.check_text: "a", journalchecks.check_texts: ["a"],
        journalchecks.check_flag: True, journalchecks.check_number: 1.0,
        journalchecks.check_fonts: {"Helvetica": "1-3,7"},
        journalchecks.check_loads: {"node1": [0.5, 0.5]},
        journalchecks.check_changes: {"priority": 1},
        journalchecks.check_file_name: "page-0007.png",
    }  # fmt: skip
    return {
        kind: {
            "schema": SCHEMA,
            "time": TIME,
            "type": kind,
            **{name: values.get(field.check, 7) for name, field in known.items()},
        }
        for kind, known in FIELDS.items()
    }


def _write(path: Path, lines: list[Any]) -> None:
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def _show_everywhere(folder: JobFolder) -> None:
    """All that status, why, report, watch, the dashboard and the overview make of a journal."""
    found = list(read_journal(folder.journal))
    told = jobstatus.of(folder, SPEC, found, None)
    shown = [
        json.dumps(told.as_json(), allow_nan=False, ensure_ascii=False),
        json.dumps(pagehistory.as_json(found), allow_nan=False, ensure_ascii=False),
        *joblist.table([told.as_json()]),
        *joblist.whole(told.as_json()),
        *pagehistory.lines(found),
        *pagehistory.lines([*pagehistory.of_page(found, 7), *pagehistory.of_host(found, "node1")]),
        *(line for each in found if (line := plain.describe(each, 2)) is not None),
        sheet.render(overviewwriter.sheet(folder, SPEC, found, None)),
    ]
    accounting.of("big", "ann", found)
    job, styles = jobmodel.JobModel(range(1, 61)), of_terminal()
    for each in JournalTail(folder.journal).new():
        job.take(each)
    facts = JobFacts("big", "/san/big", "big.pdf", tuple(range(1, 61)), "png16m")
    shown += [line.plain for line in headline.lines(facts, job, "", job.now, 120, styles)]
    tables.hosts(job, styles, "state", False, "")
    tables.attempts(job, styles, job.now)
    shown += [
        row.cells[1] for number, each in enumerate(job.log) if (row := tables.log_row(number, each))
    ]
    shown += [details.of_page(page, job.now, styles).plain for page in job.pages.values()]
    shown += [details.of_host(host, "", styles).plain for host in job.hosts.values()]
    "".join(shown).encode()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "big-12345678")
    made.path.mkdir()
    made.create()
    return made


@IN_A_FOLDER
@given(st.lists(lines, max_size=6))
def test_a_journal_of_wrong_types_can_be_shown_by_every_view(
    folder: JobFolder, lines: list[Any]
) -> None:
    _write(folder.journal, [*map(as_fields, eventful().entries[:12]), *lines])
    _show_everywhere(folder)


@IN_A_FOLDER
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_an_entry_with_one_wrong_field_can_be_shown_by_every_view(
    folder: JobFolder, kind: str, data: st.DataObject
) -> None:
    sound = _sound()
    spoiled = {
        **sound[kind],
        data.draw(st.sampled_from(sorted(sound[kind]))): data.draw(odd),
    }
    _write(folder.journal, [*sound.values(), spoiled])
    _show_everywhere(folder)
    assert len(list(read_journal(folder.journal))) >= len(sound)


def test_what_a_coordinator_writes_is_read_as_it_was_written(folder: JobFolder) -> None:
    written = [*map(as_fields, eventful().entries), *_sound().values()]
    _write(folder.journal, written)
    assert lines_of(folder.journal) == json.loads(json.dumps(written))


def test_a_lone_surrogate_is_text_that_can_be_shown(folder: JobFolder) -> None:
    states = _sound()["host_state"]
    _write(folder.journal, [{**states, "reason": "\ud800"}, {**states, "time": "\ud800"}])
    (found,) = lines_of(folder.journal)
    assert found["reason"] == "?"
    _show_everywhere(folder)


def test_a_page_s_file_is_never_a_path_that_leads_out_of_the_job(folder: JobFolder) -> None:
    page = _sound()["page_delivered"]
    _write(
        folder.journal, [{**page, "file": name} for name in ("../../x.png", "/etc/x.png", "..", ".x")]
    )
    assert list(read_journal(folder.journal)) == []


def test_numbers_beyond_all_numbers_cost_their_entry_only(folder: JobFolder) -> None:
    sound = json.dumps(_sound()["page_delivered"])
    odd = [
        sound.replace('"bytes": 7', f'"bytes": {n}') for n in ("9" * 5000, "1e400", "NaN", "true", "-1")
    ]
    deep = '{"schema": 2, "type": "x", "time": ' + "[" * 100_000
    folder.journal.write_text("\n".join([*odd, deep, sound, ""]))
    assert [found["bytes"] for found in lines_of(folder.journal)] == [7]


def test_a_line_without_end_is_passed_over_and_never_kept(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_LINE", 1000)
    monkeypatch.setattr(journal, "BLOCK", 256)
    first, last = _sound()["storage_recovered"], _sound()["page_delivered"]
    long = {**first, "note": "x" * 5000}
    _write(folder.journal, [first, long, last])
    tail = JournalTail(folder.journal)
    assert lines_of(folder.journal) == [first, last]
    assert [*tail.new(), *tail.new(), *tail.new()] == [parsed(first), parsed(last)]
    with folder.journal.open("ab") as file:
        file.write(json.dumps(long).encode())
    assert tail.new() == []
    with folder.journal.open("ab") as file:
        file.write(b"\n" + json.dumps(last).encode() + b"\n")
    assert tail.new() == [parsed(last)]


def test_a_sparse_journal_of_terabytes_is_read_at_once(folder: JobFolder) -> None:
    first, last = _sound()["storage_recovered"], _sound()["page_delivered"]
    _write(folder.journal, [first])
    with folder.journal.open("r+b") as file:
        file.seek(4 << 40)
        file.write(b"\n" + json.dumps(last).encode() + b"\n")
        os.ftruncate(file.fileno(), 8 << 40)
    assert lines_of(folder.journal) == [first, last]
    tail = JournalTail(folder.journal)
    assert [*tail.new(), *tail.new(), *tail.new()] == [parsed(first), parsed(last)]


def test_a_journal_that_has_more_than_a_job_can_write_is_refused(folder: JobFolder) -> None:
    _write(folder.journal, [_sound()["page_delivered"]] * 20_000)
    with pytest.raises(OSError, match="larger than 1000000 bytes"):
        list(read_journal(folder.journal, 1_000_000))
    assert sum(1 for _ in read_journal(folder.journal)) == 20_000


def test_only_well_formed_utf_8_is_an_entry(folder: JobFolder) -> None:
    sound = json.dumps(_sound()["storage_recovered"])
    raw = sound.replace('"type"', '"x": "\ud800", "type"').encode("utf-8", "surrogatepass")
    folder.journal.write_bytes(raw + b"\n" + sound.encode("utf-16") + b"\n" + sound.encode() + b"\n")
    assert history.of(read_journal(folder.journal)) == history.History()
    assert [found["type"] for found in lines_of(folder.journal)] == ["storage_recovered"]


def test_pages_that_are_not_the_job_s_and_hosts_without_number_take_no_memory() -> None:
    """Another user's journal names as many as fit into it."""
    few = SPEC.settings.model_copy(update={"pages": "1"})
    spec = SPEC.model_copy(update={"settings": few})
    failed = {"kind": "damaged", "reason": "x", "attempts": 1, "hosts": []}
    lost = {"attempt": "1.1", "kind": "crashed", "reason": "x", "page": 1}
    lines = [entry("page_failed", 0.0, page=page, **failed) for page in range(1, 500)]
    lines += [entry("attempt_failed", 0.0, host=f"h{n}", **lost) for n in range(jobstatus.MAX_HOSTS + 9)]
    follower = jobstatus.Follower(spec)
    replay(lines, follower)
    assert list(follower._progress.failed) == [1]
    assert len(follower._progress.failures) == jobstatus.MAX_HOSTS


@given(st.binary(max_size=200) | st.builds(lambda line: json.dumps(line).encode(), lines))
def test_no_line_makes_the_parser_raise(line: bytes) -> None:
    found = parse_line(line)
    if found is not None:
        assert parse_line(as_line(found)) == found, "what was read is written as it was"


def test_a_journal_of_an_earlier_version_is_refused_in_words(folder: JobFolder) -> None:
    old = {"schema": 1, "time": TIME, "type": "storage_recovered"}
    _write(folder.journal, ["rubbish", old, old])
    words = "earlier version of sshrender; remove the job and render"
    with pytest.raises(OldJournal, match=words):
        list(read_journal(folder.journal))
    with pytest.raises(OldJournal, match=words) as caught:
        JournalTail(folder.journal).new()
    with pytest.raises(OldJournal, match=words):
        queueoperations.handle_requests(folder)  # what changes a queued job appends to its journal
    told = storage_error(caught.value, folder.path.parent)
    assert told.code is ExitCode.STORAGE
    assert told.hint == f"rm -r {folder.path}"


NEWER = {"schema": journalformat.SCHEMA + 1, "time": TIME, "type": "storage_recovered"}


@pytest.mark.parametrize("is_continued", [False, True])
def test_a_journal_of_a_newer_version_is_refused_in_words_and_not_altered(
    folder: JobFolder, *, is_continued: bool
) -> None:
    """Also where a newer version has continued a job of this one: its end is not known here."""
    own = [as_fields(entry("storage_recovered", 0.0))] if is_continued else []
    _write(folder.journal, [*own, NEWER, "rubbish", NEWER, *own])
    before = folder.journal.read_bytes()
    words = "written by a newer version of sshrender: it has schema"
    with pytest.raises(NewerJournal, match=words) as caught:
        list(read_journal(folder.journal))
    tail = JournalTail(folder.journal)
    assert len(tail.new() if is_continued else []) == len(own), "what was readable is shown first"
    for _ in range(2):  # a view asks again
        with pytest.raises(NewerJournal, match=words):
            tail.new()
    with pytest.raises(NewerJournal, match=words):
        queueoperations.handle_requests(folder)
    with pytest.raises(NewerJournal, match=words):
        JournalWriter(folder.journal)
    assert folder.journal.read_bytes() == before
    told = storage_error(caught.value, folder.path.parent)
    assert (told.code, told.hint) == (ExitCode.STORAGE, "update the program on this machine")


def test_one_line_that_looks_newer_costs_no_other_entry(folder: JobFolder) -> None:
    own = as_fields(entry("storage_recovered", 0.0))
    _write(folder.journal, [own, NEWER, own])
    assert len(list(read_journal(folder.journal))) == 2
    JournalWriter(folder.journal).close()


def test_a_line_of_an_earlier_version_costs_no_other_entry(folder: JobFolder) -> None:
    sound = _sound()["storage_recovered"]
    _write(folder.journal, [{**sound, "schema": 1}, sound, {**sound, "schema": 1}])
    assert lines_of(folder.journal) == [sound]
    assert JournalTail(folder.journal).new() == [parsed(sound)]
