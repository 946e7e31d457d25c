"""A hostile web user is refused as docs/security.md says, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import pytest

from sshrender.api.web import uploads, webfolder
from sshrender.api.web.jobfeed import JobFeed
from sshrender.api.web.uploaderrors import UploadError
from sshrender.api.web.uploads import Quota
from sshrender.job import userfolders
from sshrender.web.authentication import SESSION
from sshrender.web.settings import Limits
from tests import pdfs
from tests.stretch import stretched
from tests.web.serving import Client, serving

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha-256=",
        "sha-256=::",
        "sha-256=:nonsense:",
        "sha-256=:AAAA:",
        "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:",
        "sha-512=:AAAA:",
        "xsha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
        "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:junk",
        "sha-256=²",
    ],
)
def test_a_digest_that_cannot_be_compared_is_refused_and_not_ignored(alice: Client, header: str) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
    part = f"/api/v1/uploads/{begun['id']}/parts/0"
    sent = {"Content-Digest": header.encode().decode("latin-1")}
    assert alice.call("PUT", part, b"%PDF-12345", sent).status == 400
    assert alice.call("GET", f"/api/v1/uploads/{begun['id']}").json()["received"] == []


def test_a_digest_may_stand_beside_others(alice: Client) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
    sent = {"Content-Digest": "sha-512=:AAAA:, sha-256=:7/hdM5+5b5nC/JN+ZVHUZDuqGwVmA3vP6fWxVsSyVUQ=:"}
    answer = alice.call("PUT", f"/api/v1/uploads/{begun['id']}/parts/0", b"%PDF-12345", sent)
    assert answer.status == 422  # compared, and different


@pytest.mark.parametrize("length", ["²", "٣", "9" * 40, "1_0", "+10", "-1", ""])
def test_a_length_that_is_no_number_breaks_nothing(alice: Client, length: str) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
    head = (
        f"PUT /api/v1/uploads/{begun['id']}/parts/0 HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: {alice._cookies()}\r\nContent-Length: {length}\r\n\r\n"
    )
    answer = alice.raw(head.encode() + b"%PDF-12345")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


@pytest.mark.parametrize("number", ["²", "٣", "1_0", "-1", "+1", "1" * 300, " 1", "0x1"])
def test_a_number_in_the_path_has_digits_only(alice: Client, number: str) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
    path = f"/api/v1/uploads/{begun['id']}/parts/{quote(number)}"
    assert alice.call("PUT", path, b"%PDF-12345").status == 404


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("complete", {"assemble": "yes"}, "assemble: true or false"),
        ("complete", {"assemble": 1}, "assemble: true or false"),
        ("complete", {"pages": ["1"]}, "pages: a text"),
        ("complete", {"device": {"a": 1}}, "device: a text"),
        ("complete", {"dpi": "150"}, "30 to 600"),
        ("complete", {"password": 1}, "password: a text"),
        ("complete", {"password": "x" * 128}, "at most 127"),
        ("inspect", {"resolution": 150}, "not a setting of uploaded jobs"),
        ("", {"name": "a.pdf", "size": 10, "part_size": True}, "are numbers"),
        ("", {"name": "a.pdf", "size": 10, "partsize": 1}, "not a field of this request"),
        ("", {"name": "a.pdf", "size": 1.5}, "are numbers"),
    ],
)
def test_a_wrong_field_is_refused_and_never_taken_for_another_value(
    alice: Client, path: str, fields: dict[str, object], words: str
) -> None:
    target = "/api/v1/uploads"
    if path:
        target += f"/{alice.upload(pdfs.build(pdfs.numbered(1)))}/{path}"
    answer = alice.call("POST", target, fields)
    assert (answer.status, words in answer.json()["error"]) == (400, True), answer.body
    assert answer.json()["hint"]


def test_requests_to_a_job_take_their_own_fields_alone(alice: Client) -> None:
    upload = alice.upload(pdfs.build(pdfs.numbered(1)))
    job = alice.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"]
    for verb, fields, words in (
        ("retry", {"page": 7}, "page: not a field"),
        ("retry", {"pages": "7"}, "a list of numbers"),
        ("retry", {"pages": [True]}, "a list of numbers"),
        ("retry", {"pages": [1]}, "page 1 has not failed"),
        ("hold", {"notes": "a"}, "notes: not a field"),
        ("hold", {"note": 7}, "note is a text"),
        ("cancel", {"all": True}, "all: not a field"),
    ):
        answer = alice.call("POST", f"/api/v1/jobs/{job}/{verb}", fields)
        assert (answer.status, words in answer.json()["error"]) == (400, True), answer.body
    assert alice.call("GET", f"/api/v1/jobs/{job}").json()["state"] == "queued"


def test_two_servers_together_keep_a_users_quota(san: Path) -> None:
    """Each request looks whether there is room, and all of them look at the same moment."""
    quota = Quota(document=1000, total=1 << 20, uploads=3, reserve=0)
    with ExitStack() as stack:
        clients = [stack.enter_context(serving(san, quota=quota)) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        begin = {"name": "a.pdf", "size": 10}

        def one(number: int) -> int:
            return clients[number % 2].call("POST", "/api/v1/uploads", begin).status

        answers = list(pool.map(one, range(40)))
        assert set(answers) <= {201, 429}
        assert answers.count(201) <= 3
        assert uploads.open_count(san) == answers.count(201)
        assert clients[0].as_("bob").call("POST", "/api/v1/uploads", begin).status == 201


def test_the_first_uploads_may_come_at_the_same_time(san: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each finds no folder of this user, and makes one: all but the first find it made."""
    looked = threading.Barrier(4)
    find = userfolders.find

    def find_together(folder: Path, name: str) -> Any:
        found = find(folder, name)
        if not found:
            looked.wait(stretched(60))
        return found

    monkeypatch.setattr(userfolders, "find", find_together)
    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(webfolder.make_folder, san, "uploads") for _ in range(4)]:
            made.result()
    assert [each.name for each in san.iterdir()] == [webfolder.FOLDER]


