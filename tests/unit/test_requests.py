"""What people ask of a coordinator: laid whole, taken in order, and harmless whatever lies there."""

from __future__ import annotations

import json
import os
import queue
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sshrender.coordinator.clerk import Asked, Clerk, event_of
from sshrender.core import events as ev
from sshrender.job import requests
from sshrender.job.folder import JobFolder
from sshrender.job.requests import Request


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job's folder."""
    made = JobFolder(tmp_path / "job")
    made.path.mkdir()
    made.create()
    return made


def test_requests_are_taken_in_the_order_in_which_they_were_made_and_once(folder: JobFolder) -> None:
    asked = [Request("drain", "ann@desk", host="node1", note="disk"), Request("hold", "bob@attic")]
    asked.append(Request("retry", "ann@desk", page=7))
    for request in asked:
        requests.ask(folder, request)
    assert requests.take(folder) == asked
    assert requests.take(folder) == []
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
            "op": st.sampled_from(requests.OPERATIONS) | json_values,
            "by": json_values,
            "host": json_values,
            "page": json_values,
            "note": json_values,
        }
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_lies_there_is_a_request_or_nothing_and_is_gone(folder: JobFolder, data: bytes) -> None:
    (folder.requests / "00000000000000000001-evil.json").write_bytes(data)
    for request in requests.take(folder):
        assert request.op in requests.OPERATIONS
        assert type(request.page) is int
        assert isinstance(event_of(request), tuple)
    assert list(folder.requests.iterdir()) == []


def test_a_request_of_gigabytes_is_not_read(folder: JobFolder) -> None:
    with (folder.requests / "1-large.json").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert requests.take(folder) == []


def test_what_lay_there_when_a_run_began_is_late(folder: JobFolder) -> None:
    posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.ask(folder, Request("cancel", "ann@desk"))
    clerk = Clerk(folder, posted.put, {})
    clerk.start()
    try:
        assert posted.get(timeout=10) == Asked(Request("cancel", "ann@desk"), is_late=True)
        requests.ask(folder, Request("hold", "ann@desk"))
        assert posted.get(timeout=10) == Asked(Request("hold", "ann@desk"), is_late=False)
    finally:
        clerk.stop()


def test_a_folder_that_fails_keeps_its_requests_until_it_is_back(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: queue.SimpleQueue[Any] = queue.SimpleQueue()
    original, failures = requests.take, iter([OSError(116, "Stale file handle")] * 2)

    def take(folder: JobFolder) -> list[Request]:
        for failure in failures:
            raise failure
        return original(folder)

    monkeypatch.setattr(requests, "take", take)
    requests.ask(folder, Request("hold", "ann@desk"))
    clerk = Clerk(folder, posted.put, {})
    clerk.start()
    try:
        assert posted.get(timeout=10).request.op == "hold"
    finally:
        clerk.stop()


@pytest.mark.parametrize("op", requests.OPERATIONS)
def test_every_operation_is_an_event(op: str) -> None:
    event: Any = event_of(Request(op, "ann@desk", host="node1", page=7, note="why"))
    assert event.by == "ann@desk"
    assert isinstance(event, ev.CancelRequested) == (op == "cancel")
