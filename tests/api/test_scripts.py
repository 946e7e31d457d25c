"""The api as scripts use it: the example of docs/api.md, and every name that is public."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sshrender import api
from tests import pdfs

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def _example(folder: Path) -> Path:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    script = folder / "example.py"
    script.write_text(found[1], encoding="utf-8")
    return script


def _run(script: Path, document: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), str(document)], capture_output=True, text=True, check=False
    )


def test_the_example_of_the_manual_renders_and_handles_each_page(home: Path) -> None:
    document = pdfs.write(home / "five.pdf", pdfs.numbered(5))
    answer = _run(_example(home), document)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert sorted(line.partition(",")[0] for line in lines[:-1]) == [
        f"page {number}: page-000{number}.png" for number in range(1, 6)
    ]
    assert lines[-1] == f"done: 5 of 5 pages in {home / 'pages'}"
    assert len(list((home / "pages").glob("page-*.png"))) == 5


def test_the_example_tells_what_is_wrong(home: Path) -> None:
    answer = _run(_example(home), home / "missing.pdf")
    assert answer.returncode == api.ExitCode.DOCUMENT
    assert answer.stdout == "", "no page, and no folder"
    assert "missing.pdf" in answer.stderr


@pytest.mark.parametrize("name", api.__all__)
def test_every_public_name_exists_and_is_told(name: str) -> None:
    assert getattr(api, name).__doc__
    assert name in dir(api)
    assert re.search(rf"\b{name}\b", PAGE)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = api.nothing


def test_to_import_it_loads_next_to_nothing() -> None:
    """A command that imports one module of the api must not pay for all of them."""
    heavy = ("fabric", "paramiko", "pydantic", "pypdf", "rich", "textual", "typer")
    code = f"import sys, sshrender.api; print([name for name in {heavy} if name in sys.modules])"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_document_is_queued_rendered_and_accounted_for(home: Path) -> None:
    document = pdfs.write(home / "two.pdf", pdfs.numbered(2))
    settings = {"dpi": "20", "san": str(home / "san")}
    (home / "san").mkdir()
    queued = api.submit(document, settings)
    assert queued.state == "queued"
    san = api.shared_folder(settings)
    assert [changed.no_need for changed in api.hold(san, [queued.job], "later")] == [""]
    assert api.status(queued.job, settings).report.state == "held"
    assert [changed.no_need for changed in api.release(san, [queued.job])] == [""]
    ended = api.run_queue(settings)
    assert (ended.exit_code, [summary["job"] for summary in ended.summaries]) == (0, [queued.job])
    assert [report.state for report in api.list_jobs(settings)] == ["done"]
    (used,) = api.usage(["job"], settings).accounts
    assert (used.job, used.pages) == (queued.job, 2)
