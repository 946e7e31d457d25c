"""Jobs over HTTP: live events from the journal, files, downloads, requests, rights and links."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from sshrender.api import jobchanges, scripting
from sshrender.api.jobs import acting_as
from sshrender.api.web import jobfeed
from sshrender.api.web.jobfeed import JobFeed
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from tests import pdfs
from tests.conftest import PROGRAM
from tests.stretch import stretched
from tests.web.serving import Client, serving

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "none"}
PAGES = 6


@dataclass
class Rendered:
    """A server, and on its shared folder a finished job of alice."""

    client: Client
    san: Path
    job: str

    @property
    def path(self) -> str:
        """The job's address in the interface."""
        return f"/api/v1/jobs/{quote(self.job)}"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    """Upload a document and render it: once for all tests here, which leave it as it is."""
    san = tmp_path_factory.mktemp("san")
    document = pdfs.build(pdfs.numbered(PAGES))
    with serving(san) as client:
        upload = client.upload(document, "Ünïcode Katalog.pdf")
        options = {"dpi": 72, "assemble": True}
        answer = client.call("POST", f"/api/v1/uploads/{upload}/complete", options)
        assert answer.status == 201, answer.body
        job = answer.json()["job"]
        environment = {**os.environ, "SSHRENDER_SLOT_NAMESPACE": uuid.uuid4().hex[:12]}
        subprocess.run(
            [*PROGRAM, "coordinate", "--once", "--san", san],
            check=True,
            cwd=san,
            env=environment,
            timeout=stretched(120),
        )
        yield Rendered(client, san, job)


def test_the_job_is_reported_as_by_status_and_belongs_to_its_user(rendered: Rendered) -> None:
    found = rendered.client.call("GET", rendered.path).json()
    assert (found["state"], found["owner"]) == ("done", "web:alice")
    assert found["pages"] == {"total": PAGES, "done": PAGES, "suspect": 0, "failed": 0, "missing": 0}
    jobs = rendered.client.call("GET", "/api/v1/jobs").json()["jobs"]
    assert [each["job"] for each in jobs] == [rendered.job]
    line = rendered.client.call("GET", "/api/v1/queue").json()["jobs"][0]
    assert (line["name"], line["done"], line["is_own"]) == (rendered.job, PAGES, True)
    assert (
        scripting.status(rendered.job, {"san": str(rendered.san)}).report.attributes.owner == "web:alice"
    )


def test_other_users_learn_nothing_of_it_and_operators_all(rendered: Rendered) -> None:
    bob, olga = rendered.client.as_("bob"), rendered.client.as_("olga")
    paths = ["", "/events", "/sheet", "/problems", "/pages/1", "/thumbs/1", "/pages.zip", "/assembled"]
    for path in paths:
        assert bob.call("GET", rendered.path + path).status == 404
    for verb in ("hold", "release", "cancel", "retry", "link"):
        assert bob.call("POST", f"{rendered.path}/{verb}", {}).status == 404
    assert bob.call("DELETE", rendered.path).status == 404
    assert bob.call("GET", f"/jobs/{quote(rendered.job)}/", headers=PAGE).status == 404
    assert bob.call("GET", f"/jobs/{quote(rendered.job)}/pages/page-0001.png").status == 404
    assert bob.call("GET", "/api/v1/jobs").json()["jobs"] == []
    assert olga.call("GET", rendered.path).status == 200


def test_pages_and_thumbnails_are_images_that_can_do_nothing_else(rendered: Rendered) -> None:
    for path in (f"{rendered.path}/pages/3", f"/jobs/{quote(rendered.job)}/pages/page-0003.png"):
        answer = rendered.client.call("GET", path)
        assert answer.body == (rendered.san / rendered.job / "pages/page-0003.png").read_bytes()
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert answer.headers["Content-Disposition"].startswith("inline")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert (
            rendered.client.call("GET", path, headers={"If-None-Match": answer.headers["ETag"]}).status
            == 304
        )
    assert rendered.client.call("GET", f"{rendered.path}/pages/99").status == 404
    assert rendered.client.call("GET", f"{rendered.path}/pages/x").status == 404
    assert rendered.client.call("GET", f"/jobs/{quote(rendered.job)}/pages/source.pdf").status == 404
    thumbs = [
        rendered.client.call("GET", f"{rendered.path}/thumbs/{page}") for page in range(1, PAGES + 1)
    ]
    there = [answer for answer in thumbs if answer.status == 200]
    assert there
    assert all(answer.headers["Content-Type"] in ("image/jpeg", "image/png") for answer in there)
    for name in ("page-0001.png", "page-0001.jpg"):
        named = rendered.client.call("GET", f"/jobs/{quote(rendered.job)}/thumbs/{name}")
        assert (named.status, named.body) == (thumbs[0].status, thumbs[0].body)


