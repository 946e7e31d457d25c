"""Requests that no browser sends by itself: odd names, targets and headers, and races."""

from __future__ import annotations

import ipaddress
import re
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from starlette.requests import Request

from sshrender.api.web import uploads, webaccess, webfolder
from sshrender.api.web.uploaderrors import UploadError
from sshrender.api.web.uploads import PartWriter, Quota
from sshrender.web.authentication import Authenticator
from sshrender.web.settings import Auth, ServeSettings
from tests import pdfs
from tests.stretch import wait_until
from tests.web.serving import Client, serving
from tests.web.test_journeys import Hand

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "none"}


def _asks(client: Client, target: str, host: str) -> int:
    """Return the status of a request line and a Host header as they are given here."""
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        f"Cookie: {client._cookies()}",
        "Connection: close",
    )
    return int(client.raw("\r\n".join([*lines, "", ""]).encode("latin-1")).split(b" ", 2)[1])


def test_names_ports_and_whole_addresses_are_read_as_they_are_written(alice: Client) -> None:
    """Behind the port anything was let through, and the rest of the server saw it as an address."""
    queue = "/api/v1/queue"
    for host in ("LOCALHOST:99", "localhost:", "127.0.0.1", "[::1]:8470"):
        assert _asks(alice, queue, host) == 200, host
    for host in (
        *("localhost:1/../a?b", "localhost:abc", "localhost:80@evil.example", "user@localhost"),
        *("[::1]x", "localhost.", "localhost evil.example", "evil.example:localhost", "2130706433", "é"),
    ):
        assert _asks(alice, queue, host) == 400, host
    # The form that every server takes; its name counts, and not the header (RFC 9112, 3.2.2).
    assert _asks(alice, f"http://localhost{queue}", "evil.example") == 200
    assert _asks(alice, f"http://evil.example{queue}", "localhost") == 400
    for target in ("//", "//evil.example/", "/%2e%2e/", "/jobs/..%2f../", "*", "evil.example:80"):
        assert _asks(alice, target, "localhost") == 404, target


def _request(headers: Sequence[tuple[str, str]], peer: str) -> Request:
    sent = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": sent, "client": (peer, 5), "path": "/", "method": "GET"})


def _knows(auth: Auth, *peers: str) -> Authenticator:
    networks = tuple(ipaddress.ip_network(peer) for peer in peers)
    return Authenticator(ServeSettings(san=Path("/san"), auth=auth, peers=networks), b"key")


def test_of_two_names_in_the_header_of_a_proxy_none_counts() -> None:
    """A proxy that adds its own line leaves that of the browser in front of it."""
    knows, name = _knows(Auth.PROXY, "10.0.0.5"), "x-forwarded-user"
    found = knows.person(_request([(name, "alice")], "10.0.0.5"))
    assert found is not None
    assert found.name == "alice"
    assert knows.person(_request([(name, "root"), (name, "alice")], "10.0.0.5")) is None
    # A socket of IPv6 shows the addresses of IPv4 in its own way.
    assert knows.person(_request([(name, "alice")], "::ffff:10.0.0.5")) is not None
    assert knows.person(_request([(name, "alice")], "::ffff:10.0.0.6")) is None


@pytest.mark.parametrize(
    ("peer", "lines", "counted"),
    [
        ("10.0.0.5", ["9.9.9.9, 10.1.1.1"], "10.1.1.1"),
        ("10.0.0.5", ["9.9.9.9", "10.1.1.1"], "10.1.1.1"),
        ("10.0.0.5", ["10.1.1.1:50123"], "10.1.1.1"),
        ("10.0.0.5", ["[2001:db8:1:2::7]:50123"], "2001:db8:1:2::/64"),
        ("10.0.0.5", ["2001:db8:1:2:aaaa::9"], "2001:db8:1:2::/64"),
        ("10.0.0.5", ["unknown"], "unknown"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.6", ["9.9.9.9"], "10.0.0.6"),
        ("::ffff:10.0.0.5", ["10.1.1.1"], "10.1.1.1"),
    ],
)
def test_failed_logins_are_counted_for_whom_the_proxy_names_last(
    peer: str, lines: list[str], counted: str
) -> None:
    """A client can write any number of lines before the proxy's, and has 2**64 addresses of IPv6."""
    request = _request([("x-forwarded-for", line) for line in lines], peer)
    assert _knows(Auth.HTPASSWD, "10.0.0.5").address(request) == counted


def test_what_a_browser_fetches_in_advance_does_not_use_a_link_up(san: Path) -> None:
    with serving(san, auth=Auth.LINK) as client:
        stranger, path = client.as_(""), f"/enter/{webaccess.make_link(san)}"
        for early in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}):
            assert stranger.call("GET", path, headers={**PAGE, **early}).status == 404
        assert not stranger.cookies
        assert stranger.call("GET", path, headers=PAGE).status == 200


