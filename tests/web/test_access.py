"""Who gets in, and what a hostile client of the web front end gets instead."""

from __future__ import annotations

import base64
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from sshrender.api.web import webaccess
from sshrender.errors import UserError
from sshrender.web import server, settings
from sshrender.web.app import endpoints
from sshrender.web.authentication import LOCAL_USER, SESSION
from sshrender.web.settings import Auth, Limits, ServeSettings
from tests.stretch import stretched
from tests.web.serving import LOOPBACK, Client, serving

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "none"}
HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "[::2]", "10.0.0.1"]
)
def test_only_known_host_names_are_answered(alice: Client, host: str) -> None:
    for path in ("/", "/api/v1/jobs", "/healthz"):
        assert alice.call("GET", path, headers={"Host": host}).status == 400


def test_own_names_are_answered_with_any_port(san: Path) -> None:
    with serving(san, names=("render.example",)) as client:
        for host in ("render.example", "RENDER.example:443", "localhost:1", "[::1]:8470", "127.0.0.1"):
            assert client.call("GET", "/healthz", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://{host}"}, True),
        ({"Origin": "https://{host}"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, True),
        ({"Content-Type": "text/plain"}, False),
        ({"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, False),
        ({"Content-Type": "multipart/form-data; boundary=a"}, False),
    ],
)
def test_another_site_changes_nothing(alice: Client, headers: dict[str, str], is_ours: bool) -> None:
    given = {name: value.format(host=f"127.0.0.1:{alice.port}") for name, value in headers.items()}
    answer = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}, given)
    assert answer.status == (201 if is_ours else 403)


def test_every_answer_has_the_headers_that_keep_browsers_careful(alice: Client) -> None:
    for path in ("/", "/login", "/api/v1/jobs", "/healthz", "/nothing", "/api/v1/jobs/none"):
        headers = alice.call("GET", path, headers=PAGE).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "Server" not in headers or "uvicorn" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/../../etc/passwd",
        "/jobs/%2e%2e/",
        "/jobs/..%2f..%2fetc/pages/passwd",
        "/jobs/.web/",
        "/jobs/.web/pages/key",
        "/api/v1/jobs/..",
        "/api/v1/jobs/%2e%2e%2fsan",
        "/api/v1/jobs/%00/",
        "/jobs/%00/",
        "/jobs/" + "%F0%9F%98%80" * 100 + "/",
        "/jobs/%0d%0aX-Own:%20y/",
        "/api/v1/uploads/../../x",
        "/api/v1/uploads/%2e%2e",
        "/api/v1/hosts/..%2f..%2fx/drain",
    ],
)
def test_no_path_leads_out_of_the_jobs(alice: Client, path: str) -> None:
    for client in (alice, alice.as_("olga")):
        assert client.call("GET", path).status in (400, 404, 405)


def test_nobody_gets_in_without_a_name(alice: Client) -> None:
    nobody = alice.as_("")
    open_to_all = {
        "/login",
        "/logout",
        "/enter/{token}",
        "/link/{token}",
        "/healthz",
        "/metrics",
        "/api/v1/openapi.json",
    }
    for endpoint in endpoints():
        path = (
            endpoint.path.replace("{name}", "a")
            .replace("{number}", "1")
            .replace("{id}", "b")
            .replace("{file}", "c")
        )
        if endpoint.path in open_to_all:
            continue
        answer = nobody.call(endpoint.method, path, headers=PAGE if endpoint.method == "GET" else {})
        assert answer.status in (401, 308), endpoint
    assert nobody.call("GET", "/enter/wrong").status == 404
    assert nobody.call("GET", "/link/wrong.token").status == 403


def test_a_forged_or_expired_session_is_none(alice: Client) -> None:
    other = replace(
        alice, authenticator=type(alice.authenticator)(ServeSettings(Path()), b"another key")
    )
    assert other.call("GET", "/api/v1/queue").status == 401
    late = alice.as_("")
    late.cookies[SESSION] = alice.authenticator.sign("session", -1, name="olga")
    assert late.call("GET", "/api/v1/queue").status == 401
    late.cookies[SESSION] = alice.authenticator.sign("link", 100, name="olga")
    assert late.call("GET", "/api/v1/queue").status == 401


def test_a_one_time_link_lets_one_browser_in(san: Path) -> None:
    with serving(san, auth=Auth.LINK) as client:
        path = f"/enter/{webaccess.make_link(san)}"
        first, second = client.as_(""), client.as_("")
        assert first.call("HEAD", path).status == 404  # a preview of a link does not use it up
        entered = first.call("GET", path, headers=PAGE)
        assert entered.status == 200
        cookie = entered.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert first.call("GET", "/api/v1/queue").status == 200
        assert second.call("GET", path, headers=PAGE).status == 403
        assert second.call("GET", "/api/v1/queue").status == 401
        # Both at once: one succeeds.
        token = webaccess.make_link(san)
        assert [webaccess.spend_link(san, token) for _ in range(2)] == [True, False]
        assert LOCAL_USER not in "".join(path.name for path in (san / ".web/links").iterdir())


