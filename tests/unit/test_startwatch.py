"""The loader of a runner: what it is sent, and what is found in its place when it does not run."""

from __future__ import annotations

import contextlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sshrender.coordinator.hosts import connection
from sshrender.coordinator.hosts.connection import HostConnection
from sshrender.transports import payload, startwatch
from sshrender.transports.framing import MessageReader
from sshrender.transports.interface import OTHER_SHELL, LinkClosed, RunnerSpec
from sshrender.transports.loaderlink import LoaderLink
from sshrender.transports.startwatch import WatchedLink
from tests.stretch import wait_until

SPEC = RunnerSpec("python3", "job", "mark", 5.0)
OWN = payload._own_python()


class FakeLink:
    """Gives what it was given, piece by piece; the test of its shell ends with ``status``."""

    def __init__(self, status: int | None, *pieces: bytes) -> None:
        self.status = status
        self.pieces = list(pieces)
        self.written = b""
        self.tests = 0
        self.has_tested = threading.Event()

    def read(self, _timeout: float) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def test(self, _timeout: float) -> int | None:
        self.tests += 1
        self.has_tested.set()
        return self.status

    def write(self, data: bytes, _timeout: float) -> None:
        self.written += data

    def files(self, _timeout: float) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startwatch, "TEST_AFTER", -1.0)


def test_a_loader_that_speaks_counts_whatever_the_test_says() -> None:
    """Its marker comes in pieces, and a test has begun before the second one."""
    link = FakeLink(OTHER_SHELL, b"a banner\n@ma", b"rk " + OWN[:4], OWN[4:] + b"\n", b"x")
    watched = WatchedLink(link, SPEC)
    assert b"".join(watched.read(1.0) for _ in range(50)) == b"a banner\n@mark " + OWN + b"\nx"


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (OWN, payload.Form.COMPRESSED),
        (OWN.replace(b"cpython", b"pypy"), payload.Form.SOURCES),
        (b"cpython-3.7-420d0d0a", payload.Form.SOURCES),
        (b"x" * 1000, payload.Form.SOURCES),
        (b"", None),  # an old one, which ends
    ],
)
def test_a_loader_gets_modules_for_its_python_and_then_the_requests(
    line: bytes, form: payload.Form | None
) -> None:
    link = FakeLink(None, b"@mark " + line, b"\n")
    loaded = LoaderLink(link, SPEC)
    loaded.write(b"one", 1.0)
    assert link.written == b""
    assert [loaded.read(1.0), loaded.read(1.0)] == [b"@mark " + line, b"\n"]
    loaded.write(b"two", 1.0)
    assert link.written == (payload.modules("mark", 5.0, form) if form else b"") + b"onetwo"


def test_what_a_host_printed_before_it_ended_is_read() -> None:
    """An old Python, or one that memory ran out for: the write fails, and its words are the reason."""

    class EndedLink(FakeLink):
        def write(self, _data: bytes, _timeout: float) -> None:
            raise LinkClosed("the runner ended")

    assert LoaderLink(EndedLink(None, b"@mark a-1.1-0\nwords"), SPEC).read(1.0).endswith(b"words")


@pytest.mark.parametrize(
    ("status", "pieces"),
    [
        (OTHER_SHELL, []),
        (None, [b"a banner\n", payload.build("mark", 1.0)]),
        (0, [b'"exi', b't" "97"\n']),
    ],
)
def test_another_program_is_the_reason_for_the_end(status: int | None, pieces: list[bytes]) -> None:
    """One that reads to the end, or repeats what it reads."""
    watched = WatchedLink(FakeLink(status, *pieces), SPEC)
    ends: list[LinkClosed] = []

    def ended() -> bool:
        try:
            watched.read(1.0)
        except LinkClosed as closed:
            ends.append(closed)
        return bool(ends)

    wait_until(ended, 20.0, "no end", pause=0.01)
    assert not ends[0].refusal("").may_come_back


@pytest.mark.parametrize("status", [payload.PYTHON_RUNS, None, 0, 1, 127])
def test_a_host_that_is_slow_or_allows_no_second_session_is_waited_for(status: int | None) -> None:
    link = FakeLink(status)
    watched = WatchedLink(link, SPEC)
    assert watched.read(1.0) == b""
    assert link.has_tested.wait(60)
    assert [watched.read(1.0) for _ in range(50)] == [b""] * 50
    assert link.tests == 1


def test_a_program_that_repeats_its_input_is_no_loader() -> None:
    repeated = payload.build("mark", 1.0)
    assert b"@mark" not in repeated
    reader = MessageReader("mark")
    assert reader.feed(repeated + b"\n") == []
    assert not reader.has_begun
    assert reader.feed(b"@mark " + OWN + b"\n") == []
    assert reader.has_begun


@pytest.mark.parametrize(
    ("has_begun", "connect_timeout", "waited", "is_lost"),
    [
        (False, 10, 29, False),
        (False, 10, 31, True),  # a login that only sleeps
        (False, 45, 44, False),  # as the inventory says
        (True, 10, 59, False),  # Ghostscript and the canary page take their time
        (True, 10, 61, True),
    ],
)
def test_a_login_that_never_ends_is_given_up_before_a_runner_that_is_slow(
    monkeypatch: pytest.MonkeyPatch,
    has_begun: bool,
    connect_timeout: float,
    waited: float,
    is_lost: bool,
) -> None:
    link = HostConnection.__new__(HostConnection)
    link._prepared_at = 0.0
    monkeypatch.setattr(link, "_reader", SimpleNamespace(has_begun=has_begun), raising=False)
    setup = SimpleNamespace(connect_timeout=connect_timeout, python="python3")
    monkeypatch.setattr(link, "setup", setup, raising=False)
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: waited))
    with pytest.raises(LinkClosed) if is_lost else contextlib.nullcontext():
        link._require_hello(0.0)
