"""A child process that takes long to go is collected, whoever has given up waiting for it."""

from __future__ import annotations

import _thread
import gc
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from sshrender.process import reaper
from tests.stretch import stretched, wait_until


@pytest.mark.parametrize("has_room", [True, False])
def test_a_process_that_outlives_its_end_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    ours, theirs = os.pipe()
    process: Any = subprocess.Popen(["cat"], stdin=ours, stdout=subprocess.DEVNULL)
    os.close(ours)
    pid = process.pid
    # As with one of the lowest priority on a busy machine: the signal has no effect yet.
    process.kill = lambda: None
    monkeypatch.setattr(reaper, "_left", [])
    if not has_room:
        monkeypatch.setattr(_thread, "start_new_thread", _no_room)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert reaper.end(process, 0) is None
        del process
        gc.collect()
    assert [str(each.message) for each in warned] == []
    os.close(theirs)
    for left in reaper._left:
        left.wait(stretched(10))
    wait_until(lambda: not _is_there(pid), 10, "its end", pause=0.01)


def _no_room(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_guardian_of_a_folder_is_left_without_a_warning_and_removes_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    code = "import sys; from sshrender.runner.host import localworkspace as own; own.guard(sys.argv[1])"
    words = [sys.executable, "-W", "always", "-c", code, str(folder)]
    answer = subprocess.run(words, capture_output=True, check=True)
    assert (answer.stdout, answer.stderr) == (b"", b"")
    wait_until(lambda: not folder.exists(), 10)
