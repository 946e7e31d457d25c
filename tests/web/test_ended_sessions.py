"""What ends while a page is open: a session, a link, a part of an upload. Each user is told."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sshrender.api.web import uploads, webfolder
from sshrender.web import jobroutes, jobwatchers
from sshrender.web.authentication import SESSION, Authenticator
from tests import pdfs
from tests.stretch import stretched, wait_until
from tests.views.chromium import Browser
from tests.web.serving import Client, serving
from tests.web.test_pages import DROP, Page

HASH = "$2y$04$" + "a" * 53
ALONE = "Host: localhost\r\nConnection: close"
TOLD = "document.querySelector('.upload p')?.textContent.includes({!r})"
ASKED = "performance.getEntriesByType('resource').filter((each) => each.name.endsWith('/queue')).length"
OFFLINE = "document.getElementById('offline')?.textContent.includes({!r})"


def _job(client: Client, pages: int = 2) -> str:
    upload = client.upload(pdfs.build(pdfs.numbered(pages)))
    return str(client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"])


def _lines(client: Client, path: str, user: str = "") -> Iterator[str]:
    """Yield the lines of a stream until the server ends it."""
    secret = base64.b64encode(f"{user}:right".encode()).decode()
    way_in = f"Authorization: Basic {secret}" if user else f"Cookie: {client._cookies()}"
    with socket.create_connection(("127.0.0.1", client.port), timeout=stretched(30)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{ALONE}\r\n{way_in}\r\n\r\n".encode())
        until = time.monotonic() + stretched(60)
        for line in connection.makefile("rb"):
            # An open stream has a line now and then, for ever.
            assert time.monotonic() < until, "the server does not end the stream"
            yield line.decode().strip()


def test_an_open_stream_ends_with_its_session_and_with_its_user(
    san: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobroutes, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(jobwatchers, "COMMENT_INTERVAL", 0.2)
    users = home / "users"
    users.write_text(f"alice:{HASH}\n")
    with serving(san, htpasswd=users) as client:
        path = f"/api/v1/jobs/{_job(client)}"
        monkeypatch.setattr("sshrender.web.authentication.Authenticator.is_password", lambda *_: True)
        streams = [_lines(client, f"{path}/events"), _lines(client, f"{path}/events", "alice")]
        for stream in streams:
            assert any(line.startswith("id: ") for line in stream)
        # One change of the job is told: the session is valid.
        assert client.call("POST", f"{path}/hold", {}).status == 202
        for stream in streams:
            assert any('"held"' in line for line in stream)
        users.write_text(f"bob:{HASH}\n")
        assert client.as_("olga").call("GET", path).status == 401
        for stream in streams:
            assert not any(line.startswith("id: ") for line in stream)


def test_an_open_stream_ends_with_its_link_though_another_link_is_valid(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobroutes, "CHECK_INTERVAL", 0.0)
    monkeypatch.setattr(jobwatchers, "COMMENT_INTERVAL", 0.2)
    jobs, reader = [_job(alice, pages) for pages in (2, 3)], alice.as_("")
    for job in jobs:
        link = alice.call("POST", f"/api/v1/jobs/{job}/link", {}).json()["path"]
        assert reader.call("GET", f"/{link}").status == 200
    stream = _lines(reader, f"/api/v1/jobs/{jobs[0]}/events")
    assert any(line.startswith("id: ") for line in stream)
    links = Authenticator._links
    monkeypatch.setattr(
        Authenticator,
        "_links",
        lambda self, request: {jobs[1]: links(self, request)[jobs[1]]},
    )
    assert not any(line.startswith("id: ") for line in stream)


def test_the_passwords_of_one_program_are_compared_one_after_the_other(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many requests at a time it had both threads, and no other user could log in."""
    free, waiting = threading.Event(), threading.Semaphore(0)

    def is_password(_self: Authenticator, name: str, _password: str) -> bool:
        if name == "alice":
            waiting.release()
            assert free.wait(stretched(60))
        return True

    def status(user: str) -> int:
        secret = base64.b64encode(f"{user}:right".encode()).decode()
        return (
            alice.as_("").call("GET", "/api/v1/queue", None, {"Authorization": f"Basic {secret}"}).status
        )

    monkeypatch.setattr(Authenticator, "is_password", is_password)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(status, "alice") for _ in range(8)]
        try:
            assert waiting.acquire(timeout=stretched(60))
            assert status("bob") == 200
            assert not waiting.acquire(blocking=False), "her second one is not compared yet"
        finally:
            free.set()
        assert {each.result() for each in asked} == {200}