@pytest.mark.parametrize("last", ["https:evil.example", "javascript:alert(1)", "a%3F%23%22%3E"])
def test_a_link_of_another_site_leads_nowhere_else(alice: Client, last: str) -> None:
    """The page that opens the address again took the end of the address for a whole one."""
    from_mail = {**PAGE, "Sec-Fetch-Site": "cross-site"}
    page = alice.as_("").call("GET", f"/link/{last}", headers=from_mail).body.decode()
    targets = re.findall(r'url=([^"]*)"|<a href="([^"]*)">Continue', page)
    assert [each[0] or each[1] for each in targets] == 2 * ["./" + quote(unquote(last), safe="")]


def test_a_second_link_opened_from_a_mail_leaves_the_first_one_valid(alice: Client) -> None:
    """Another site's page leads there, so the browser kept the cookie back, and lost it."""
    jobs = [_job(alice), _job(alice, 3)]
    links = [alice.call("POST", f"/api/v1/jobs/{job}/link", {}).json()["path"] for job in jobs]
    reader = alice.as_("")
    for link in links:
        # As a browser does it: first without cookies, then from this site's own page, with them.
        bare = alice.as_("")
        led = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site"}
        answer = bare.call("GET", f"/{link}", headers=led)
        assert f"url=./{link.rpartition('/')[2]}" in answer.body.decode()
        assert not bare.cookies
        assert (
            reader.call("GET", f"/{link}", headers={**led, "Sec-Fetch-Site": "same-origin"}).status
            == 200
        )
    for job in jobs:
        assert reader.call("GET", f"/api/v1/jobs/{job}").status == 200


def _job(client: Client, pages: int = 2) -> str:
    upload = client.upload(pdfs.build(pdfs.numbered(pages)))
    return str(client.call("POST", f"/api/v1/uploads/{upload}/complete", {}).json()["job"])


def test_files_that_the_journal_names_are_pages_or_are_not_there(
    alice: Client, san: Path, caplog: pytest.LogCaptureFixture
) -> None:
    r"""On Windows, ``..\..\x.png`` of an archive leads out of the folder in which it is unpacked."""
    job = _job(alice, 3)
    hand, path = Hand(san, job, 3), f"/api/v1/jobs/{job}"
    hand.folder.pages.mkdir(exist_ok=True)
    names = (r"page-0001\..\..\x.png", "page-0001.png", "page-0003.png")
    for page, name in enumerate(names, 1):
        (hand.folder.pages / name).write_bytes(b"12345")
        hand.deliver(page, name)
    wait_until(lambda: alice.call("GET", f"{path}/pages/3").status == 200, 60, "the page")
    for page in (1, 2):
        assert alice.call("GET", f"{path}/pages/{page}").status == 404
        assert alice.call("GET", f"{path}/pages.zip?pages={page}").status == 404
    found = alice.call("GET", f"{path}/pages.zip")
    assert zipfile.ZipFile(BytesIO(found.body)).namelist() == ["page-0003.png"]
    # A tag that a proxy has made a weak one is known, and tells another user nothing.
    tag = alice.call("GET", f"{path}/pages/3").headers["ETag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}'):
        sent = {"If-None-Match": known}
        assert alice.call("GET", f"{path}/pages/3", headers=sent).status == 304
        assert alice.as_("bob").call("GET", f"{path}/pages/3", headers=sent).status == 404
    # A file that leads elsewhere ends the download, with a line in the log and no traceback.
    whole = hand.folder.pages / "page-0003.png"
    whole.unlink()
    whole.symlink_to("/etc/passwd")
    head = (
        f"GET {path}/pages.zip?pages=3 HTTP/1.1\r\nHost: localhost\r\nCookie: {alice._cookies()}\r\n\r\n"
    )
    assert b"root:" not in alice.raw(head.encode())
    assert "ended early" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_removed_upload_leaves_nothing_and_does_not_keep_requests_waiting(san: Path) -> None:
    """A part that was being written stayed: it filled the folder, and counted for no user."""
    made = uploads.begin(san, "web:alice", "a.pdf", 600 << 10, 512 << 10, Quota())
    folder = webfolder.own_folder(san) / "uploads"
    writer = PartWriter(san, made, 1)
    writer.write(b"x" * (88 << 10))
    uploads.remove(san, made)
    with pytest.raises(FileNotFoundError):
        writer.finish(None)
    writer.abort()
    assert list(folder.iterdir()) == []
    with pytest.raises(UploadError, match="removed"):
        uploads.first_missing(san, made)
    # What a process left that ended during the removal goes with the next look.
    (folder / f"removed-{'0' * 32}").mkdir()
    assert uploads.clear_stale(san) == 1
    assert list(folder.iterdir()) == []
