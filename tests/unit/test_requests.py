"""What people ask of a coordinator: laid whole, taken in order, and harmless whatever lies there."""

from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.api.jobs import current_user
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.workers.requestpoller import RequestPoller, RequestReceived, event_of
from sshrender.core import events as ev
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.lease import LeaseLost
from sshrender.job.queue import queueoperations, requests
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request
from sshrender.storage import files
from tests import signed
from tests.entries import lines_of


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job's folder."""
    made = JobFolder(tmp_path / "job")
    made.path.mkdir()
    made.create()
    Attributes().save(made)
    return made


def _request_poller(
    folder: JobFolder, posted: queue.SimpleQueue[Any], fence: Callable[[], None] = lambda: None
) -> RequestPoller:
    plan = SimpleNamespace(folder=folder, attributes=Attributes())
    return RequestPoller(cast("JobPlan", plan), posted.put, fence, {})


def _taken(folder: JobFolder) -> list[Request]:
    found: list[Request] = []
    requests.take(folder, found.append)
    return found


def test_a_request_is_there_until_it_was_done(folder: JobFolder) -> None:
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))

    def fails(request: Request) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        requests.take(folder, fails)
    assert _taken(folder) == [Request(Operation.HOLD, "ann@desk")]


def test_requests_are_taken_in_the_order_in_which_they_were_made_and_once(folder: JobFolder) -> None:
    asked = [
        Request(Operation.DRAIN, "ann@desk", host="node1", note="disk"),
        Request(Operation.HOLD, "bob@attic"),
    ]
    asked.append(Request(Operation.RETRY, "ann@desk", page=7))
    for request in asked:
        requests.ask(folder, request)
    assert _taken(folder) == asked
    assert _taken(folder) == []
    assert list(folder.requests.iterdir()) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {
            "schema": st.just(1),
            "op": st.sampled_from(list(Operation)) | json_values,
            "by": json_values,
            "host": json_values,
            "page": json_values,
            "note": json_values,
        }
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_lies_there_is_a_request_or_nothing_and_is_gone(folder: JobFolder, data: bytes) -> None:
    (folder.requests / "00000000000000000001-evil.json").write_bytes(data)
    with suppress(ValueError, TypeError):
        signed.request(folder, dict(json.loads(data)), 2)
    for request in _taken(folder):
        assert request.op in list(Operation)
        assert type(request.page) is int
        assert isinstance(event_of(request), tuple)
    assert list(folder.requests.iterdir()) == []


def test_a_request_of_gigabytes_is_not_read(folder: JobFolder) -> None:
    with (folder.requests / "1-large.json").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert _taken(folder) == []


@pytest.mark.timeout(20)
def test_a_fifo_or_a_folder_in_requests_blocks_no_other_request(folder: JobFolder) -> None:
    os.mkfifo(folder.requests / "0000-fifo.json")
    (folder.requests / "0001-folder.json").mkdir()
    (folder.requests / "0002-link.json").symlink_to("/etc/passwd")
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    assert _taken(folder) == [Request(Operation.HOLD, "ann@desk")]
    assert [path.name for path in folder.requests.iterdir()] == ["0001-folder.json"]


def test_a_file_that_cannot_be_read_stops_no_request(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.requests / "0000-other.json").write_text("{}")
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    read = files.read_plain

    def refuses(path: Path, most: int) -> bytes:
        if path.name == "0000-other.json":  # root may read every file
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, most)

    monkeypatch.setattr("sshrender.job.queue.requests.read_plain", refuses)
    assert _taken(folder) == [Request(Operation.HOLD, "ann@desk")]
    assert list(folder.requests.iterdir()) == []


