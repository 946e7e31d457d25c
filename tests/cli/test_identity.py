"""A job's pages are those of its document: nothing else is rendered under its name."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sshrender import api
from sshrender.coordinator import pagecount
from sshrender.document.staging import digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.job import documentidentity
from sshrender.job.folder import JobFolder
from sshrender.job.spec import DocumentRecord, JobSpec
from tests import pdfs, signed
from tests.cli.conftest import Paced
from tests.conftest import Run, Start
from tests.entries import delivered
from tests.stretch import wait_until


def _submitted(sshrender: Run, document: Path) -> str:
    answer = sshrender("submit", document, "--dpi", "20")
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _alter(path: Path, change: bytes, to: bytes) -> None:
    """In place, as its owner may."""
    data = path.read_bytes()
    assert change in data
    path.chmod(0o644)
    path.write_bytes(data.replace(change, to))


@pytest.mark.parametrize("place", ["home", "san"])
def test_overwriting_the_original_does_not_change_the_jobs_document(
    sshrender: Run, home: Path, san: Path, place: str
) -> None:
    """Also where the original lies in the shared folder already."""
    document = pdfs.write((san if place == "san" else home) / "a.pdf", pdfs.numbered(2))
    name = _submitted(sshrender, document)
    document.write_bytes(pdfs.build(pdfs.numbered(2, 50, 50)))
    spec = json.loads((san / name / "job.json").read_text())
    assert _sha256(san / name / "source.pdf") == spec["document"]["sha256"]
    answer = sshrender("resume", name, "--progress", "none")
    assert answer.returncode == 0, answer.stderr


def test_a_job_whose_document_was_altered_is_refused(sshrender: Run, home: Path, san: Path) -> None:
    """By resume and by the queue, which holds it and says why; the hint puts it aside."""
    says = "source.pdf is not the document"
    # Its content is not compressed, so that a byte changed means something.
    pages = [pdfs.PdfPage(content=b"")] * 2
    document = home / "a.pdf"
    document.write_bytes(pdfs.build(pages) + b"% (page 2)\n")
    name = _submitted(sshrender, document)
    _alter(san / name / "source.pdf", b"(page 2)", b"(page 9)")
    answer = sshrender("resume", name, "--progress", "none")
    assert answer.returncode == 5, answer.stderr
    assert says in answer.stderr
    assert list((san / name / "pages").iterdir()) == []
    assert sshrender("coordinate", "--once", "--quiet").returncode == 5
    told = json.loads(sshrender("status", name, "--json").stdout)
    assert told["state"] == "held", told
    assert says in sshrender("status", name).stdout
    hint = answer.stderr.splitlines()[-1].removeprefix("hint: ")
    subprocess.run(shlex.split(hint, comments=True), check=True)
    assert _submitted(sshrender, document) == name


ALTERED = {"a setting": ("settings", "dpi", 30.0), "its digest": ("document", "sha256", "0" * 64)}


@pytest.mark.parametrize("what", ALTERED)
def test_a_signed_job_that_is_not_the_one_of_its_name_is_refused(
    sshrender: Run, home: Path, san: Path, what: str
) -> None:
    """As a folder that the owner renamed, or a job.json that was put together from two jobs."""
    part, key, value = ALTERED[what]
    name = _submitted(sshrender, pdfs.write(home / "a.pdf", pdfs.numbered(2)))
    folder = JobFolder(san / name)
    fields = json.loads(folder.spec.read_text())
    signed.spec(folder, **{**fields, part: {**fields[part], key: value}})
    answer = sshrender("resume", name, "--progress", "none")
    assert answer.returncode == 6, answer.stderr
    assert "describes another job than its name" in answer.stderr
    assert list(folder.pages.iterdir()) == []


def test_a_job_that_was_altered_is_not_rendered_again_under_its_name(
    sshrender: Run, home: Path, san: Path
) -> None:
    document = pdfs.write(home / "a.pdf", pdfs.numbered(2))
    name = _submitted(sshrender, document)
    _alter(san / name / "source.pdf", b"%PDF-1.4", b"%PDF-1.5")
    for command in ("render", "submit"):
        answer = sshrender(command, document, "--dpi", "20")
        assert answer.returncode == 5, answer.stderr
        assert "source.pdf is not the document that the job was made for" in answer.stderr


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_jobs_document_that_became_something_else_is_refused(
    sshrender: Run, home: Path, san: Path, kind: str
) -> None:
    document = pdfs.write(home / "a.pdf", pdfs.numbered(2))
    source = san / _submitted(sshrender, document) / "source.pdf"
    source.unlink()
    if kind == "fifo":
        os.mkfifo(source)
    else:
        source.symlink_to(document)
    answer = sshrender("resume", source.parent.name, timeout=60)
    assert answer.returncode == 5, answer.stderr


def test_a_document_that_is_still_being_written_is_refused(
    home: Path, san: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job is made of what was read at different times."""
    document = pdfs.write(home / "a.pdf", pdfs.numbered(2))
    original = pagecount.page_count

    def page_count(*words: Any) -> int:
        with document.open("ab") as file:
            file.write(b"% more\n")
        return int(original(*words))

    monkeypatch.setattr(pagecount, "page_count", page_count)
    with pytest.raises(UserError, match=r"a\.pdf: the file was changed while it was") as raised:
        api.submit(document, {"dpi": 20})
    assert raised.value.code is ExitCode.DOCUMENT
    assert list(san.iterdir()) == []


