"""A server that knows nothing yet, or whose shared folder is gone: what it says, and to whom."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender.api.web.compressedblocks import Block, gzipped
from sshrender.api.web.jobfeed import JobFeed
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.views.overview import as_data
from sshrender.web import authentication, jobwatchers
from sshrender.web.santhreads import SanThreads
from sshrender.web.settings import Limits
from tests.stretch import wait_until
from tests.web.serving import Client, serving
from tests.web.test_odd_requests import PAGE, _job


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Let what hangs in a test go on at its end."""
    made = threading.Event()
    yield made
    made.set()


def test_the_page_of_a_job_says_how_far_its_journal_is_and_strangers_cause_no_reading(
    san: Path, monkeypatch: pytest.MonkeyPatch, ended: threading.Event
) -> None:
    original, calls = JobFeed.update, []

    def update(self: JobFeed) -> bool:
        calls.append(self.name)
        ended.wait(120)
        return original(self)

    with serving(san) as client:
        job = _job(client)
    monkeypatch.setattr(JobFeed, "update", update)
    with serving(san, limits=Limits(page=0)) as client:
        path = f"/jobs/{job}/"
        for stranger in ("bob", "vera"):
            assert client.as_(stranger).call("GET", path, headers=PAGE).status == 404
        assert calls == []
        for _ in range(2):
            waiting = client.call("GET", path, headers=PAGE)
            assert waiting.status == 202
            assert b"is being read" in waiting.body
        wait_until(lambda: calls == [job], 60, lambda: str(calls))
        ended.set()
        wait_until(lambda: client.call("GET", path, headers=PAGE).status == 200, 60, "the page")


def test_a_job_whose_attributes_were_damaged_for_a_moment_is_its_owners_again(
    alice: Client, san: Path
) -> None:
    job = _job(alice)
    attributes = JobFolder(san / job).attributes
    whole = attributes.read_bytes()
    attributes.write_bytes(b"{")
    assert alice.call("GET", f"/api/v1/jobs/{job}").status == 404
    attributes.write_bytes(whole)
    assert alice.call("GET", f"/api/v1/jobs/{job}").status == 200
    assert alice.as_("bob").call("GET", f"/api/v1/jobs/{job}").status == 404


def test_a_request_waits_for_a_journal_for_a_bounded_time(ended: threading.Event) -> None:
    calls = []

    def update() -> bool:
        calls.append(1)
        ended.wait(120)
        return True

    feed = SimpleNamespace(
        update=update,
        part_read=0.25,
        report=SimpleNamespace(state="done"),
        folder=SimpleNamespace(spec=SimpleNamespace(is_file=lambda: True)),
    )

    async def run() -> None:
        watched = jobwatchers.WatchedJob(cast(JobFeed, feed), SanThreads(2, None), SanThreads(2, None))
        for _ in range(3):
            with pytest.raises(jobwatchers.StillReading, match="25 %"):
                await watched.refresh(timeout=0)
        ended.set()
        await watched.refresh()

    asyncio.run(run())
    assert calls == [1]


async def _hear(watched: jobwatchers.WatchedJob, since: int, told: list[str]) -> list[int]:
    """Watch a job until its trouble is over; return up to which bytes its messages count."""
    found: list[int] = []
    async for each in watched.messages(since):
        if isinstance(each, str):
            told.append(each)
        elif each is not None:
            found.append(each[0])
            if told:
                break
    return found


def test_watchers_are_told_of_trouble_and_of_its_end_and_a_claim_to_know_more_makes_no_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobwatchers, "REST_INTERVAL", 0.01)
    made: list[int] = []
    told: list[str] = []

    def update() -> bool:
        # After the first reading, and until the watcher has heard of it.
        if watched.version and not told:
            raise UserError(ExitCode.STORAGE, "/san/secret: gone", "mount it")
        return False

    def message(since: int) -> dict[str, Any]:
        made.append(since)
        return {"offset": 7}

    feed = SimpleNamespace(update=update, message=message, offset=7)
    feed.report = SimpleNamespace(state="done")
    watched = jobwatchers.WatchedJob(cast(JobFeed, feed), SanThreads(2, None), SanThreads(2, None))

    async def run() -> list[int]:
        liar = asyncio.create_task(_hear(watched, 10**15 - 1, []))
        found = await _hear(watched, 0, told)
        liar.cancel()
        return found

    assert set(asyncio.run(run())) == {7}
    assert told == ["the shared folder does not answer"]
    assert set(made) <= {0, 7}


def test_a_folder_that_is_gone_is_not_one_without_jobs(san: Path) -> None:
    """The list said that there is no job yet, and the page of a job that it was removed."""
    with serving(san) as client:
        job = _job(client)
        assert client.call("GET", f"/api/v1/jobs/{job}").status == 200
        moved = san.rename(san.with_name("elsewhere"))
        wait_until(lambda: client.call("GET", "/api/v1/queue").status == 503, 60, "the list")
        wait_until(lambda: client.call("GET", f"/api/v1/jobs/{job}").status == 503, 60, "the job")
        for path in (f"/api/v1/jobs/{job}", "/api/v1/jobs/other", "/api/v1/jobs"):
            told = client.call("GET", path).json()
            assert "administrator" in told["hint"]
            assert str(san) not in str(told)
        answer = client.as_("").call("GET", "/metrics")
        assert answer.status == 200
        assert b"sshrender_shared_folder_up 0" in answer.body
        assert b"sshrender_start_time_seconds" in answer.body
        moved.rename(san)
        wait_until(lambda: client.call("GET", f"/api/v1/jobs/{job}").status == 200, 60, "the job")


def test_a_file_of_users_that_hangs_stops_only_those_who_need_it(
    san: Path, monkeypatch: pytest.MonkeyPatch, ended: threading.Event
) -> None:
    """It was looked at where all requests are served: on a dead file server, none was answered."""

    def hash_of(_self: object, _file: Path, _name: str) -> None:
        ended.wait(120)

    monkeypatch.setattr(authentication._Users, "hash_of", hash_of)
    with serving(san, htpasswd=san / "users") as client:
        cookies = {"sshrender_session": client.authenticator.sign("session", 600, name="alice", of="")}
        alice = Client(client.port, client.authenticator, "", cookies)
        assert alice.call("GET", "/api/v1/queue").status == 503
        assert alice.as_("").call("GET", "/login", headers=PAGE).status == 200


def test_a_sheet_that_is_encoded_in_pieces_is_the_same_sheet() -> None:
    rows = [{"page": page, "text": "</script>\u2028&"} for page in range(2500)]
    for sheet in ({"pages": rows, "notes": [], "job": "<a>"}, {"pages": rows[:1000]}, {}):
        text = as_data(sheet)
        assert json.loads(text) == sheet
        assert not set("<>&\u2028") & set(text)


def test_parts_of_an_answer_are_compressed_once_and_put_together(alice: Client) -> None:
    parts = [Block(b"<html>" * 50), Block(b""), Block(bytes(range(256)) * 300)]
    assert gzip.decompress(gzipped(parts)) == b"".join(part.data for part in parts)
    assert parts[2].deflated() is parts[2].deflated()
    job = _job(alice, 3)
    for path in (f"/jobs/{job}/", f"/api/v1/jobs/{job}/sheet"):
        plain = alice.call("GET", path, headers=PAGE)
        packed = alice.call("GET", path, headers={**PAGE, "Accept-Encoding": "br, gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert "no-store" in packed.headers["Cache-Control"]
        assert gzip.decompress(packed.body) == plain.body
        assert "Content-Encoding" not in plain.headers
