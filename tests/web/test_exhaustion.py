"""What one client could use up: connections, threads, memory, space; and what would outlast its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import bcrypt
import pytest
from starlette.requests import Request

from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.api.web import uploads, webjobs
from sshrender.api.web.jobfeed import JobFeed
from sshrender.api.web.pagearchive import Member, PageArchive
from sshrender.api.web.pagefiles import read_part
from sshrender.api.web.uploads import Quota
from sshrender.errors import ExitCode, UserError
from sshrender.web import authentication, jobwatchers, refusals, site
from sshrender.web.authentication import SHARED_SECONDS, Authenticator
from sshrender.web.refusals import Refused
from sshrender.web.roles import Person, Role
from sshrender.web.routing import Call, log_in
from sshrender.web.santhreads import SanThreads
from sshrender.web.settings import Auth, Limits, ServeSettings
from sshrender.web.site import Site, UserTurns
from tests import pdfs
from tests.stretch import stretched
from tests.web.serving import Client, serving

NODE = "/api/v1/jobs/{}"


def _submit(client: Client, name: str = "a.pdf", **options: Any) -> str:
    path = f"/api/v1/uploads/{client.upload(pdfs.build(pdfs.numbered(1)), name)}/complete"
    answer = client.call("POST", path, options)
    assert answer.status == 201, answer.body
    return str(answer.json()["job"])


@pytest.mark.parametrize("request_line", ["POST /api/v1/uploads", "GET /healthz", "DELETE /nowhere"])
def test_the_rest_of_a_body_that_is_answered_already_has_a_deadline(
    san: Path, request_line: str
) -> None:
    """No handler reads it, so a byte now and then kept the connection for ever."""
    with serving(san, limits=Limits(body_idle=0.3)) as client:
        head = f"{request_line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as slow:
            slow.sendall(head.encode())
            assert slow.recv(9) == b"HTTP/1.1 "
            slow.settimeout(0.05)
            with contextlib.suppress(ConnectionError):
                while True:
                    slow.sendall(b"x")
                    with contextlib.suppress(TimeoutError):
                        if not slow.recv(65536):
                            break


def test_a_body_that_arrives_after_its_answer_leaves_the_connection_usable(alice: Client) -> None:
    """The deadline is that of one body; the next request is not cut off by it."""
    head = "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
    last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answers = alice.as_("").raw(f"{head}body{last}".encode())
    assert (answers.count(b"HTTP/1.1 401 "), answers.count(b"HTTP/1.1 200 ")) == (1, 1)


def test_silent_connections_give_way_to_clients_that_ask(san: Path) -> None:
    """As many as the server takes, each within its deadline: all others were refused."""
    with serving(san, limits=Limits(connections=12)) as client, contextlib.ExitStack() as stack:
        head = f"GET /api/v1/queue HTTP/1.1\r\nHost: localhost\r\nCookie: {client._cookies()}\r\n\r\n"
        known = stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=20))
        for _ in range(40):
            made = socket.create_connection(("127.0.0.1", client.port), timeout=20)
            stack.enter_context(made).sendall(b"GET / HTTP/1.1\r\nHost: ")
        for _ in range(20):
            assert client.call("GET", "/api/v1/queue").status == 200
        # The oldest of all was silent, too.
        with contextlib.suppress(ConnectionError):
            known.sendall(head.encode())
            assert known.recv(1) == b""


def test_a_login_that_trickles_ends_and_only_few_arrive_at_the_same_time(
    san: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form of a person without a name: up to here the server reads what anybody sends."""
    monkeypatch.setattr("sshrender.web.htmlroutes.MAX_LOGINS", 3)
    users = home / "users"
    users.write_text("")
    head = (
        "POST /login HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
        "Content-Length: 1000\r\n\r\nname="
    )
    limits = Limits(headers=stretched(2))  # all four connect within it
    with serving(san, htpasswd=users, limits=limits) as client, contextlib.ExitStack() as stack:
        slow = []
        for _ in range(4):
            made = socket.create_connection(("127.0.0.1", client.port), timeout=stretched(20))
            slow.append(stack.enter_context(made))
            made.sendall(head.encode())
        answers = sorted(each.recv(12) for each in slow)
        assert answers == [b"HTTP/1.1 408"] * 3 + [b"HTTP/1.1 503"]


def _site(tmp_path: Path, pool: SanThreads | None = None) -> Site:
    settings = ServeSettings(san=tmp_path, auth=Auth.HTPASSWD)
    made = Site(settings, Authenticator(settings, b"key"))
    if pool is not None:
        made.pool = pool
    return made