def test_files_and_folders_without_number_hide_no_request(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is just being written is left alone, unless there is too much of it."""
    monkeypatch.setattr(requests, "MAX_LISTED", 4)
    monkeypatch.setattr(requests, "MAX_BEGUN", 3)
    begun = [f".{number:020d}-{number:016x}.json.{number:032x}" for number in range(4)]
    for number in range(8):
        (folder.requests / f"{number}.json").mkdir()
        (folder.requests / f"junk{number}").touch()
    for name in begun[:3]:
        (folder.requests / name).touch()
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    assert _taken(folder) == [Request(Operation.HOLD, "ann@desk")]
    _taken(folder)
    left = [path.name for path in folder.requests.iterdir() if not path.is_dir()]
    assert sorted(left) == begun[:3]
    (folder.requests / begun[3]).touch()
    _taken(folder)
    assert all(path.is_dir() for path in folder.requests.iterdir())


def test_what_was_asked_while_nobody_coordinated_holds_and_what_concerns_a_run_is_late(
    folder: JobFolder,
) -> None:
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    requests.ask(folder, Request(Operation.DRAIN, "ann@desk", host="node1"))
    assert queueoperations.handle_requests(folder).held == "ann@desk"
    assert jobattributes.load(folder).held == "ann@desk"
    told = [(entry["op"], entry["is_late"]) for entry in lines_of(folder.journal)]
    assert told == [("hold", False), ("drain", True)]


def test_what_changes_a_job_is_on_record_before_it_is_heard_of(folder: JobFolder) -> None:
    posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    request_poller = _request_poller(folder, posted)
    request_poller.start()
    try:
        requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
        assert posted.get(timeout=60) == RequestReceived(Request(Operation.HOLD, "ann@desk"))
        assert jobattributes.load(folder).held == "ann@desk"
        requests.ask(folder, Request(Operation.ALTER, "ann@desk", changes={"limit": 3, "priority": -7}))
        assert posted.get(timeout=60).request.changes == {"limit": 3, "priority": -7}
        found = jobattributes.load(folder)
        assert (found.limit, found.priority, found.held) == (3, -7, "ann@desk")
    finally:
        request_poller.stop()


def test_a_coordinator_that_was_fenced_off_takes_no_requests(folder: JobFolder) -> None:
    def fence() -> None:
        raise LeaseLost

    request_poller = _request_poller(folder, queue.SimpleQueue(), fence)
    request_poller.start()
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    time.sleep(1.0)
    request_poller.stop()
    assert _taken(folder) == [Request(Operation.HOLD, "ann@desk")]


def test_a_job_that_nobody_coordinates_is_changed_at_once(folder: JobFolder) -> None:
    queueoperations.change(folder, Request(Operation.HOLD, "ann@desk", note="until Monday"))
    assert jobattributes.load(folder).why == "until Monday"
    queueoperations.change(folder, Request(Operation.CANCEL, "ann@desk"))
    found = jobattributes.load(folder)
    assert (found.over, found.held) == ("cancelled", "")
    queueoperations.change(folder, Request(Operation.RESUBMIT, "ann@desk"))
    assert jobattributes.load(folder).is_queued
    assert not jobattributes.load(folder).over


def test_a_job_that_is_done_is_not_held_and_nothing_of_that_is_recorded(folder: JobFolder) -> None:
    Attributes().changed(over="done").save(folder)
    found = queueoperations.change(folder, Request(Operation.HOLD, "ann@desk"))
    assert found is not None
    assert (found.over, found.held) == ("done", "")
    assert jobattributes.load(folder) == found
    assert not folder.journal.exists() or lines_of(folder.journal) == []


def test_a_request_that_nobody_takes_is_taken_back(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is held, and its holder does not look at requests."""
    held = lease.take(folder.lease)
    ticks = iter(range(0, 10_000, 20))

    def take(path: Path) -> lease.Lease:
        raise lease.LeaseHeld(held._claim)

    monkeypatch.setattr(queueoperations, "TAKEN_TIMEOUT", 0.2)
    monkeypatch.setattr(lease, "take", take)
    with pytest.raises(queueoperations.NotHeard):
        queueoperations.change(folder, Request(Operation.HOLD, "ann@desk"), clock=lambda: next(ticks))
    assert list(folder.requests.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"priority": 5000}, {"limit": 0}, {"limit": "many"}, {"after": 7}, [], "x"]
)
def test_what_no_attribute_can_be_is_no_request(folder: JobFolder, changes: Any) -> None:
    fields = {"schema": 1, "op": "alter", "by": "ann", "host": "", "page": 0, "note": ""}
    signed.request(folder, {**fields, "changes": changes})
    assert _taken(folder) == []


def test_an_alteration_cannot_reach_other_attributes(folder: JobFolder) -> None:
    requests.ask(folder, Request(Operation.ALTER, "ann", changes={"owner": "root", "over": "done"}))
    assert _taken(folder) == [Request(Operation.ALTER, "ann")]


def test_a_folder_that_fails_keeps_its_requests_until_it_is_back(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    original, failures = requests.take, iter([OSError(116, "Stale file handle")] * 2)

    def take(folder: JobFolder, do: Callable[[Request], object]) -> None:
        for failure in failures:
            raise failure
        original(folder, do)

    monkeypatch.setattr(requests, "take", take)
    requests.ask(folder, Request(Operation.HOLD, "ann@desk"))
    request_poller = _request_poller(folder, posted)
    request_poller.start()
    try:
        assert posted.get(timeout=60).request.op == "hold"
    finally:
        request_poller.stop()


ODD = Request(
    Operation.ALTER,
    "ann\udcfc@desk",
    note="f\udcfcr",
    changes={"output": "/a\udcfc", "wishes": {"on\ud800": ["\udcfc"]}},
)
PLAIN = Request(
    Operation.ALTER, "ann?@desk", note="f?r", changes={"output": "/a?", "wishes": {"on?": ["?"]}}
)


def test_a_request_holds_no_text_that_nobody_can_write(folder: JobFolder) -> None:
    assert ODD == PLAIN
    requests.ask(folder, ODD)
    assert _taken(folder) == [PLAIN]
    queueoperations.change(folder, ODD)
    queueoperations.change(folder, Request(Operation.HOLD, ODD.by + "\udcfc", note="f\udcfcr"))
    found = jobattributes.load(folder)
    assert (found.output, found.held, found.why) == ("/a?", "ann?@desk?", "f?r")


def test_text_that_somebody_else_wrote_is_made_plain(folder: JobFolder) -> None:
    fields = {
        "schema": 1,
        "op": "alter",
        "by": "ann\udcfc@desk",
        "host": "",
        "page": 0,
        "note": "f\udcfcr",
    }
    changes = {"output": "/a\udcfc", "wishes": {"on\ud800": ["\udcfc"]}}
    signed.request(folder, {**fields, "changes": changes})
    assert _taken(folder) == [PLAIN]


def test_who_asks_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann\udcfc")
    assert current_user().startswith("ann?@")


@pytest.mark.parametrize("op", Operation)
def test_every_operation_is_an_event(op: Operation) -> None:
    event: Any = event_of(Request(op, "ann@desk", host="node1", page=7, note="why"))
    assert event.by == "ann@desk"
    assert isinstance(event, ev.CancelRequested) == (op == "cancel")