def test_an_old_one_time_link_is_worth_nothing(san: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webaccess, "LINK_SECONDS", -1.0)
    token = webaccess.make_link(san)
    assert not webaccess.spend_link(san, token)
    webaccess.make_link(san)
    webaccess.clear_links(san)
    assert list((san / ".web/links").iterdir()) == []


@pytest.fixture
def users(home: Path) -> Path:
    """A file as htpasswd -B writes it."""
    file = home / "users"
    file.write_text(f"alice:{HASH}\nold:$apr1$abc$def\nolga:{HASH}\n")
    return file


def _login(client: Client, name: str, password: str, **headers: str) -> int:
    form = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "same-origin",
        **headers,
    }
    return client.call(
        "POST", "/login", f"name={name}&password={password}&next=jobs/a/".encode(), form
    ).status


def test_a_password_begins_a_session_and_five_wrong_ones_a_pause(san: Path, users: Path) -> None:
    with serving(san, htpasswd=users) as client:
        visitor = client.as_("")
        assert _login(visitor, "alice", "right") == 303
        assert visitor.call("GET", "/api/v1/queue").status == 200
        assert visitor.call("GET", "/api/v1/hosts").status == 403
        assert visitor.call("POST", "/logout", headers={"Sec-Fetch-Site": "same-origin"}).status == 303
        assert visitor.cookies[SESSION] in ("", '""')
        visitor = client.as_("")
        wrong = [
            ("alice", "wrong"),
            ("none", "right"),
            ("old", "def"),
            ("alice", "x" * 100),
            ("alice", ""),
        ]
        assert [_login(visitor, *pair) for pair in wrong] == [401] * 5
        assert _login(visitor, "alice", "right") == 429
        basic = base64.b64encode(b"alice:right").decode()
        assert (
            visitor.call("GET", "/api/v1/queue", headers={"Authorization": f"Basic {basic}"}).status
            == 429
        )


def test_programs_log_in_with_each_request(san: Path, users: Path) -> None:
    with serving(san, htpasswd=users) as client:
        program = client.as_("")
        refused = program.call("GET", "/api/v1/queue")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
        basic = {"Authorization": f"Basic {base64.b64encode(b'alice:right').decode()}"}
        assert program.call("GET", "/api/v1/queue", headers=basic).status == 200
        begun = program.call(
            "POST",
            "/api/v1/uploads",
            {"name": "a.pdf", "size": 9},
            {**basic, "Content-Type": "text/plain"},
        )
        assert begun.status == 201


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "..//evil.example", "/\\evil", "a:b"]
)
def test_a_login_leads_to_no_other_site(san: Path, users: Path, target: str) -> None:
    with serving(san, htpasswd=users) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        body = f"name=alice&password=right&next={target}".encode()
        assert client.as_("").call("POST", "/login", body, form).headers["Location"] == "./"


def test_the_header_of_a_proxy_counts_only_from_its_address(san: Path) -> None:
    named = {"X-Forwarded-User": "olga"}
    with serving(san, auth=Auth.PROXY, peers=LOOPBACK) as client:
        assert client.as_("").call("GET", "/api/v1/hosts", headers=named).status == 200
        assert client.as_("").call("GET", "/api/v1/hosts").status == 401
        assert client.as_("olga").call("GET", "/api/v1/hosts").status == 401  # a cookie is no header
    elsewhere = settings.peers_of(["10.9.8.7"])
    with serving(san, auth=Auth.PROXY, peers=elsewhere) as client:
        assert client.as_("").call("GET", "/api/v1/hosts", headers=named).status == 401
        assert "Secure" not in client.authenticator.sign("session", 1)


def test_cookies_are_for_https_where_a_trusted_proxy_says_so(san: Path, users: Path) -> None:
    for peers, is_secure in ((LOOPBACK, True), ((), False)):
        with serving(san, htpasswd=users, peers=peers, base_path="/render") as client:
            form = {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"https://127.0.0.1:{client.port}",
            }
            answer = client.as_("").call(
                "POST",
                "/render/login",
                b"name=alice&password=right",
                {**form, "X-Forwarded-Proto": "https"},
            )
            assert answer.status == 303
            assert ("Secure" in answer.headers["Set-Cookie"]) == is_secure
            assert "Path=/render/" in answer.headers["Set-Cookie"]


def test_below_a_base_path_with_and_without_a_proxy_that_takes_it_off(san: Path) -> None:
    with serving(san, base_path="/render") as client:
        assert client.call("GET", "/render").headers["Location"] == "render/"
        for path in ("/render/", "/"):
            page = client.call("GET", path, headers=PAGE)
            assert page.status == 200
            assert b'data-root="./"' in page.body
        assert client.call("GET", "/render/api/v1/queue").status == 200
        assert client.call("GET", "/renderer/api/v1/queue").status == 404