def test_while_the_folder_hangs_all_who_wait_are_refused_with_the_first(tmp_path: Path) -> None:
    """One after the other, twenty of them would wait for 5, 10, ... 100 seconds."""
    ended, calls = threading.Event(), []

    async def run() -> list[Any]:
        found = _site(tmp_path, SanThreads(4, 0.3))

        def read() -> None:
            calls.append(1)
            ended.wait(60)

        found._table = cast(Any, SimpleNamespace(read=read))
        return await asyncio.gather(*(found.listed() for _ in range(20)), return_exceptions=True)

    answers = asyncio.run(run())
    ended.set()
    assert {answer.status for answer in answers} == {503}
    assert len(calls) == 1


class _Feed:
    """A job whose folder hangs."""

    def __init__(self, ended: threading.Event, pages: int = 1) -> None:
        self.name, self.pages, self.calls = "a", pages, 0
        self.report = SimpleNamespace(state="running")
        self.folder = SimpleNamespace(spec=SimpleNamespace(is_file=lambda: ended.wait(60)))
        self._ended = ended

    def update(self) -> bool:
        """Read what is new."""
        self.calls += 1
        self._ended.wait(60)
        return True


def test_a_job_that_is_opened_while_the_folder_hangs_is_refused_and_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first reading of a journal may take longer than other work, if the folder answers."""
    monkeypatch.setattr(jobwatchers, "ANSWER_TIMEOUT", 0.1)
    ended = threading.Event()
    feed = _Feed(ended)

    async def run() -> None:
        watched = jobwatchers.WatchedJob(
            cast(JobFeed, feed), SanThreads(4, stretched(0.4)), SanThreads(4, None)
        )
        for _ in range(3):
            with pytest.raises(Refused):
                await watched.refresh()
        assert feed.calls == 1
        ended.set()
        await watched.refresh()
        assert feed.calls == 1
        # A thread whose request has given up is still at work: no second one joins it.
        ended.clear()
        for _ in range(3):
            with pytest.raises(Refused):
                await watched.refresh(0)
        assert feed.calls == 2
        ended.set()

    asyncio.run(run())


def test_jobs_in_memory_are_bounded_by_their_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "MAX_FEED_PAGES", 1000)
    found = _site(tmp_path)

    def add(name: str, pages: int, watchers: int = 0, is_reading: bool = False) -> None:
        feed = SimpleNamespace(pages=pages)
        made = SimpleNamespace(feed=feed, watchers=watchers, is_reading=is_reading)
        found._feeds[name] = cast(Any, made)
        found._keep_few(name)

    add("huge", 5000)
    add("small", 10)
    assert list(found._feeds) == ["small"]
    add("live", 900, watchers=1)
    add("other", 80)
    assert list(found._feeds) == ["small", "live", "other"]
    with pytest.raises(Refused, match="too many jobs are open"):
        add("large", 200)
    assert list(found._feeds) == ["live"]
    # What was read of a large job stays, as its page asks again; but not of any number of jobs.
    for name in "abcd":
        add(name, 2000, is_reading=True)
    with pytest.raises(Refused, match="too many jobs are open"):
        add("e", 2000, is_reading=True)
    assert list(found._feeds) == ["live", *"abcd"]


def test_the_last_byte_of_an_archive_reads_each_page_once_for_all_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory has the checksums of all pages: a request of 100 bytes read the whole job."""
    page = tmp_path / "page"
    page.write_bytes(b"page")
    members = [Member(f"{number}.png", page, 4, f"digest-{number}") for number in range(50)]
    read: list[Path] = []
    original = read_part

    def counted(path: Path, start: int, end: int) -> Any:
        read.append(path)
        return original(path, start, end)

    monkeypatch.setattr("sshrender.api.web.pagearchive.read_part", counted)
    sums: dict[str, int] = {}
    blocks = []
    for _ in range(3):
        archive = PageArchive(members, sums)
        blocks.append(list(archive.read(archive.size - 1, archive.size)))
    assert len(read) == 50
    # Between two pages the thread is given back, and a client that has gone ends the work.
    assert [len(each) for each in blocks] == [51, 1, 1]


@pytest.mark.parametrize("turns", [Site.documents_of, Site.journals_of])
def test_a_users_documents_are_read_one_after_the_other_also_for_clients_that_hang_up(
    tmp_path: Path, turns: Callable[[Site, str], AbstractContextManager[UserTurns]]
) -> None:
    """Two threads read documents, and four whole journals: one user had all, and all others waited."""
    ended, begun = threading.Event(), []

    def read(user: str) -> str:
        begun.append(user)
        if user == "mallory":
            ended.wait(60)
        return user

    async def run() -> None:
        found = _site(tmp_path)

        async def ask(user: str) -> str:
            with turns(found, user) as turn:
                return str(await turn(read, user))

        first = asyncio.create_task(ask("mallory"))
        while not begun:
            await asyncio.sleep(0.01)
        first.cancel()
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask("mallory"), 0.05)
        assert await ask("bob") == "bob"
        assert sorted(begun) == ["bob", "mallory"]
        waiting = [asyncio.create_task(ask("mallory")) for _ in range(25)]
        await asyncio.sleep(0)
        refused = [each for each in waiting if each.done() and each.exception()]
        assert [cast(Refused, each.exception()).status for each in refused] == [429] * 5
        ended.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert answers.count("mallory") == 20
        assert found.reading == {}

    asyncio.run(run())


