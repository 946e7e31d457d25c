"""The process that runs one job of the queue: its order and its end, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.api import errorlog, jobworker
from sshrender.api.jobprocess import WORKER
from sshrender.api.jobworkermessages import JobEnd, JobOrder
from sshrender.errors import ExitCode, UserError
from tests import pdfs
from tests.conftest import Run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.dictionaries(
    st.sampled_from(["folder", "parent", "options", "exit_code", "error", "summary"]), JSON
)


def test_an_order_and_an_end_come_back_as_they_were() -> None:
    order = JobOrder("/san/job", 7, "3 of a", "/etc/x.toml", {"quiet": True, "hosts": "h\udcfc"}, True)
    assert JobOrder.decode(order.encode()) == order
    end = JobEnd(3, "why", {"job": "j", "pages": {"total": 1}})
    assert JobEnd.decode(end.encode()) == end


@given(st.binary(max_size=50) | FIELDS.map(lambda fields: json.dumps(fields).encode()))
def test_whatever_comes_is_an_end_or_a_value_error(data: bytes) -> None:
    for kind in (JobEnd, JobOrder):
        try:
            found = kind.decode(data)
        except (ValueError, TypeError) as error:
            assert isinstance(error, ValueError), error
        else:
            assert isinstance(found, kind)


def _run(order: bytes) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-P", "-m", WORKER]
    return subprocess.run(words, input=order, capture_output=True, check=False, timeout=120)


def test_a_job_runs_and_its_end_is_all_that_stdout_has(sshrender: Run, home: Path) -> None:
    (home / "san").mkdir()
    pdfs.write(home / "two.pdf", pdfs.numbered(2))
    submitted = sshrender("submit", "two.pdf", "-r", "20", "--san", "san")
    assert submitted.returncode == 0, submitted.stderr
    folder = home / "san" / submitted.stdout.strip()
    order = JobOrder(str(folder), os.getpid(), options={"progress": "none"}, wants_summary=True)
    answer = _run(order.encode())
    end = JobEnd.decode(answer.stdout)
    assert (answer.returncode, end.exit_code, end.error) == (0, 0, "")
    assert end.summary is not None
    assert end.summary["pages"]["done"] == 2
    again = JobEnd.decode(_run(order.encode()).stdout)
    assert (again.exit_code, again.error != "") == (ExitCode.LEASE, True), "it waits no more"


def test_why_a_job_cannot_start_is_its_end_and_is_said(home: Path) -> None:
    answer = _run(JobOrder(str(home / "gone"), os.getpid()).encode())
    end = JobEnd.decode(answer.stdout)
    assert (answer.returncode, end.exit_code) == (ExitCode.USAGE, ExitCode.USAGE)
    assert "gone is not the folder of a job" in end.error
    assert f"sshrender: error: {end.error}" in answer.stderr.decode()


def test_it_does_not_outlive_the_process_that_started_it(home: Path) -> None:
    answer = _run(JobOrder(str(home / "gone"), parent=1).encode())
    assert (answer.returncode, answer.stdout) == (143, b"")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyError("x"), ExitCode.BUG, "a bug in sshrender (KeyError); the traceback is in "),
        (MemoryError(), ExitCode.USAGE, "a limit on memory or threads was reached"),
        (UserError(ExitCode.STORAGE, "two\nlines", "df -h"), ExitCode.STORAGE, "two lines"),
    ],
)
def test_whatever_goes_wrong_is_an_end(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode, says: str
) -> None:
    monkeypatch.setenv("SSHRENDER_LOG_FILE", str(home / "log"))

    def fails(order: JobOrder, reporters: list[object]) -> None:
        raise error

    monkeypatch.setattr(jobworker, "_resume", fails)
    monkeypatch.setattr(sys, "argv", ["sshrender"])
    end = jobworker.run(JobOrder("job", 1))
    assert end.exit_code == code
    assert end.error.startswith(says)
    assert errorlog.log_file().exists() == (code == ExitCode.BUG)
