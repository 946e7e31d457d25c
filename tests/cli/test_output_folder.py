"""Whose pages an output folder holds, as commands and the queue see it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sshrender import api
from sshrender.api import jobchanges
from sshrender.api.documentarguments import check_pdfs
from sshrender.errors import ExitCode, UserError
from tests import pdfs
from tests.conftest import Run


def _report(folder: Path, pages: int) -> Path:
    folder.mkdir()
    return pdfs.write(folder / "report.pdf", pdfs.numbered(pages))


def _pages(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _refused(work: Callable[[], object], words: str) -> UserError:
    with pytest.raises(UserError, match=words) as raised:
        work()
    assert raised.value.code is ExitCode.STORAGE
    return raised.value


def test_another_document_of_the_same_name_is_refused_until_the_user_decides(
    sshrender: Run, home: Path
) -> None:
    first, second = _report(home / "a", 1), _report(home / "b", 2)
    assert sshrender("render", first, "-r", "30").returncode == 0
    image = (home / "report-pages" / "page-0001.png").read_bytes()
    answer = sshrender("render", second, "-r", "30", "--overview")
    assert answer.returncode == ExitCode.STORAGE
    assert re.search(r"another document: job report-\w{8} .*; this is job report-\w{8} ", answer.stderr)
    assert _pages(home / "report-pages") == ["page-0001.png"]
    assert (home / "report-pages" / "page-0001.png").read_bytes() == image
    assert len(api.list_jobs()) == 1
    (other,) = re.findall(r"hint: add (-o \S+) ", answer.stderr)
    answer = sshrender("render", second, "-r", "30", *shlex.split(other))
    assert answer.returncode == 0, answer.stderr
    answer = sshrender("render", second, "-r", "30", "--overwrite")
    assert answer.returncode == 0, answer.stderr
    assert _pages(home / "report-pages") == _pages(home / "report-pages-2") == PAIR


PAIR = ["page-0001.png", "page-0002.png"]


class TestQueue:
    """Submitting, changing and running jobs whose pages would be mixed."""

    def test_four_resolutions_need_four_folders(self, home: Path) -> None:
        """The first has the folder; of the others there is no job that could say done later."""
        document = _report(home / "a", 1)
        first = api.submit(document, {"dpi": 30, "overview": False})
        for dpi in (60, 90, 120):
            error = _refused(partial(api.submit, document, {"dpi": dpi}), "which is queued")
            assert "-o report-pages-2" in error.hint
        _refused(lambda: api.submit(document, {"dpi": 60, "overwrite": True}), "which is queued")
        assert [report.name for report in api.list_jobs()] == [first.job]
        assert [path.name for path in (home / "report-pages").iterdir() if path.name[0] != "."] == []
        second = api.submit(document, {"dpi": 60, "output": "report-pages-2"})
        assert api.submit(document, {"dpi": 30}).job == first.job
        san = api.shared_folder()
        _refused(
            lambda: jobchanges.alter(san, [second.job], {}, home / "report-pages"), "which is queued"
        )
        with pytest.raises(UserError, match="would be mixed"):
            jobchanges.alter(san, [first.job, second.job], {}, home / "both")
        assert jobchanges.alter(san, [second.job], {}, home / "third")
        api.cancel(san, [first.job])
        third = api.submit(document, {"dpi": 90, "overwrite": False})
        _refused(lambda: api.resubmit(san, [first.job]), f"belongs to job {third.job}")

    def test_a_job_that_has_lost_its_folder_is_held_with_the_reason(
        self, sshrender: Run, home: Path
    ) -> None:
        """It was given to a job of another shared folder, where it is not seen that this one waits."""
        document = _report(home / "a", 1)
        waiting = api.submit(document, {"dpi": 30, "overview": False})
        (home / "san").mkdir()
        done = api.render(document, {"dpi": 60, "overview": False, "san": home / "san"})
        assert done.exit_code == 0
        answer = sshrender("coordinate", "--once")
        assert answer.returncode == ExitCode.STORAGE
        assert f"{waiting.job}: cannot be completed; holding it" in answer.stderr
        (report,) = api.list_jobs()
        assert report.state == "held"
        assert f"job {done.job} " in report.reason
        (hint,) = re.findall(r"hint: release the job after this: (sshrender alter .*)", answer.stderr)
        for command in (hint, "sshrender release report"):
            typed = sshrender(*shlex.split(command)[1:])
            assert typed.returncode == 0, typed.stderr
        result = api.resume(waiting.job, {"overview": False})
        assert result.exit_code == 0
        assert result.output == home / "report-pages-2"


def test_a_dry_run_refuses_what_a_render_would(home: Path) -> None:
    document = _report(home / "a", 1)
    (home / "report-pages").mkdir()
    (home / "report-pages" / "page-0001.png").write_text("of unknown origin")
    _refused(lambda: api.plan(document), "not known to be of job report-")
    assert _pages(home / "report-pages") == ["page-0001.png"]


def test_documents_of_one_name_in_one_command_are_told_apart_by_folders(home: Path) -> None:
    with pytest.raises(UserError, match="would share a folder") as raised:
        check_pdfs([home / "a/report.pdf", home / "c/x.pdf", home / "b/report.pdf"])
    second = shlex.quote(str(home / "b/report.pdf"))
    assert raised.value.hint.endswith(f"-o b-report-pages for {second}")
