"""Documents with a password: it is in the memory of a server that coordinates, and in no file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshrender.api.queue import QueueRun
from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.config.settings import resolve
from sshrender.errors import ExitCode
from tests import pdfs
from tests.web.serving import Client, serving

SECRET = "Grüße an Äsop 7"


@pytest.fixture
def document(home: Path) -> bytes:
    """Two pages that open with the secret."""
    plain = pdfs.write(home / "plain.pdf", pdfs.numbered(2))
    return pdfs.protect(plain, home / "locked.pdf", SECRET).read_bytes()


@pytest.fixture
def passwords() -> UploadPasswords:
    """Those that the server keeps."""
    return UploadPasswords()


@pytest.fixture
def client(san: Path, passwords: UploadPasswords) -> Iterator[Client]:
    """A user of a server that could render."""
    with serving(san, passwords=passwords) as found:
        yield found


def _submit(client: Client, document: bytes) -> str:
    path = f"/api/v1/uploads/{client.upload(document)}"
    answer = client.call("POST", f"{path}/complete", {"dpi": 72, "password": SECRET})
    assert answer.status == 201, answer.body
    return str(answer.json()["job"])


def _run(san: Path, passwords: UploadPasswords) -> int:
    """Run the queue until no job is left that it can start."""
    settings = resolve({"san": str(san)}, None).settings
    return QueueRun(settings, None, print, is_once=True, passwords=passwords).run().exit_code


def _files_with(san: Path, text: str) -> list[Path]:
    forms = [text.encode(), text.encode("latin-1"), text.encode("utf-16-be"), json.dumps(text).encode()]
    forms.append(text.encode().hex().encode())
    files = [path for path in san.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def test_it_is_asked_for_compared_and_written_nowhere(
    client: Client, san: Path, document: bytes, passwords: UploadPasswords, home: Path
) -> None:
    path = f"/api/v1/uploads/{client.upload(document)}"
    for given, answer in (({}, "needed"), ({"password": "wrong"}, "wrong")):
        for verb in ("inspect", "complete"):
            refused = client.call("POST", f"{path}/{verb}", given)
            assert (refused.status, refused.json()["password"]) == (422, answer)
            assert str(san) not in refused.body.decode()
    right = {"password": SECRET, "dpi": 72}
    assert client.call("POST", f"{path}/inspect", right).json()["pages"] == 2
    job = client.call("POST", f"{path}/complete", right).json()["job"]
    # Another coordinator leaves the job in the queue; it does not hold it for a password that it lacks.
    assert _run(san, UploadPasswords()) == ExitCode.OK
    assert client.call("GET", f"/api/v1/jobs/{job}").json()["state"] == "queued"
    assert _run(san, passwords) == ExitCode.OK
    found = client.call("GET", f"/api/v1/jobs/{job}").json()
    assert (found["state"], found["pages"]["done"]) == ("done", 2)
    assert passwords.of(job) is None  # it is not needed any more
    assert _files_with(san, SECRET) == []
    assert _files_with(home, SECRET) == []
    assert SECRET not in repr(passwords)


def test_after_a_restart_it_is_given_again(
    client: Client, san: Path, document: bytes, passwords: UploadPasswords
) -> None:
    job = _submit(client, document)
    page = {"Accept": "text/html", "Sec-Fetch-Site": "none"}
    assert b'"locked":false' in client.call("GET", f"/jobs/{job}/", headers=page).body
    passwords.forget(job)
    assert b'"locked":true' in client.call("GET", f"/jobs/{job}/", headers=page).body
    assert not passwords.may_run(san, job)
    path = f"/api/v1/jobs/{job}/password"
    assert client.as_("bob").call("POST", path, {"password": SECRET}).status == 404
    wrong = client.call("POST", path, {"password": "wrong"})
    assert (wrong.status, wrong.json()["password"]) == (422, "wrong")
    for nothing in ({}, {"password": ""}, {"password": 7}, {"password": SECRET, "keep": True}):
        assert client.call("POST", path, nothing).status == 400
    assert passwords.of(job) is None
    assert client.call("POST", path, {"password": SECRET}).status == 202
    assert passwords.of(job) == SECRET
    assert passwords.may_run(san, job)


def test_a_server_that_renders_nothing_takes_none(san: Path, document: bytes) -> None:
    with serving(san) as client:
        path = f"/api/v1/uploads/{client.upload(document)}"
        refused = client.call("POST", f"{path}/inspect", {})
        assert (refused.status, "password" in refused.json()) == (422, False)
        assert "save the document without protection" in refused.json()["hint"]
        assert client.call("POST", f"{path}/complete", {"password": SECRET}).status == 409
        assert _files_with(san, SECRET) == []


def test_jobs_of_the_command_line_and_open_ones_are_run_by_all(client: Client, san: Path) -> None:
    job = client.call(
        "POST", f"/api/v1/uploads/{client.upload(pdfs.build(pdfs.numbered(1)))}/complete", {}
    ).json()["job"]
    assert UploadPasswords().may_run(san, job)
    assert UploadPasswords().may_run(san, "none")


def test_the_memory_for_them_is_bounded() -> None:
    kept = UploadPasswords()
    for number in range(1100):
        kept.give(f"job-{number}", SECRET)
    assert kept.of("job-0") is None
    assert kept.of("job-1099") == SECRET
    assert repr(kept) == "1000 passwords"
