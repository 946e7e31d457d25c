"""What the queue does around its dispatcher: job processes, their results, mail about held jobs."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sshrender.api import jobprocess, queue
from sshrender.api.jobprocess import JobProcess
from sshrender.api.jobworkermessages import JobEnd, JobOrder
from sshrender.api.queue import JobStarter
from sshrender.api.uploadpasswords import UploadPasswords
from sshrender.cli import coordinate
from sshrender.config.settings import resolve
from sshrender.coordinator import notification
from sshrender.coordinator.signals import ENDING
from sshrender.core.queueorder import Entry
from sshrender.errors import ExitCode
from sshrender.job import jobattributes, lease
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from tests import signed
from tests.stretch import stretched


@pytest.fixture
def folder(home: Path) -> JobFolder:
    """A job that waits, alone on its SAN."""
    folder = JobFolder(home / "san" / "job")
    folder.path.mkdir(parents=True)
    folder.create()
    wishes = {"mail_to": "ann@example.org"}
    Attributes().changed(submitted="2026-01-01T00:00:00.000Z", wishes=wishes).save(folder)
    signed.spec(folder)
    return folder


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was told, by command and by mail."""
    found: list[str] = []
    monkeypatch.setattr(
        notification, "run", lambda command, summary, say: found.append(summary["reason"])
    )
    monkeypatch.setattr(notification, "mail", lambda to, summary, lines, say: found.append(to))
    return found


class _Starter(JobStarter):
    """Keeps its narration."""

    def __init__(self, san: Path, *, wants_json: bool = False) -> None:
        settings = replace(resolve({}, None).settings, on_done=("tell",))
        self.said: list[str] = []
        passwords = UploadPasswords()
        super().__init__(san, settings, None, self.said.append, passwords, wants_json=wants_json)


