"""Uploads: numbered parts, in any order, more than once, by way of any server; and what is refused."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import random
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sshrender.api.web import uploads, webfolder
from sshrender.api.web.uploaderrors import UploadError
from sshrender.api.web.uploads import PartWriter, Quota
from tests import pdfs
from tests.web.serving import Client, serving

PART = uploads.MIN_PART
DATA = b"%PDF-1.7\n" + random.Random(7).randbytes(3 * PART)


def _put(san: Path, upload: uploads.Upload, number: int, data: bytes) -> None:
    writer = PartWriter(san, upload, number)
    writer.write(data)
    writer.finish(None)


def _part(number: int) -> bytes:
    return DATA[number * PART : (number + 1) * PART]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts_in_any_order_and_twice_make_the_same_document(san: Path) -> None:
    upload = uploads.begin(san, "web:alice", "a.pdf", len(DATA), PART, Quota())
    assert upload.parts == 4
    for number in (3, 0, 2, 0, 1, 3):
        _put(san, upload, number, _part(number))
    assert uploads.parts_present(san, upload) == [0, 1, 2, 3]
    assert uploads.assemble(san, upload).read_bytes() == DATA
    assert uploads.assemble(san, upload).read_bytes() == DATA


@pytest.mark.parametrize("error", [errno.EXDEV, errno.ENOSYS, errno.EPERM])
def test_where_the_file_server_cannot_copy_parts_are_copied_here(
    san: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    copy, calls = os.copy_file_range, []

    def copy_some(source: int, target: int, count: int) -> int:
        calls.append(count)
        # Every second call fails, in the middle of a part.
        if len(calls) % 2 == 0:
            raise OSError(error, os.strerror(error))
        return copy(source, target, min(count, 1000))

    upload = uploads.begin(san, "web:alice", "a.pdf", len(DATA), PART, Quota())
    for number in range(4):
        _put(san, upload, number, _part(number))
    monkeypatch.setattr(os, "copy_file_range", copy_some)
    assert uploads.assemble(san, upload).read_bytes() == DATA


def test_a_full_disk_is_no_reason_to_copy_in_another_way(
    san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: int, _target: int, _count: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    upload = uploads.begin(san, "web:alice", "a.pdf", len(DATA), PART, Quota())
    for number in range(4):
        _put(san, upload, number, _part(number))
    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match="No space"):
        uploads.assemble(san, upload)


def test_a_missing_part_is_named_and_nothing_is_made(san: Path) -> None:
    upload = uploads.begin(san, "web:alice", "a.pdf", len(DATA), PART, Quota())
    for number in (0, 1, 3):
        _put(san, upload, number, _part(number))
    with pytest.raises(UploadError, match="part 2 is missing") as found:
        uploads.assemble(san, upload, timeout=0)
    assert (found.value.kind, found.value.parts) == ("missing", [2])
    assert list((san / ".web/uploads" / upload.id / "document").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "digest", "kind"),
    [
        (b"%PDF-" + bytes(PART), None, "size"),
        (b"%PDF-", None, "form"),
        (b"%PDF-" + bytes(PART - 5), hashlib.sha256(b"other").digest(), "digest"),
        (b"<html>" + bytes(PART - 6), None, "document"),
    ],
)
def test_a_part_that_is_not_what_was_announced_leaves_nothing(
    san: Path, data: bytes, digest: bytes | None, kind: str
) -> None:
    upload = uploads.begin(san, "web:alice", "a.pdf", 2 * PART, PART, Quota())
    writer = PartWriter(san, upload, 0)
    with pytest.raises(UploadError) as found:
        writer.write(data)
        writer.finish(digest)
    writer.abort()
    assert found.value.kind == kind
    assert _names(san / ".web/uploads" / upload.id) == ["upload.json"]


def test_a_user_has_a_bounded_number_of_uploads_and_bytes_and_others_are_served(san: Path) -> None:
    quota = Quota(document=1000, total=2500, uploads=3, reserve=0)
    for _ in range(2):
        uploads.begin(san, "web:mallory", "a.pdf", 1000, PART, quota)
    with pytest.raises(UploadError, match="exceed 2,500 bytes"):
        uploads.begin(san, "web:mallory", "a.pdf", 1000, PART, quota)
    uploads.begin(san, "web:mallory", "a.pdf", 100, PART, quota)
    for _ in range(100):
        with pytest.raises(UploadError, match="not completed"):
            uploads.begin(san, "web:mallory", "a.pdf", 1, PART, quota)
    uploads.begin(san, "web:alice", "a.pdf", 1000, PART, quota)
    assert uploads.open_count(san) == 4


def test_space_stays_free_on_the_shared_folder(san: Path) -> None:
    with pytest.raises(UploadError, match="too little free space"):
        uploads.begin(san, "web:alice", "a.pdf", 100, PART, replace(Quota(), reserve=1 << 60))


def test_uploads_of_yesterday_are_removed(san: Path) -> None:
    old = uploads.begin(san, "web:alice", "a.pdf", 100, PART, Quota())
    new = uploads.begin(san, "web:alice", "a.pdf", 100, PART, Quota())
    before = time.time() - uploads.STALE_AFTER - 60
    os.utime(san / ".web/uploads" / old.id, (before, before))
    assert uploads.clear_stale(san) == 1
    assert _names(san / ".web/uploads") == [new.id]


def test_a_folder_of_another_user_s_making_is_not_used(san: Path) -> None:
    (san / ".web").mkdir()
    (san / ".web").chmod(0o777)
    upload = uploads.begin(san, "web:alice", "a.pdf", 100, PART, Quota())
    assert _names(san / ".web") == []
    assert webfolder.own_folder(san).stat().st_mode & 0o077 == 0
    assert uploads.find(san, upload.id, "web:alice").size == 100


@pytest.mark.parametrize(
    ("name", "label", "stem"),
    [
        ("../../etc/passwd", "passwd", "passwd"),
        ("C:\\Users\\a\\Katalog 2026.PDF", "Katalog 2026.PDF", "Katalog 2026"),
        ("\x1b[31mred\n.pdf", "[31mred.pdf", "[31mred"),
        ("...", "...", "document"),
        ("ü" * 300 + ".pdf", "ü" * 120, "ü" * 90),
        ("", "document.pdf", "document"),
    ],
)
def test_a_name_is_a_label_and_leads_nowhere(name: str, label: str, stem: str) -> None:
    assert uploads.clean_name(name) == label
    assert uploads.stem_of(label) == stem


def test_over_http_parts_resume_and_become_one_job(alice: Client) -> None:
    data = pdfs.build(pdfs.numbered(3))
    begun = alice.call("POST", "/api/v1/uploads", {"name": "Katalog.pdf", "size": len(data)}).json()
    path = f"/api/v1/uploads/{begun['id']}"
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    part = f"{path}/parts/0"
    assert alice.call("PUT", part, data, {"Content-Digest": f"sha-256=:{wrong}:"}).status == 422
    assert alice.call("GET", path).json()["received"] == []
    for step in ("inspect", "complete"):
        early = alice.call("POST", f"{path}/{step}", {})
        assert (early.status, early.json()["missing"]) == (409, [0])
    assert alice.call("PUT", part, data, {"Content-Digest": f"sha-256=:{digest}:"}).status == 204
    assert alice.call("PUT", part, data).status == 204
    assert alice.call("GET", path).json()["received"] == [0]
    assert alice.call("POST", f"{path}/inspect", {"pages": "2-"}).json()["pages"] == 2
    job = alice.call("POST", f"{path}/complete", {"dpi": 72}).json()["job"]
    assert job.startswith("Katalog-")
    assert alice.call("POST", f"{path}/complete", {"dpi": 72}).json()["job"] == job
    assert alice.call("GET", path).json()["job"] == job
    # Another user with the same document gets a job of its own, and learns of no other.
    bob = alice.as_("bob")
    other = bob.call("POST", f"/api/v1/uploads/{bob.upload(data, 'Katalog.pdf')}/complete", {"dpi": 72})
    assert other.status == 201
    assert other.json()["job"] != job
    found = alice.call("GET", f"/api/v1/jobs/{job}").json()
    assert (found["owner"], found["state"], found["pages"]["total"]) == ("web:alice", "queued", 3)
    assert found["job_dir"] is None
    # Asked again, by way of another server.
    with serving(Path(os.environ["HOME"]) / "san") as elsewhere:
        again = elsewhere.call(
            "POST", f"/api/v1/uploads/{elsewhere.upload(data, 'Katalog.pdf')}/complete", {"dpi": 72}
        )
        assert again.json()["job"] == job


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "mutool"}, "not a setting of uploaded jobs"),
        ({"gs_options": ["-dNOSAFER"]}, "not a setting of uploaded jobs"),
        ({"output": "/etc"}, "not a setting of uploaded jobs"),
        ({"password_file": "/etc/shadow"}, "not a setting of uploaded jobs"),
        ({"dpi": 6000}, "30 to 600"),
        ({"dpi": True}, "30 to 600"),
        ({"priority": 5}, "to 0"),
        ({"device": "pdfwrite"}, "device: one of"),
        ({"pages": "1-x"}, "1-x"),
    ],
)
def test_a_web_user_may_choose_from_a_short_list(
    alice: Client, options: dict[str, object], words: str
) -> None:
    upload = alice.upload(pdfs.build(pdfs.numbered(1)))
    answer = alice.call("POST", f"/api/v1/uploads/{upload}/complete", options)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_a_page_of_a_square_kilometre_and_a_locked_document_are_refused(
    alice: Client, tmp_path: Path
) -> None:
    upload = alice.upload(pdfs.build(pdfs.numbered(1, 14000, 14000)))
    answer = alice.call("POST", f"/api/v1/uploads/{upload}/complete", {"dpi": 600})
    assert answer.status == 400
    assert "million pixels" in answer.json()["error"]
    plain = pdfs.write(tmp_path / "plain.pdf", pdfs.numbered(1))
    upload = alice.upload(pdfs.protect(plain, tmp_path / "locked.pdf", "secret").read_bytes())
    answer = alice.call("POST", f"/api/v1/uploads/{upload}/complete", {})
    assert answer.status == 422
    assert "password" in answer.json()["error"]


def test_the_upload_of_another_user_is_not_there(alice: Client) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 10}).json()
    path, bob = f"/api/v1/uploads/{begun['id']}", alice.as_("bob")
    assert bob.call("GET", path).status == 404
    assert bob.call("PUT", f"{path}/parts/0", b"%PDF-12345").status == 404
    assert bob.call("DELETE", path).status == 404
    assert alice.call("DELETE", path).status == 204
    assert alice.call("GET", path).status == 404


def test_a_part_whose_sender_goes_away_leaves_nothing(alice: Client, san: Path) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 100_000}).json()
    head = (
        f"PUT /api/v1/uploads/{begun['id']}/parts/0 HTTP/1.1\r\nHost: localhost\r\n"
        f"Cookie: {alice._cookies()}\r\nContent-Length: 100000\r\n\r\n"
    )
    folder = san / ".web/uploads" / begun["id"]
    with socket.create_connection(("127.0.0.1", alice.port)) as connection:
        connection.sendall(head.encode() + b"%PDF-" + bytes(1000))
        while len(_names(folder)) < 2:
            time.sleep(0.01)
    while len(_names(folder)) > 1:
        time.sleep(0.01)
    assert _names(folder) == ["upload.json"]


def test_an_oversized_body_is_refused_unread(alice: Client) -> None:
    begun = alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 600_000}).json()
    answer = alice.call("PUT", f"/api/v1/uploads/{begun['id']}/parts/0", bytes(9 << 20))
    assert answer.status == 413
    assert alice.call("POST", "/api/v1/uploads", {"name": "x" * 100_000, "size": 1}).status == 413
    assert alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 1 << 50}).status == 413
    # What is too small is not too large.
    assert alice.call("PUT", f"/api/v1/uploads/{begun['id']}/parts/0", b"%PDF-").status == 400
    assert alice.call("POST", "/api/v1/uploads", {"name": "a.pdf", "size": 0}).status == 400


def test_a_user_who_leaves_out_parts_keeps_nobody_waiting(alice: Client) -> None:
    """More requests than there are threads wait for a part that never comes."""
    begun = alice.call(
        "POST", "/api/v1/uploads", {"name": "a.pdf", "size": PART + 10, "part_size": PART}
    ).json()
    path = f"/api/v1/uploads/{begun['id']}"
    assert alice.call("PUT", f"{path}/parts/0", _part(0)).status == 204
    request = (
        f"POST {path}/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        f"Cookie: {alice._cookies()}\r\n\r\n"
    )
    waiting = [socket.create_connection(("127.0.0.1", alice.port)) for _ in range(12)]
    try:
        for each in waiting:
            each.sendall(request.encode())
            each.settimeout(0.05)
        with pytest.raises(TimeoutError):
            waiting[0].recv(1)
        bob = alice.as_("bob")
        upload = bob.upload(pdfs.build(pdfs.numbered(1)))
        assert bob.call("POST", f"/api/v1/uploads/{upload}/inspect", {}).json()["pages"] == 1
        with pytest.raises(TimeoutError):
            waiting[0].recv(1)
    finally:
        for each in waiting:
            each.close()


def test_an_upload_that_became_a_job_takes_no_more_parts(alice: Client) -> None:
    document = pdfs.build(pdfs.numbered(1))
    path = f"/api/v1/uploads/{alice.upload(document)}"
    job = alice.call("POST", f"{path}/complete", {}).json()["job"]
    answer = alice.call("PUT", f"{path}/parts/0", document)
    assert (answer.status, job in answer.json()["error"]) == (409, True)
    assert alice.call("POST", f"{path}/complete", {}).json()["job"] == job