def test_bytes_are_counted_by_both_servers_too(san: Path) -> None:
    quota = Quota(document=1000, total=2500, uploads=100, reserve=0)
    with ThreadPoolExecutor(6) as pool:

        def one(_number: int) -> int:
            try:
                return uploads.begin(san, "web:mallory", "a.pdf", 1000, uploads.MIN_PART, quota).size
            except UploadError:
                return 0

        kept = sum(pool.map(one, range(30)))
    assert kept <= 2500
    assert kept == 1000 * uploads.open_count(san)


def test_ten_thousand_open_uploads_of_others_delay_nobody(san: Path) -> None:
    """Of many users each has the allowed number; the one who wants more is refused."""
    folder = san / ".web" / "uploads"
    uploads.begin(san, "web:first", "a.pdf", 10, uploads.MIN_PART, Quota())
    for number in range(10_000):
        (folder / f"{number % 500:012x}-{number:032x}").mkdir()
    with serving(san) as client:
        mallory = client.as_("mallory")
        begin = {"name": "a.pdf", "size": 10}
        answers = [mallory.call("POST", "/api/v1/uploads", begin).status for _ in range(40)]
        assert answers == [201] * 20 + [429] * 20
        upload = client.upload(pdfs.build(pdfs.numbered(1)))
        assert client.call("POST", f"/api/v1/uploads/{upload}/inspect", {}).json()["pages"] == 1
        assert b"sshrender_uploads 10022" in client.as_("").call("GET", "/metrics").body


def test_the_limit_of_unfinished_jobs_counts_those_that_are_being_made(san: Path) -> None:
    limits = Limits(unfinished_jobs=2)
    with serving(san, limits=limits) as client, ThreadPoolExecutor(5) as pool:
        document = pdfs.build(pdfs.numbered(1))
        made = [client.upload(document, f"{number}.pdf") for number in range(5)]

        def complete(upload: str) -> int:
            return client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).status

        answers = list(pool.map(complete, made))
        assert sorted(set(answers)) == [201, 429]
        assert answers.count(201) <= 2
        assert client.as_("bob").call("GET", "/api/v1/queue").status == 200


def test_a_planted_cookie_gets_no_rights_by_the_login_of_its_victim(san: Path, home: Path) -> None:
    """A session is a signed name: one that an attacker has set stays the attacker's, or nothing."""
    users = home / "users"
    hashes = [bcrypt.hashpw(word, bcrypt.gensalt(4)).decode() for word in (b"right", b"other")]
    users.write_text(f"alice:{hashes[0]}\nmallory:{hashes[1]}\n")
    with serving(san, htpasswd=users) as client:
        own = client.authenticator.session("mallory", 600)
        for planted in ("chosen-by-mallory", own):
            victim = client.as_("")
            victim.cookies[SESSION] = planted
            answer = victim.call("POST", "/login", b"name=alice&password=right", FORM)
            assert answer.status == 303
            assert victim.cookies[SESSION] != planted
            attacker = client.as_("")
            attacker.cookies[SESSION] = planted
            assert attacker.call("GET", "/api/v1/queue").status == (200 if planted == own else 401)
            upload = victim.upload(pdfs.build(pdfs.numbered(1)), f"of-{len(planted)}.pdf")
            assert victim.call("POST", f"/api/v1/uploads/{upload}/complete", {}).status == 201
            assert planted != own or attacker.call("GET", "/api/v1/queue").json()["jobs"] == []