def test_roles_decide_what_a_user_may_do(alice: Client) -> None:
    vera, olga = alice.as_("vera"), alice.as_("olga")
    begin = {"name": "a.pdf", "size": 10}
    assert vera.call("POST", "/api/v1/uploads", begin).status == 403
    assert vera.call("GET", "/api/v1/queue").json()["jobs"] == []
    assert alice.call("POST", "/api/v1/hosts/a/drain", {}).status == 403
    assert alice.call("GET", "/hosts", headers=PAGE).status == 403
    assert olga.call("GET", "/api/v1/hosts").status == 200
    assert olga.call("POST", "/api/v1/hosts/a/drain", {}).status == 404


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "0.0.0.0"}, "no user has to log in"),
        ({"host": "::"}, "no user has to log in"),
        ({"auth": Auth.PROXY}, "no trusted proxy is named"),
    ],
)
def test_a_server_that_would_be_open_to_others_does_not_start(
    san: Path, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        server.serve(replace(ServeSettings(san, port=0), **fields), print, print)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["nowhere:80", "1.2.3.4:x", "127.0.0.1:99999", "1.2.3"])
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--bind"):
        settings.address_of(text)


def test_addresses_are_read_as_users_write_them() -> None:
    assert settings.address_of("8470") == ("127.0.0.1", 8470)
    assert settings.address_of(":80") == ("127.0.0.1", 80)
    assert settings.address_of("[::1]:80") == ("::1", 80)
    assert settings.address_of("10.0.0.1") == ("10.0.0.1", 8470)
    assert settings.base_path_of("/") == ""
    assert settings.base_path_of("render/") == "/render"


def test_slow_and_silent_clients_are_disconnected_and_others_served_meanwhile(san: Path) -> None:
    seconds = stretched(1.5)  # an honest client has to be faster
    limits = Limits(headers=seconds, body_idle=seconds)
    with serving(san, limits=limits) as client:
        begun = client.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 1000}).json()
        head = f"Host: localhost\r\nCookie: {client._cookies()}\r\n"
        path = f"/api/v1/uploads/{begun['id']}/parts/0"
        put = f"PUT {path} HTTP/1.1\r\n{head}Content-Length: 1000\r\n\r\n%PDF-"
        answers: dict[str, bytes] = {}

        def trickle(name: str, data: bytes) -> None:
            with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
                connection.sendall(data)
                connection.settimeout(0.1)
                found, ended = b"", False
                while not ended:
                    try:
                        block = connection.recv(4096)
                        found, ended = found + block, not block
                    except TimeoutError:
                        try:
                            connection.sendall(b"x")  # never silent, and never complete
                        except OSError:
                            ended = True
                    except OSError:
                        ended = True
                answers[name] = found

        clients = [
            ("headers", b"GET / HTTP/1.1\r\nHost: local"),
            ("body", put.encode()),
            ("nothing", b""),
        ]
        threads = [threading.Thread(target=trickle, args=each) for each in clients]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert client.call("GET", "/healthz").status == 200
            time.sleep(0.02)
        assert answers["headers"].startswith(b"HTTP/1.1 408")
        assert b"408" in answers["body"]


def test_a_dead_shared_folder_is_503_at_once(san: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sshrender.web import santhreads, statusroutes

    ended = threading.Event()
    monkeypatch.setattr(santhreads.SanThreads.__init__, "__defaults__", (stretched(2), 4))
    with serving(san) as client:
        assert client.call("GET", "/healthz").status == 200
        monkeypatch.setattr(statusroutes, "require_readable", lambda _san: ended.wait(600))
        try:
            for _ in range(3):
                answer = client.call("GET", "/healthz")
                assert answer.status == 503
                assert answer.json()["san"] is False
            assert client.call("GET", "/login", headers=PAGE).status == 200
        finally:
            ended.set()


def test_metrics_are_for_operators_and_this_machine(san: Path) -> None:
    with serving(san, peers=LOOPBACK) as client:
        assert b'sshrender_jobs{state="running"} 0' in client.as_("").call("GET", "/metrics").body
        through = {"X-Forwarded-For": "10.1.1.1"}
        for name in ("Via", "X-Real-IP", "X-Forwarded-User", *through):
            assert client.as_("").call("GET", "/metrics", headers={name: "a"}).status == 403
        assert client.as_("olga").call("GET", "/metrics", headers=through).status == 200


def test_the_openapi_document_has_every_endpoint_and_no_other(alice: Client) -> None:
    document = alice.as_("").call("GET", "/api/v1/openapi.json").json()
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(each.method, each.path) for each in endpoints()}
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(names) == len(set(names))
    for method, path in (
        ("POST", "/api/v1/uploads/{id}/complete"),
        ("GET", "/api/v1/jobs/{name}/events"),
    ):
        assert (method, path) in described
    wrong = alice.call("PUT", "/api/v1/jobs")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET")
    assert set(wrong.json()) == {"error", "hint"}


def test_a_body_with_two_lengths_is_refused(alice: Client) -> None:
    """A proxy that believes the other length would see a second request, of another user."""
    body = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = (
        "POST /api/v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answers = alice.raw(head.encode() + body)
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("body", [b'{"name": "\\ud800", "size": 9}', b'{"\\udfff": 1}'])
def test_half_of_a_surrogate_pair_is_refused_as_any_other_damage(alice: Client, body: bytes) -> None:
    answer = alice.call("POST", "/api/v1/uploads", body)
    assert (answer.status, "not Unicode" in answer.json()["error"]) == (400, True)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
