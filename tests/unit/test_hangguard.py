"""Work on a shared folder: what hangs is left behind, once; what fails leaves nothing behind."""

from __future__ import annotations

import errno
import gc
import os
import threading
import weakref
from pathlib import Path

import pytest

from sshrender.coordinator.storageerrors import run_error, storage_error
from sshrender.errors import ExitCode
from sshrender.storage import hangguard, primitives
from sshrender.storage.hangguard import HangGuard
from sshrender.storage.primitives import HangDetector


class _Fails(OSError):
    """Of a class of its own, for a weak reference."""


def test_what_the_work_raises_is_gone_when_nobody_holds_it(tmp_path: Path) -> None:
    found: list[weakref.ref[_Fails]] = []

    def fails() -> None:
        error = _Fails(5, "Input/output error")
        found.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.disable()
    try:
        with pytest.raises(_Fails):
            hangguard.guarded_call(tmp_path, fails)
        assert found[0]() is None, "main() has the collector off"
    finally:
        gc.enable()


def test_while_one_hangs_no_other_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_back, began = threading.Event(), []
    monkeypatch.setattr(hangguard, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(HangDetector, "is_hanging", lambda watch: not is_back.is_set())

    def hangs() -> str:
        began.append(threading.current_thread())
        is_back.wait(30)
        return "too late"

    hang_guard = HangGuard(tmp_path)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="does not answer"):
            hang_guard.call(hangs)
    assert len(began) == 1
    is_back.set()
    began[0].join()
    assert hang_guard.call(lambda: "now") == "now"


@pytest.mark.parametrize("name", [".", "job/work", "job/journal.jsonl"])
def test_the_words_for_a_folder_that_hangs_are_found_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A look at it would hang, too, and the command with it."""

    def hangs(path: Path, **_: object) -> os.stat_result:
        pytest.fail(f"looked at {path}")

    for look in ("stat", "lstat"):
        monkeypatch.setattr(Path, look, hangs)
    error = TimeoutError(errno.ETIMEDOUT, "it does not answer", str(tmp_path / name))
    for found in (storage_error(error, tmp_path), run_error(error, tmp_path, tmp_path / "out")):
        assert found.code == ExitCode.STORAGE
        assert "does not answer" in found.what
        assert "mounted" in found.hint


def test_a_machine_without_room_for_a_thread_says_so_as_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(BlockingIOError, match="can't start new thread"):
        hangguard.guarded_call(tmp_path, lambda: None)


def test_a_limit_of_this_machine_is_not_blamed_on_the_shared_folder(tmp_path: Path) -> None:
    """The user is told of the limit, and not to look whether the folder is mounted."""
    for number in (errno.EAGAIN, errno.ENOMEM):
        error = storage_error(OSError(number, os.strerror(number)), tmp_path)
        assert error.code is ExitCode.USAGE
        assert "ulimit" in error.hint
    assert storage_error(OSError(errno.EIO, "x"), tmp_path).code is ExitCode.STORAGE


def test_an_old_call_is_no_hang_at_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped in the middle of a call finds it old when it continues."""
    answers, is_asked = threading.Event(), threading.Event()

    def unanswered(_folder: str) -> None:
        is_asked.set()
        answers.wait(60)

    monkeypatch.setattr(primitives, "HANG_TIMEOUT", 0.0)
    monkeypatch.setattr(os, "statvfs", unanswered)
    detector = HangDetector(str(tmp_path), pause=600)
    detector.start()
    assert is_asked.wait(60)
    looks = [detector.is_hanging() for _ in range(3)]
    answers.set()
    detector.stop()
    detector.join(60)
    assert looks == [False, True, True]
    assert not detector.is_hanging()
