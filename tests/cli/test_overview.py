"""``overview``, and what a render leaves for it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import pdfs
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


def test_a_render_leaves_an_overview_with_a_thumbnail_of_every_page(sshrender: Run, home: Path) -> None:
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
        assert (job / page["thumb"]).is_file()
    assert len(sheet["timeline"]) == 6
    assert sum(host["pages"] for host in sheet["hosts"]) == 6


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
