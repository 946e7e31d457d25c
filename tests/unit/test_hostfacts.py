"""What a host says of itself: of programs that do not work, and of a system that lacks something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sshrender.coordinator.hosts.handshake import check_host
from sshrender.core import events as ev
from sshrender.runner.host import hostfacts, processlimits, threadwatch
from sshrender.runner.wire import Wire
from sshrender.transports import messages
from sshrender.transports.interface import LinkClosed, Refusal

HELLO = {
    "type": "hello",
    "python": "3.11.2",
    "ghostscript": None,
    "missing": ["gs"],
    "missing_recipes": [0],
    "san": {"seen": True, "writable": True},
}


def _program(folder: Path, name: str, text: str, mode: int = 0o755) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(mode)


@pytest.mark.parametrize(
    ("text", "mode", "version", "why"),
    [
        ("#!/bin/sh\necho loading a module\necho 10.05.1\n", 0o755, "10.05.1", ""),
        ("#!/bin/sh\necho no version\n", 0o755, "no version", ""),
        ("#!/bin/sh\necho no libgs.so >&2\nexit 127\n", 0o755, None, "exit code 127: no libgs.so"),
        ("#!/no/such/interpreter\n", 0o755, None, "No such file or directory"),
        ("", 0o644, None, "Permission denied"),
        (None, 0, None, ""),
    ],
)
def test_a_ghostscript_that_does_not_work_is_not_called_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    mode: int,
    version: str | None,
    why: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if text is not None:
        _program(tmp_path, "gs", text, mode)
    found, said = hostfacts.ask_ghostscript("gs")
    assert found == version
    assert said.endswith(why)
    if found is None:
        hello = messages.decode(json.dumps({**HELLO, "no_ghostscript": said}).encode())
        assert isinstance(hello, messages.Hello)
        refused = check_host("n", hello, "/san")
        assert isinstance(refused, ev.HostRefused)
        assert refused.refusal == Refusal.NO_GHOSTSCRIPT.value
        assert refused.reason == (
            f"gs cannot be used: {said}" if why else "Ghostscript is not installed"
        )


def test_a_wrapper_that_a_container_forbids_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processlimits, "_forbidden", set())
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    before = processlimits.wrap(["gs"], 1 << 30)
    processlimits.end_test(processlimits.begin_test())
    assert processlimits.wrap(["gs"], 1 << 30) == before
    _program(tmp_path, "ionice", "#!/bin/sh\nexit 1\n")
    processlimits.end_test(processlimits.begin_test())
    words = processlimits.wrap(["gs"], 1 << 30)
    assert "ionice" not in words
    assert [word for word in before if word not in ("ionice", "-c", "3")] == words


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (FileNotFoundError(2, "No such file", "/proc/loadavg"), Refusal.SYSTEM, "a runner needs /proc"),
        (PermissionError(13, "Permission denied", "/proc/stat"), Refusal.SYSTEM, "Permission denied"),
        (BlockingIOError(11, "Resource temporarily unavailable"), Refusal.LIMITS, "RLIMIT_NPROC"),
        (PermissionError(13, "Permission denied", "/x"), None, "/x: Permission denied"),
        (ValueError("a defect"), None, "ValueError: a defect"),
    ],
)
def test_an_error_of_a_thread_is_a_sentence_and_has_its_kind(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: Refusal | None, says: str
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(Wire, "post", lambda _wire, _type, **fields: said.append(fields))
    threadwatch.report(Wire(1, "mark"), error)
    trouble = messages.decode(json.dumps({"type": "trouble", **said[0]}).encode())
    assert isinstance(trouble, messages.Trouble)
    assert trouble.refusal is kind
    assert says in trouble.reason
    assert "[Errno" not in trouble.reason


@pytest.mark.parametrize(
    ("status", "words", "refusal", "says"),
    [
        (127, "bash: /env/bin/python3: cannot execute: required file not found", "python", "/env/bin"),
        (126, "bash: /env/bin/python3: /gone: bad interpreter: no", "python", "bad interpreter"),
        (127, "bash: line 1: exec: python3: not found", "python", "python3 not found on n"),
        (2, "Try `python -h' for more information.", "python", "python3 on n is Python 2"),
        (1, "SyntaxError: Non-UTF-8 code in file <stdin> on line 38", "protocol", "another shell"),
        (1, "SyntaxError: unterminated triple-quoted string literal", "protocol", "reads its input"),
        (1, "This account is currently not available.", "protocol", "may not run commands on n"),
        (128, "fatal: unrecognized command 'python3 -IS'", "protocol", "it says: fatal: unrecognized"),
        (1, "This service allows sftp connections only.", "protocol", "may not run commands on n"),
        (1, "Hi ann! GitHub does not provide shell access.", "protocol", "may not run commands on n"),
        (1, "a file is currently not available", "unreachable", "exit code 1"),
    ],
)
def test_a_python_that_cannot_start_is_explained(
    status: int, words: str, refusal: str, says: str
) -> None:
    closed = LinkClosed("", status)
    assert closed.refusal(words).value == refusal
    reason = closed.reason_on("n", "python3", words)
    assert says in reason
    assert "exec: " not in reason