def test_all_pages_are_one_zip_that_resumes_anywhere(rendered: Rendered) -> None:
    path, pages = f"{rendered.path}/pages.zip", rendered.san / rendered.job / "pages"
    whole = rendered.client.call("GET", path)
    assert whole.headers["Content-Disposition"].startswith("attachment")
    with zipfile.ZipFile(io.BytesIO(whole.body)) as opened:
        assert len(opened.namelist()) == PAGES
        assert all(opened.read(name) == (pages / name).read_bytes() for name in opened.namelist())
    etag, middle = whole.headers["ETag"], len(whole.body) // 3
    with serving(rendered.san) as other:
        rest = other.call("GET", path, headers={"Range": f"bytes={middle}-", "If-Range": etag})
        assert rest.status == 206
        assert whole.body[:middle] + rest.body == whole.body
        changed = other.call("GET", path, headers={"Range": "bytes=5-", "If-Range": '"old"'})
        assert (changed.status, len(changed.body)) == (200, len(whole.body))
        assert other.call("GET", path, headers={"Range": f"bytes={len(whole.body)}-"}).status == 416
    few = rendered.client.call("GET", f"{path}?pages=2-3,6")
    with zipfile.ZipFile(io.BytesIO(few.body)) as opened:
        assert opened.namelist() == ["page-0002.png", "page-0003.png", "page-0006.png"]
    assert rendered.client.call("GET", f"{path}?pages=nonsense").status == 400


def test_the_assembled_file_is_a_download(rendered: Rendered) -> None:
    answer = rendered.client.call("GET", f"{rendered.path}/assembled")
    assert answer.body.startswith(b"%PDF-")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    part = rendered.client.call("GET", f"{rendered.path}/assembled", headers={"Range": "bytes=-10"})
    assert part.body == answer.body[-10:]


def test_a_link_shows_one_job_and_changes_nothing(rendered: Rendered) -> None:
    made = rendered.client.call("POST", f"{rendered.path}/link", {}).json()
    colleague = rendered.client.as_("")
    opened = colleague.call("GET", f"/{made['path']}", headers=PAGE)
    assert opened.status == 200
    assert f"jobs/{quote(rendered.job)}/".encode() in opened.body
    assert colleague.call("GET", rendered.path).status == 200
    assert colleague.call("GET", f"/jobs/{quote(rendered.job)}/", headers=PAGE).status == 200
    assert len(colleague.call("GET", "/api/v1/queue").json()["jobs"]) == 1
    assert colleague.call("POST", f"{rendered.path}/cancel", {}).status == 403
    assert colleague.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).status == 403
    old = rendered.client.authenticator.sign("link", -1, job=rendered.job, id="")
    assert rendered.client.as_("").call("GET", f"/link/{old}", headers=PAGE).status == 403
    vera = rendered.client.as_("vera")
    assert vera.call("GET", rendered.path).status == 404
    vera.call("GET", f"/{made['path']}", headers=PAGE)
    assert vera.call("GET", rendered.path).status == 200