def test_old_documents_are_submitted_at_the_same_time(start: Start, san: Path) -> None:
    """The age of a document says nothing of the process that stages it."""
    documents = [pdfs.write(san / f"{n}.pdf", pdfs.heavy(2, 1 << 19)) for n in range(6)]
    long_ago = time.time() - 30 * 86400
    for document in documents:
        os.utime(document, (long_ago, long_ago))
    started = [start("submit", document, stderr=subprocess.PIPE, text=True) for document in documents]
    for process in started:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    assert list(san.glob(".staging-*")) == []


@pytest.mark.timeout(60)
def test_a_document_that_claims_terabytes_is_refused_at_once(
    sshrender: Run, home: Path, san: Path
) -> None:
    source = san / _submitted(sshrender, pdfs.write(home / "a.pdf", pdfs.numbered(2))) / "source.pdf"
    source.chmod(0o644)
    os.truncate(source, 8 << 40)
    answer = sshrender("resume", source.parent.name, timeout=30)
    assert answer.returncode == 5, answer.stderr
    assert "is not the document" in answer.stderr


@pytest.mark.parametrize("swap", ["written", "replaced", "replaced and put back", "removed", "linked"])
def test_a_document_that_was_touched_since_its_digest_was_taken_is_noticed(
    tmp_path: Path, swap: str
) -> None:
    folder = JobFolder(tmp_path)
    folder.spec.touch()
    folder.source.write_bytes(b"document")
    stamp, digest = digest_plain(folder.source, 8)
    document = DocumentRecord(name="a.pdf", bytes=8, sha256=digest, pages=1)
    spec = cast("JobSpec", SimpleNamespace(document=document))
    assert documentidentity.require_same(folder, spec, stamp) == stamp
    unstable = stamp._replace(inode=stamp.inode + 1)
    assert documentidentity.require_same(folder, spec, unstable) == stamp, "inode numbers need not last"
    aside = tmp_path / "aside"
    time.sleep(0.02)  # time stamps have the kernel's tick
    if swap == "written":
        folder.source.write_bytes(b"DOCUMENT")
        os.utime(folder.source, ns=(stamp.modified, stamp.modified))
    else:
        folder.source.rename(aside)
    if swap == "replaced":
        folder.source.write_bytes(b"DOCUMENT")
    elif swap == "replaced and put back":
        aside.rename(folder.source)
    elif swap == "linked":
        folder.source.symlink_to(aside)
    with pytest.raises(documentidentity.DocumentReplaced):
        documentidentity.require_same(folder, spec, stamp)


def test_no_page_of_a_document_that_was_swapped_while_it_is_rendered_is_published(
    sshrender: Run, start: Start, home: Path, san: Path, paced: Paced
) -> None:
    last = 6
    paced(0, last=last)
    document = pdfs.write(home / "a.pdf", pdfs.numbered(20))
    name = _submitted(sshrender, document)
    other = pdfs.write(home / "b.pdf", pdfs.numbered(20, 50, 50))
    folder = JobFolder(san / name)
    process = start("resume", name, "--progress", "none", stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(delivered([folder.journal])) == last, what=f"{last} pages")
        other.replace(folder.source)
        paced(0)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 5, said
    assert sorted(delivered([folder.journal])) == list(range(1, last + 1))
    assert len(list(folder.pages.glob("page-*"))) == last
    assert not folder.manifest.exists()
    assert "is not the document" in sshrender("resume", name).stderr
