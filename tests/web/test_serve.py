"""``sshrender serve`` as a user starts it: its first line, what it renders, and how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from sshrender.cli.app import app
from sshrender.errors import UserError
from sshrender.views import resultschema
from tests import jsonschema, pdfs
from tests.conftest import PROGRAM
from tests.stretch import stretched


@pytest.fixture
def served(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program with --coordinate, and its first line."""
    (home / "san").mkdir()
    words = [
        *PROGRAM,
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--san",
        "san",
        "--coordinate",
        "--sandbox",
        "none",
        "--base-path",
        "/r",
    ]
    process = subprocess.Popen(
        words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def test_its_first_line_leads_in_and_a_document_is_rendered(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    process, link = served
    address = urlsplit(link)
    assert address.path.startswith("/r/enter/")
    connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=stretched(60))

    def call(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"Cookie": cookie, "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    connection.request("GET", address.path)
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    cookie = (response.headers["Set-Cookie"] or "").partition(";")[0]
    data = pdfs.build(pdfs.numbered(2))
    begin = json.dumps({"name": "small.pdf", "size": len(data)}).encode()
    upload = json.loads(call("POST", "/r/api/v1/uploads", begin)[1])["id"]
    assert call("PUT", f"/r/api/v1/uploads/{upload}/parts/0", data)[0] == 204
    job = json.loads(call("POST", f"/r/api/v1/uploads/{upload}/complete", b'{"dpi": 72}')[1])["job"]
    while (state := json.loads(call("GET", f"/r/api/v1/jobs/{job}")[1])["state"]) in (
        "queued",
        "running",
    ):
        time.sleep(0.2)
    assert state == "done"
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(stretched(60)) == 128 + signal.SIGTERM
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_its_object_has_the_address() -> None:
    found = {"schema": 1, "address": "http://127.0.0.1:8470/", "exit_code": 0}
    schema = resultschema.load()
    assert jsonschema.faults(found, schema["$defs"]["serve"], schema) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--bind", "0.0.0.0:0"], "no user has to log in"),
        (["--auth", "ldap"], "not a way to log in"),
        (["--auth", "proxy"], "no trusted proxy is named"),
        (["--auth", "htpasswd:missing"], "No such file"),
        (["--max-upload", "much"], "--max-upload much"),
        (["--base-path", "/a b"], "not a path"),
        (["--trusted-proxy", "x"], "not an address"),
    ],
)
def test_what_cannot_work_is_refused_before_it_listens(home: Path, words: list[str], why: str) -> None:
    (home / "san").mkdir()
    result = CliRunner().invoke(app, ["serve", "--san", "san", *words])
    assert isinstance(result.exception, UserError)
    assert why in result.exception.what
    assert result.exception.hint


def test_without_the_extra_it_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "starlette" else found(name, *rest),
    )
    result = CliRunner().invoke(app, ["serve"])
    assert isinstance(result.exception, UserError)
    # Another pip would install it elsewhere, or refuse.
    assert result.exception.hint.startswith(f"{sys.executable} -m pip install")
    assert "sshrender[web]" in result.exception.hint