class TestHeld:
    """A job that cannot be seen through, on as many machines as there are."""

    def test_one_machine_tells(self, folder: JobFolder, told: list[str]) -> None:
        for _ in range(3):
            _Starter(folder.path.parent).put_aside("job", "it needs a password")
        assert told == ["it needs a password", "ann@example.org"]
        found = jobattributes.load(folder)
        assert found.held.startswith("coordinate (")
        assert found.why == "it needs a password"
        assert list(folder.requests.iterdir()) == []

    def test_of_several_at_the_same_moment_one_tells(self, folder: JobFolder, told: list[str]) -> None:
        starters = [_Starter(folder.path.parent) for _ in range(4)]
        threads = [
            threading.Thread(target=starter.put_aside, args=("job", "why")) for starter in starters
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == ["why", "ann@example.org"]

    @pytest.mark.parametrize("fields", [{"held": "ann"}, {"over": "cancelled"}])
    def test_what_somebody_said_of_it_stays(
        self, folder: JobFolder, told: list[str], fields: dict[str, str]
    ) -> None:
        jobattributes.load(folder).changed(**fields).save(folder)
        before = jobattributes.load(folder)
        _Starter(folder.path.parent).put_aside("job", "why")
        assert (jobattributes.load(folder), told) == (before, [])

    def test_one_that_somebody_sees_through_is_his(
        self, folder: JobFolder, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def held(path: Path) -> lease.Lease:
            raise lease.LeaseHeld(lease._NOBODY)

        monkeypatch.setattr(lease, "take", held)
        _Starter(folder.path.parent).put_aside("job", "why")
        assert (jobattributes.load(folder).held, told) == ("", [])

    def test_nobody_is_told_what_could_not_be_written_down(
        self, folder: JobFolder, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Attributes, folder: JobFolder, epoch: int | None = None) -> None:
            raise OSError(28, "No space left on device", str(folder.attributes))

        starter = _Starter(folder.path.parent)
        with monkeypatch.context() as context:
            context.setattr(Attributes, "save", full)
            starter.put_aside("job", "why")
        assert told == []
        assert starter.said == [
            f"job: this cannot be written into the job: {folder.attributes}: No space left on device"
        ]
        starter.put_aside("job", "why")
        assert told == ["why", "ann@example.org"], "once there is room again"

    def test_a_long_reason_is_cut(self, folder: JobFolder, told: list[str]) -> None:
        _Starter(folder.path.parent).put_aside("job", "x" * 100_000)
        assert jobattributes.load(folder).why == "x" * 300

    def test_whom_to_tell_is_never_read_by_the_main_thread(
        self, folder: JobFolder, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = []
        load = queue._signed_or_none

        def looked(folder: JobFolder) -> Attributes | None:
            threads.append(threading.current_thread())
            return load(folder)

        monkeypatch.setattr(queue, "_signed_or_none", looked)
        _Starter(folder.path.parent).put_aside("job", "why")
        assert len(threads) == 1
        assert threads[0] is not threading.main_thread()

    @pytest.mark.parametrize(
        "error", [OSError(116, "Stale file handle"), ValueError("no linefeed in an address")]
    )
    def test_that_nobody_can_be_told_ends_nothing(
        self,
        folder: JobFolder,
        told: list[str],
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        def fails(folder: JobFolder) -> Attributes | None:
            raise error

        monkeypatch.setattr(queue, "_signed_or_none", fails)
        starter = _Starter(folder.path.parent)
        starter.put_aside("job", "why")
        assert told == ["why"]
        assert starter.said[0].startswith("job: no notification was sent: ")


def _ended(starter: _Starter, code: int, *, prints: str = "") -> JobProcess:
    """A process of a job that has written this to the pipe and ended so."""
    words = [sys.executable, "-c", f"import sys; print({prints!r}); sys.exit({code})"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.wait(stretched(30))
    made = JobProcess(process, "job", starter.said.append, partial(starter.take, "job"))
    assert made.ended() == code
    return made


def _end(code: int, job: str) -> str:
    return JobEnd(code, summary={"job": job}).encode().decode()


class TestProcesses:
    """What is kept of them, in a service that runs for months."""

    def test_summaries_are_kept_where_somebody_wants_them(self, tmp_path: Path) -> None:
        starter = _Starter(tmp_path, wants_json=True)
        _ended(starter, 0, prints=_end(0, "a"))
        _ended(starter, ExitCode.LEASE, prints=_end(ExitCode.LEASE, "b"))
        _ended(starter, 1)
        assert starter.summaries == [{"job": "a"}], "b is another's"
        starter = _Starter(tmp_path)
        _ended(starter, 0, prints=JobEnd(0).encode().decode())
        assert starter.summaries == []

    @pytest.mark.parametrize("wants_json", [False, True])
    def test_a_summary_is_asked_for_only_if_somebody_wants_it(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, wants_json: bool
    ) -> None:
        copy = home / "order"
        words = [
            sys.executable,
            "-c",
            f"import shutil, sys; open({str(copy)!r}, 'w').write(sys.stdin.read())",
        ]
        popen = subprocess.Popen

        def copying(real: list[str], **options: Any) -> Any:
            assert [word for word in real if word.startswith("--")] == [], "orders are not options"
            return popen(words, **options)

        monkeypatch.setattr(subprocess, "Popen", copying)
        process = _Starter(home, wants_json=wants_json).start(Entry("job", dead_lease="1 of a"))
        process._process.wait(stretched(30))
        order = JobOrder.decode(copy.read_bytes())
        assert order.wants_summary == wants_json
        assert (order.folder, order.known_dead) == (str(home / "job"), "1 of a")

    def test_a_process_that_nobody_can_listen_to_is_ended(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[subprocess.Popen[bytes]] = []

        def full(process: subprocess.Popen[bytes], *rest: Any) -> JobProcess:
            begun.append(process)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(jobprocess, "JobProcess", full)
        with pytest.raises(BlockingIOError):
            _Starter(home).start(Entry("job"))
        assert begun[0].returncode is not None

    def test_a_log_that_cannot_be_written_ends_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - it cannot even be closed
        monkeypatch.setattr(sys, "stderr", full)
        coordinate.say("something")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    """The collector and the signals, which the command changes for its process."""
    handlers = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("_as_it_was")
def test_a_service_collects_its_garbage(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sshrender.cli.app import app

    gc.disable()
    code = app(["coordinate", "--once", "--json", "--san", str(home)], standalone_mode=False)
    assert code == 0
    assert gc.isenabled()
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "jobs": [], "exit_code": 0}