def _events(client: Client, path: str, last: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield events as a browser gets them: ids and data."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {client._cookies()}\r\n"
    head += f"Last-Event-ID: {last}\r\n\r\n" if last is not None else "\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=stretched(30)) as connection:
        connection.sendall(head.encode())
        number = -1
        for line in connection.makefile("rb"):
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                number = int(value)
            elif name == "data":
                yield number, json.loads(value)


def test_events_continue_from_a_byte_of_the_journal_on_any_server(rendered: Rendered) -> None:
    size = (rendered.san / rendered.job / "journal.jsonl").stat().st_size
    number, first = next(_events(rendered.client, f"{rendered.path}/events"))
    assert number == first["offset"] <= size
    assert [page["page"] for page in first["pages"]] == list(range(1, PAGES + 1))
    assert all(page["file"] for page in first["pages"])
    with serving(rendered.san) as other:
        _, second = next(_events(other, f"{rendered.path}/events", number))
        assert second["pages"] == []
        assert second["counts"] == first["counts"]
        half = json.loads(
            next(
                json.dumps([len(data["pages"]), at])
                for at, data in _events(other, f"{rendered.path}/events", number // 2)
            )
        )
        assert 0 < half[0] <= PAGES
        assert half[1] == number
        poll = other.call("GET", f"{rendered.path}/events?wait=1&from=0")
        assert poll.json()["offset"] == number


def test_a_page_that_an_old_listing_lacks_is_shown_later_without_a_new_entry(
    rendered: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = JobFeed(rendered.san, rendered.job)
    feed.update()
    page = JobFolder(rendered.san / rendered.job).pages / "page-0003.png"
    hidden = page.rename(page.parent.parent / "hidden.png")
    before = feed.encoded_sheet()
    hidden.rename(page)
    assert feed.encoded_sheet() is before  # a page that was deleted by hand does not cost each request
    now = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: now + 31, time=time.time)
    monkeypatch.setattr(jobfeed, "time", clock)
    after = feed.encoded_sheet()
    assert b"page-0003.png" not in before.data
    assert b"page-0003.png" in after.data
    clock.monotonic = lambda: now + 3600
    assert feed.encoded_sheet() is after


def test_an_old_server_never_leads_a_page_back(rendered: Rendered) -> None:
    """A server whose view of the journal is older than the client's sends nothing older."""
    ahead = (rendered.san / rendered.job / "journal.jsonl").stat().st_size + 1000
    address = ("127.0.0.1", rendered.client.port)
    with socket.create_connection(address, timeout=stretched(30)) as connection:
        head = f"GET {rendered.path}/events?from={ahead} HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(f"{head}Cookie: {rendered.client._cookies()}\r\n\r\n".encode())
        found = b""
        while b"retry: 2000" not in found:
            found += connection.recv(4096)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            while block := connection.recv(4096):
                found += block
    assert b"id:" not in found


def test_requests_name_their_user_and_reach_the_job(san: Path) -> None:
    with serving(san) as client:
        upload = client.upload(pdfs.build(pdfs.numbered(2)))
        job = client.call("POST", f"/api/v1/uploads/{upload}/complete", {"priority": -5}).json()["job"]
        path, folder = f"/api/v1/jobs/{job}", JobFolder(san / job)
        assert jobattributes.load_signed(folder).priority == -5
        watching = _events(client, f"{path}/events")
        assert next(watching)[1]["state"] == "queued"
        held = client.call("POST", f"{path}/hold", {"note": "wait for the customer"})
        assert (held.status, held.json()["state"]) == (202, "held")
        assert next(watching)[1]["state"] == "held"
        assert jobattributes.load_signed(folder).held == "web:alice"
        assert client.call("DELETE", path).status == 409
        assert client.as_("olga").call("POST", f"{path}/release", {}).json()["state"] == "queued"
        assert client.call("GET", path).json()["position"] == 1
        assert client.call("POST", f"{path}/cancel", {}).json()["state"] == "cancelled"
        journal = folder.journal.read_text()
        assert '"web:alice"' in journal
        assert '"web:olga"' in journal
        assert client.call("POST", f"{path}/retry", {}).json()["state"] == "queued"
        client.call("POST", f"{path}/cancel", {})
        assert client.call("DELETE", path).status == 204
        list(watching)  # ends at once: the client's patience is shorter than a comment's interval
        assert client.call("GET", path).status == 404
        assert not folder.path.exists()


def test_jobs_of_the_command_line_are_for_operators(san: Path, home: Path) -> None:
    document = pdfs.write(home / "own.pdf", pdfs.numbered(1))
    made = scripting.submit(document, {"san": str(san), "output": str(home / "out")})
    with serving(san) as client:
        assert client.call("GET", f"/api/v1/jobs/{made.job}").status == 404
        assert client.as_("olga").call("GET", f"/api/v1/jobs/{made.job}").status == 200


def test_a_user_who_acts_is_named_in_this_thread_alone(san: Path, home: Path) -> None:
    document = pdfs.write(home / "own.pdf", pdfs.numbered(1))
    made = scripting.submit(document, {"san": str(san), "output": str(home / "out")})
    with acting_as("web:eve"):
        jobchanges.hold(san, [made.job])
    assert jobattributes.load_signed(JobFolder(san / made.job)).held == "web:eve"
    jobchanges.release(san, [made.job])
    jobchanges.hold(san, [made.job])
    assert "@" in jobattributes.load_signed(JobFolder(san / made.job)).held


def test_an_uploaded_job_is_sandboxed_unless_the_administrator_says_otherwise(
    san: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sshrender.api.web.webjobs import WebOptions, context_for

    plain = context_for({"san": str(san)}, None, WebOptions())
    assert plain.settings.sandbox == "bwrap"
    assert (
        context_for({"san": str(san), "sandbox": "none"}, None, WebOptions()).settings.sandbox == "none"
    )
    (home / "sshrender.toml").write_text('sandbox = "none"\n')
    assert context_for({"san": str(san)}, None, WebOptions()).settings.sandbox == "none"