def test_the_link_of_a_deleted_job_does_not_open_its_successor(alice: Client) -> None:
    """The same document with the same settings has the same name again."""
    job = _job(alice)
    path = f"/api/v1/jobs/{job}"
    link = alice.call("POST", f"{path}/link", {}).json()["path"]
    reader, late = alice.as_(""), alice.as_("")
    assert reader.call("GET", f"/{link}").status == 200
    assert reader.call("GET", path).status == 200
    assert [line["name"] for line in reader.call("GET", "/api/v1/queue").json()["jobs"]] == [job]
    alice.call("POST", f"{path}/cancel", {})
    assert alice.call("DELETE", path).status == 204
    assert _job(alice) == job
    assert alice.call("GET", path).json()["state"] == "queued"
    assert late.call("GET", f"/{link}").status == 200
    for each in (reader, late):
        assert each.call("GET", path).status == 404
        assert each.call("GET", f"{path}/sheet").status == 404
        assert each.call("GET", "/api/v1/queue").json()["jobs"] == []
        assert each.call("GET", "/api/v1/jobs").json()["jobs"] == []


def test_a_job_that_another_server_replaces_is_read_anew(alice: Client, san: Path) -> None:
    job = _job(alice)
    path = f"/api/v1/jobs/{job}"
    link = alice.call("POST", f"{path}/link", {}).json()["path"]
    reader = alice.as_("")
    reader.call("GET", f"/{link}")
    assert reader.call("GET", path).status == 200
    with serving(san) as other:
        other.call("POST", f"{path}/cancel", {})
        assert other.call("DELETE", path).status == 204
        assert _job(other) == job
    wait_until(lambda: reader.call("GET", path).status == 404, what="the new job")
    assert alice.call("GET", path).json()["state"] == "queued"


def _drop(browser: Browser, data: bytes) -> None:
    browser.run(DROP.replace("@DATA@", base64.b64encode(data).decode()))


def test_parts_that_the_server_has_lost_are_sent_again(
    browser: Browser, alice: Client, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "VISIBLE_TIMEOUT", 0.0)
    page = Page(browser, alice, "alice")
    page.open("")
    _drop(browser, pdfs.build(pdfs.numbered(3)))
    browser.wait_for(TOLD.format("3 pages"))
    (folder,) = (webfolder.own_folder(san) / "uploads").iterdir()
    for name in ("0.part", *(f"document/{each.name}" for each in (folder / "document").iterdir())):
        (folder / name).unlink()
    browser.run("document.getElementById('dpi').value = '72'")
    browser.click(".upload button.main:not(.lock *)")
    wait_until((folder / "0.part").exists, what="the part")
    # As a whole, too: as after a day.
    browser.wait_for(TOLD.format("3 pages"))
    assert alice.call("DELETE", f"/api/v1/uploads/{folder.name}").status == 204
    browser.click(".upload button.main:not(.lock *)")
    wait_until(lambda: any((folder.parent).glob("*/0.part")), what="the new upload")
    browser.wait_for(TOLD.format("3 pages"))
    browser.click(".upload button.main:not(.lock *)")
    browser.wait_for("location.pathname.includes('/jobs/')")


def _session(browser: Browser, base: str, value: str) -> None:
    browser.call("Network.setCookie", name=SESSION, value=value, url=base, httpOnly=True)


def test_an_upload_waits_for_its_user_to_log_in_again(browser: Browser, alice: Client) -> None:
    page = Page(browser, alice, "alice")
    page.open("")
    _session(browser, page.base, alice.authenticator.sign("session", -1, name="alice"))
    _drop(browser, pdfs.build(pdfs.numbered(2)))
    browser.wait_for(OFFLINE.format("Your uploads continue when you are logged in again"))
    browser.run("window.isSame = true; document.querySelector('#offline a').focus()")
    asked = browser.run(ASKED)
    browser.wait_for(f"{ASKED} >= {asked + 2}")
    assert browser.run("document.activeElement.target") == "_blank", "the banner stays as it is"
    _session(browser, page.base, alice.authenticator.session("alice", 600))
    browser.wait_for(TOLD.format("2 pages"))
    assert browser.run("window.isSame")
    browser.wait_for("document.getElementById('offline').hidden")
    # Another user of this browser does not get the page of this one.
    _session(browser, page.base, alice.authenticator.session("bob", 600))
    browser.wait_for("!window.isSame && document.querySelector('.who')?.textContent === 'bob'")
    assert not browser.run("document.querySelector('.upload')")


def test_who_logs_out_in_one_window_is_logged_out_in_all(browser: Browser, alice: Client) -> None:
    page = Page(browser, alice, "alice")
    job = _job(alice)
    page.open(f"jobs/{job}/")
    # As after a click: otherwise the browser opens no window.
    opened = "window.other = open(document.body.dataset.root), other !== null"
    found = browser.call("Runtime.evaluate", expression=opened, userGesture=True)
    assert found["result"]["value"], "the second window"
    form = "other.document.querySelector('form[action$=logout] button')"
    browser.wait_for(f"!!{form} && other.document.documentElement.dataset.built === 'yes'")
    browser.run(f"{form}.click()")
    browser.wait_for("!!document.querySelector('form[action$=login]')")
    assert browser.run("location.pathname").endswith(f"/jobs/{job}/"), "after the login it opens again"