@contextlib.contextmanager
def _silent_readers(
    client: Client, path: str, count: int, buffer: int = 4096
) -> Iterator[list[socket.socket]]:
    """Clients that ask for a large file and read nothing."""
    found = []
    try:
        for _ in range(count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            made.settimeout(stretched(20))
            made.connect(("127.0.0.1", client.port))
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {client._cookies()}\r\n\r\n"
            made.sendall(head.encode())
            found.append(made)
        yield found
    finally:
        for each in found:
            each.close()


def test_a_client_that_takes_nothing_of_a_download_is_disconnected(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 16 << 20
    # A large answer without a job of that size.
    big = "x" * size
    monkeypatch.setattr("sshrender.web.app.document", lambda _endpoints: {"data": big})
    limits = Limits(reading=stretched(1.5), connections=12)  # an honest client has to be faster
    with (
        serving(san, limits=limits) as client,
        _silent_readers(client, "/api/v1/openapi.json", 6) as idle,
    ):
        cut: set[socket.socket] = set()
        while len(cut) < len(idle):
            assert client.call("GET", "/healthz").status == 200
            # A reset shows as an error, once, without that anything is read.
            cut |= {each for each in idle if each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)}
            time.sleep(0.05)
        # One that reads, however slowly, gets all of it.
        slow = client.call("GET", "/api/v1/openapi.json")
        assert len(slow.body) > size


def test_a_slow_reader_that_takes_enough_gets_everything(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3 << 20
    monkeypatch.setattr("sshrender.web.app.document", lambda _endpoints: {"data": "x" * size})
    ended = threading.Event()
    with (
        serving(san, limits=Limits(reading=stretched(1.5), body_rate=1)) as client,
        _silent_readers(client, "/api/v1/openapi.json", 1, 64 << 10) as (reader,),
    ):
        received = 0
        while received < size:
            block = reader.recv(64 << 10)
            assert block, "disconnected although it reads"
            received += len(block)
            ended.wait(0.04)


def test_text_from_elsewhere_is_text_on_every_page(san: Path) -> None:
    """Names of hosts, users and files, notes and diagnostics: none of them ends an element."""
    evil = "</script><img src=x onerror=alert(1)>\"'&\u2028"
    with serving(san) as client:
        upload = client.upload(pdfs.build(pdfs.numbered(1)), f"{evil[:60]}.pdf")
        answer = client.call("POST", f"/api/v1/uploads/{upload}/complete", {})
        assert answer.status == 201, answer.body
        job = answer.json()["job"]
        client.call("POST", f"/api/v1/jobs/{quote(job, safe='')}/hold", {"note": evil})
        pages = ["/", f"/jobs/{quote(job, safe='')}/", "/hosts", f"/jobs/{quote(evil, safe='')}/"]
        for path in pages:
            page = client.as_("olga").call("GET", path, headers={"Accept": "text/html"}).body.decode()
            assert "<img src=x" not in page
            assert page.count("</script>") == page.count("<script")


def test_an_expired_or_foreign_link_says_so_and_gives_nothing(alice: Client) -> None:
    upload = alice.upload(pdfs.build(pdfs.numbered(1)))
    job = alice.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"]
    stranger = alice.as_("")
    other = alice.authenticator
    for token in (
        other.sign("link", -1, job=job, id=""),
        other.sign("session", 100, job=job, name="link"),
        f"{other.sign('link', 100, job=job)}x",
        "x.y",
        "." * 200,
    ):
        answer = stranger.call("GET", f"/link/{token}", headers={"Accept": "text/html"})
        assert answer.status == 403, token
        assert "ask for a new one" in answer.body.decode().lower()
        assert "Set-Cookie" not in answer.headers


def test_many_who_open_a_job_at_the_same_moment_share_one_reading_of_it(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred readings of one journal took all threads, and most watchers were refused."""
    from sshrender.web import site

    made: list[str] = []

    def counted(folder: Path, name: str) -> JobFeed:
        made.append(name)
        return JobFeed(folder, name)

    with serving(san) as client, ThreadPoolExecutor(24) as pool:
        upload = client.upload(pdfs.build(pdfs.numbered(1)))
        job = client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"]
        monkeypatch.setattr(site, "JobFeed", counted)
        path = f"/api/v1/jobs/{job}"
        answers = list(pool.map(lambda _: client.call("GET", path).status, range(48)))
        assert set(answers) == {200}
        assert made == [job]
        # A job that is not there is looked for again: it may come.
        for _ in range(2):
            assert client.call("GET", f"{path}x").status == 404
        assert made == [job, f"{job}x", f"{job}x"]
