"""``overview``, and what a render leaves for it."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from sshrender.api.statusreports import write_overview_to_mail
from sshrender.coordinator import embeddedoverview
from sshrender.errors import ExitCode, UserError
from sshrender.views import overview
from tests import pdfs
from tests.cli import jobs
from tests.conftest import Run


@pytest.fixture(autouse=True)
def _san(home: Path) -> None:
    """A shared folder is never made by the program."""
    (home / "san").mkdir()


def _sheet(path: Path) -> dict[str, Any]:
    """The data in an overview."""
    found = re.search(
        r'<script type="application/json" id="sheet">(.*?)</script>', path.read_text(), re.DOTALL
    )
    assert found is not None
    sheet: dict[str, Any] = json.loads(found.group(1))
    return sheet


def test_a_render_leaves_an_overview_with_thumbnails_of_its_pages(sshrender: Run, home: Path) -> None:
    pages = [*pdfs.numbered(5), pdfs.bad_operator_page()]
    document = pdfs.write(home / "doc.pdf", pages)
    answer = sshrender("render", document, "--san", home / "san", "--json", "--pages", "1-6")
    assert answer.returncode == 0, answer.stderr
    job = Path(json.loads(answer.stdout)["job_dir"])
    sheet = _sheet(job / "overview.html")
    assert sheet["state"] == "done"
    assert [page["page"] for page in sheet["pages"]] == [1, 2, 3, 4, 5, 6]
    assert [page["state"] for page in sheet["pages"]] == ["done"] * 5 + ["suspect"]
    for page in sheet["pages"]:
        assert (job / page["file"]).is_file()
    # How many there are depends on what they cost here (runner/rendering/thumbnailbudget.py).
    thumbnails = [page["thumb"] for page in sheet["pages"] if page["thumb"]]
    assert thumbnails
    assert [name for name in thumbnails if not (job / name).is_file()] == []
    assert len(sheet["timeline"]) == 6
    assert sum(host["pages"] for host in sheet["hosts"]) == 6


def test_the_end_says_where_everything_is_and_what_it_took(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "doc.pdf", pdfs.numbered(3))
    words = ("--overview-embed", "--no-overview", "--assemble", "zip", "--stats", "-o", "out")
    answer = sshrender("render", document, "--san", home / "san", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    mailable = home / "out" / "doc-overview.html"
    job = Path(summary["job_dir"])
    for key, path in (
        ("overview", job / "overview.html"),
        ("overview_embedded", mailable),
        ("assembled", home / "out" / "doc.zip"),
    ):
        assert summary[key] == str(path)
        assert path.is_file()
        assert str(path) in answer.stderr
    stats = summary["stats"]
    assert stats["bytes"] == sum(path.stat().st_size for path in (home / "out").glob("page-*"))
    assert (stats["pages"], stats["attempts"], stats["runs"]) == (3, 3, 1)
    assert "  bytes     " in answer.stderr
    shown = sshrender("status", "doc", "--san", home / "san", "--stats", "--json")
    report = json.loads(shown.stdout)
    assert (report["stats"], report["overview"]) == (stats, summary["overview"])
    sheet = _sheet(mailable)
    assert sorted(sheet["images"]) == ["1", "2", "3"]
    assert [page["file"] for page in sheet["pages"]] == [f"page-000{n}.png" for n in (1, 2, 3)]
    assert "thumbs/" not in json.dumps(sheet)
    mailable.unlink()
    answer = sshrender("overview", "doc", "--san", home / "san", "--embed")
    assert answer.stdout.strip() == str(mailable)
    assert _sheet(mailable)["images"] == sheet["images"]


def test_unless_it_is_told_not_to(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "doc.pdf", pdfs.numbered(3))
    answer = sshrender("render", document, "--san", home / "san", "--json", "--no-overview")
    assert answer.returncode == 0, answer.stderr
    job = Path(json.loads(answer.stdout)["job_dir"])
    assert not (job / "overview.html").exists()
    assert list((job / "thumbs").iterdir()) == []
    answer = sshrender("overview", "doc", "--san", home / "san")
    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.strip()) == job / "overview.html"
    sheet = _sheet(job / "overview.html")
    assert sheet["viewable"]
    assert all(page["thumb"] is None and page["file"] for page in sheet["pages"])


def test_pages_that_have_gone_are_missing(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "doc.pdf", pdfs.numbered(3))
    answer = sshrender("render", document, "--san", home / "san", "--json", "--device", "tiffg4")
    job = Path(json.loads(answer.stdout)["job_dir"])
    next(job.glob("pages/*-0002*")).unlink()
    answer = sshrender("overview", job, "--san", home / "san", "--json")
    assert answer.returncode == 0, answer.stderr
    sheet = _sheet(Path(json.loads(answer.stdout)["overview"]))
    assert [page["state"] for page in sheet["pages"]] == ["done", "missing", "done"]
    assert not sheet["viewable"]


def test_an_overview_to_mail_goes_where_the_owner_wants_it_and_nowhere_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    san, output, elsewhere = home / "san", home / "out", home / "elsewhere"
    for folder in (output, elsewhere):
        folder.mkdir()
    events, here = [jobs.started(), jobs.delivered(1)], socket.gethostname()
    made = jobs.make(san, "doc", events, output=str(output), output_host=here)
    monkeypatch.chdir(elsewhere)
    assert write_overview_to_mail(san, "doc") == output / "doc-overview.html"
    assert write_overview_to_mail(san, "doc", Path("a.html")) == elsewhere / "a.html"
    attributes = json.loads(made.attributes.read_text())
    made.attributes.write_text(json.dumps({**attributes, "mac": "of another user"}))
    assert write_overview_to_mail(san, "doc") == elsewhere / "doc-overview.html"
    with pytest.raises(UserError, match="cannot write") as raised:
        write_overview_to_mail(san, "doc", home / "gone" / "a.html")
    assert raised.value.code == ExitCode.STORAGE


def _thumbnail(length: int) -> bytes:
    return b"\xff\xd8" + bytes(length - 4) + b"\xff\xd9"


def test_an_overview_to_mail_is_bounded_and_shows_problems_in_any_case(tmp_path: Path) -> None:
    for number in range(1, 2001):
        (tmp_path / f"page-{number:04d}.jpg").write_bytes(_thumbnail(1500))
    problems = (7, 1990)
    pages = [
        {
            "page": number,
            "state": "suspect" if number in problems else "done",
            "file": f"pages/page-{number:04d}.png",
            "thumb": f"thumbs/page-{number:04d}.jpg",
            "history": ["<&>" * 20],
        }
        for number in range(1, 2001)
    ]
    timeline = [{"host": "node1", "page": number, "from": 0, "to": 1} for number in range(1, 2001)]
    sheet: dict[str, Any] = {"job": "doc-12345678", "state": "done", "notes": ["a note"]}
    sheet |= {"pages": pages, "timeline": timeline, "viewable": True}
    whole = embeddedoverview.bounded(sheet, tmp_path)
    assert len(whole["images"]) == len(whole["pages"]) == 2000
    assert whole["notes"] == ["a note"]
    for limit in (1 << 20, 1 << 19, 1 << 18):
        found = embeddedoverview.bounded(sheet, tmp_path, limit)
        assert len(overview.render(found).encode()) <= limit
        assert {str(number) for number in problems} <= found["images"].keys()
        assert 10 < len(found["images"]) < 2000
        assert len(found["timeline"]) < 2000
        assert found["notes"][0] == "a note"
        lacking = len(found["pages"]) - len(found["images"])
        assert any(note.startswith(f"{lacking} images of pages left out") for note in found["notes"])
        unlisted = 2000 - len(found["pages"])
        assert any(note.startswith(f"{unlisted} pages not listed") for note in found["notes"])


def test_thumbnails_that_are_missing_or_too_large_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "page-0002.jpg").write_bytes(_thumbnail(embeddedoverview.MAX_THUMBNAIL + 1))
    (tmp_path / "page-0003.jpg").write_bytes(_thumbnail(100))
    (tmp_path / "page-0004.jpg").symlink_to("/etc/passwd")
    pages = [
        {
            "page": n,
            "state": "done",
            "file": f"pages/page-000{n}.png",
            "thumb": f"thumbs/page-000{n}.jpg",
        }
        for n in (1, 2, 3, 4)
    ]
    sheet = {"notes": [], "pages": pages, "timeline": []}
    found = embeddedoverview.bounded(sheet, tmp_path)
    assert found["images"].keys() == {"3"}
    assert found["notes"] == ["3 images of pages left out, so that this file can be mailed"]


def test_a_job_that_is_not_there_is_said(sshrender: Run, home: Path) -> None:
    answer = sshrender("overview", "none", "--san", home / "san")
    assert answer.returncode == 2
    assert "there is no job none" in answer.stderr
    answer = sshrender("watch", "none", "--san", home / "san")
    assert answer.returncode == 2


def test_a_finished_job_is_told_in_words_where_there_is_no_terminal(sshrender: Run, home: Path) -> None:
    document = pdfs.write(home / "doc.pdf", pdfs.numbered(3))
    assert sshrender("render", document, "--san", home / "san").returncode == 0
    answer = sshrender("watch", "doc", "--san", home / "san")
    assert answer.returncode == 0
    assert answer.stderr == "no dashboard: standard input is not a terminal\n"
    assert "page 3 delivered from localhost" in answer.stdout
    assert "run ended: done" in answer.stdout