def test_the_reserve_stays_while_parts_arrive_and_a_full_disk_says_so(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(san) as client:
        begun = client.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
        part = f"/api/v1/uploads/{begun['id']}/parts/0"
        # Others have taken the space meanwhile.
        monkeypatch.setattr("sshrender.storage.files.free_bytes", lambda _san: Quota().reserve)
        answer = client.call("PUT", part, b"%PDF-12345")
        assert (answer.status, answer.json()["error"]) == (
            507,
            "the shared folder has too little free space",
        )
        monkeypatch.undo()

        def full(_self: object, _data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(uploads.PartWriter, "write", full)
            assert client.call("PUT", part, b"%PDF-12345").status == 507
        folder = san / ".web" / "uploads" / begun["id"]
        assert [each.name for each in folder.iterdir()] == ["upload.json"]
        assert client.call("PUT", part, b"%PDF-12345").status == 204
    assert refusals.of(OSError(errno.EIO, "Input/output error")).status == 503


def test_a_part_that_ends_after_its_upload_became_a_job_leaves_nothing(alice: Client, san: Path) -> None:
    document = pdfs.build(pdfs.numbered(1))
    upload = alice.upload(document)
    path = f"/api/v1/uploads/{upload}"
    head = (
        f"PUT {path}/parts/0 HTTP/1.1\r\nHost: localhost\r\nCookie: {alice._cookies()}\r\n"
        f"Content-Length: {len(document)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", alice.port), timeout=30) as slow:
        slow.sendall(head.encode() + document[:100])
        folder = san / ".web" / "uploads" / upload
        while not [each for each in folder.iterdir() if each.name.startswith(".0.")]:
            time.sleep(0.01)
        assert alice.call("POST", f"{path}/complete", {}).status == 201
        slow.sendall(document[100:])
        assert slow.recv(12) == b"HTTP/1.1 409"
    assert sorted(each.name for each in folder.iterdir()) == ["job.json", "upload.json"]


def test_seven_days_of_a_link_are_not_begun_anew_by_another_link(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(san) as client:
        first, second = _submit(client, "first.pdf"), _submit(client, "second.pdf")
        links = [client.call("POST", f"{NODE.format(job)}/link", {}).json() for job in (first, second)]
        stranger = client.as_("")
        assert stranger.call("GET", f"/{links[0]['path']}").status == 200
        now = time.time()
        known = client.authenticator.read("link", links[1]["path"].removeprefix("link/"))
        assert known is not None
        late = client.authenticator.sign("link", SHARED_SECONDS * 1.8, job=second, id=known["id"])
        monkeypatch.setattr("time.time", lambda: now + 0.9 * SHARED_SECONDS)
        assert stranger.call("GET", f"/link/{late}").status == 200
        assert stranger.call("GET", NODE.format(first)).status == 200
        monkeypatch.setattr("time.time", lambda: now + 1.1 * SHARED_SECONDS)
        assert stranger.call("GET", NODE.format(first)).status == 404
        assert stranger.call("GET", NODE.format(second)).status == 200


def test_of_many_passwords_at_the_same_moment_only_a_few_are_answered() -> None:
    """All of them were allowed before the first one had failed."""

    async def run() -> list[Any]:
        begun = asyncio.Event()

        async def compare(_work: Callable[..., bool], _name: str, password: str) -> bool:
            await begun.wait()
            return password == "right"

        fake = SimpleNamespace(
            authenticator=SimpleNamespace(
                address=lambda _request: "10.0.0.7",
                attempts=authentication._Attempts(5),
                is_password=None,
            ),
            logins_of=lambda _user: contextlib.nullcontext(compare),
        )
        words = ["wrong"] * 12 + ["right"]
        tasks = [
            asyncio.create_task(log_in(cast(Any, fake), cast(Any, None), "a", word)) for word in words
        ]
        await asyncio.sleep(0)
        begun.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(run())
    assert answers[:5] == [False] * 5
    assert {getattr(each, "status", each) for each in answers[5:]} == {429}


def test_a_session_ends_with_the_password_that_began_it(san: Path, home: Path) -> None:
    users = home / "users"

    def write(**words: str) -> None:
        lines = (
            f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n"
            for name, word in words.items()
        )
        new = users.with_suffix(".new")
        new.write_text("".join(lines))
        new.rename(users)

    write(alice="first", bob="word")
    with serving(san, htpasswd=users) as client:
        sessions = {}
        for name in ("alice", "bob"):
            visitor = sessions[name] = client.as_("")
            visitor.cookies[authentication.SESSION] = client.authenticator.session(name, 600)
            assert visitor.call("GET", "/api/v1/queue").status == 200
        write(alice="second")
        for visitor in sessions.values():
            assert visitor.call("GET", "/api/v1/queue").status == 401
        # One that was signed for a server without this file, or by an older version.
        visitor.cookies[authentication.SESSION] = client.authenticator.sign("session", 600, name="alice")
        assert visitor.call("GET", "/api/v1/queue").status == 401


def test_a_password_is_forgotten_with_its_job(san: Path) -> None:
    passwords = UploadPasswords()
    with serving(san, passwords=passwords) as client:
        job = _submit(client)
        passwords.give(job, "secret")
        passwords.forget_ended(san)
        assert passwords.of(job) == "secret"
        assert client.call("POST", f"{NODE.format(job)}/cancel", {}).status == 202
        assert passwords.of(job) is None
        # Cancelled or deleted by way of another server: this one finds it when it tidies up.
        passwords.give(job, "secret")
        passwords.forget_ended(san)
        assert passwords.of(job) is None
        passwords.give(job, "secret")
        assert client.call("DELETE", NODE.format(job)).status == 204
        assert passwords.of(job) is None
        passwords.give(job, "secret")
        passwords.forget_ended(san)
        assert passwords.of(job) is None


def test_no_name_of_a_job_leads_above_the_folder(alice: Client, san: Path) -> None:
    job = _submit(alice)
    inner = san / job / "inner"
    inner.mkdir()
    with serving(inner) as client:
        for name in ("..", "%2e%2e", ".", ".web"):
            for path in (NODE.format(name), f"/jobs/{name}/", f"{NODE.format(name)}/pages.zip"):
                assert client.as_("olga").call("GET", path).status == 404


def test_an_error_of_a_document_names_it_and_no_path(
    alice: Client, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/v1/uploads/{alice.upload(pdfs.build(pdfs.numbered(1)), 'Katalog.pdf')}/complete"

    def fail(_context: object, document: Path, *_rest: object, **_named: object) -> None:
        raise UserError(
            ExitCode.DOCUMENT,
            f"{document}: damaged beyond repair (in {san}/x)",
            f"copy it again; to see what is wrong: qpdf --check {document}",
        )

    monkeypatch.setattr(webjobs, "submit", fail)
    assert alice.call("POST", path, {}).json() == {
        "error": "Katalog.pdf: damaged beyond repair (in the shared folder/x)",
        "hint": "copy it again",
    }


def test_no_user_takes_the_name_that_another_ones_job_would_get(alice: Client) -> None:
    document = pdfs.build(pdfs.numbered(1))
    jobs = set()
    for user, name in (("alice", "doc.pdf"), ("alice", "doc-bob.pdf"), ("bob", "doc.pdf")):
        client = alice.as_(user)
        answer = client.call("POST", f"/api/v1/uploads/{client.upload(document, name)}/complete", {})
        assert answer.status == 201, answer.body
        jobs.add(answer.json()["job"])
    assert len(jobs) == 3


def test_a_batch_system_that_does_not_answer_keeps_no_other_work_waiting(
    alice: Client, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for up to a minute; four cancelled jobs had every thread for longer work."""
    path = NODE.format(job := _submit(alice))
    (san / job / "batch" / "ssr-00000001").mkdir(parents=True)
    answers_again, asked = threading.Event(), threading.Semaphore(0)

    def cancel(*_arguments: object) -> list[object]:
        asked.release()
        assert answers_again.wait(60)
        return []

    monkeypatch.setattr(webjobs, "cancel", cancel)
    with ThreadPoolExecutor(4) as threads:
        cancelled = [threads.submit(alice.call, "POST", f"{path}/cancel", {}) for _ in range(4)]
        try:
            for _ in range(4):
                assert asked.acquire(timeout=60)
            answer = alice.call("POST", f"{path}/release", {})
            assert (answer.status, answer.json()["no_need"]) == (202, "was not held")
        finally:
            answers_again.set()
        assert {each.result().status for each in cancelled} == {202}


def test_visitors_by_one_link_have_each_a_quota_of_their_own(tmp_path: Path) -> None:
    def asker(address: str, name: str) -> str:
        request = Request({"type": "http", "client": (address, 1), "headers": []})
        return Call(request, _site(tmp_path), Person(name, Role.VIEWER)).asker

    assert asker("10.0.0.1", "") != asker("10.0.0.2", "")
    assert asker("10.0.0.1", "ann") == asker("10.0.0.2", "ann") == "web:ann"
    # What counts as one client of IPv6 is a line, and not each of its addresses.
    assert asker("2001:db8::1", "") == asker("2001:db8::2", "")
