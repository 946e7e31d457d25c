"""A process that has loaded the program: a command forked off it costs a tenth of the CPU of a start.

What a command does and answers is the same: a process of its own with its own environment, folder and
streams. What it lacks is the start itself (the interpreter, the imports, the locale), so a command whose
environment changes that is started as a user starts it; tests of the start do so themselves.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

PROGRAM = [sys.executable, "-m", "sshrender"]
_ROOT = Path(__file__).parents[1]
_MAX_REQUEST = 1 << 20
_STARTING = ("PYTHON", "LC_", "LANG", "LD_", "COVERAGE", "MALLOC", "TERMINAL_WIDTH", "TYPER", "TZ")
"""Beginnings of variables that are read while the interpreter, libc or typer is loaded."""

_LATER = (
    *("concurrent.futures.thread", "cryptography.hazmat.primitives.asymmetric.ed25519", "paramiko"),
    *("pydantic", "rich.console", "rich.markup", "rich.table", "rich.text", "typer.rich_utils"),
)
"""What commands import while they run."""


def is_usual(env: Mapping[str, str]) -> bool:
    """Whether a command with this environment starts as this process has."""
    return _starting(env) == _starting(os.environ) and not os.environ.get("COVERAGE_PROCESS_START")


def _starting(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_STARTING)}


class Prepared:
    """Runs commands; usable by several threads. A context manager."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self._channel, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_REQUEST)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # of the kind that commands write to; nothing comes out of it
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def run(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        """As subprocess.run, without input and with both streams captured. Raises TimeoutExpired."""
        with contextlib.ExitStack() as pipes:
            ends = [os.pipe() for _ in range(3)]
            ours = [pipes.enter_context(os.fdopen(read, "rb", buffering=0)) for read, _ in ends]
            request = {"words": list(words), "cwd": str(cwd), "env": dict(env)}
            theirs = [write for _, write in ends]
            try:
                socket.send_fds(self._channel, [json.dumps(request).encode()], theirs)
            finally:
                for each in theirs:
                    os.close(each)
            out, err, ended = _read_all(ours, [*PROGRAM, *words], timeout)
        code = int(ended.split()[1])
        return subprocess.CompletedProcess([*PROGRAM, *words], code, out, err)


def _read_all(streams: Sequence[IO[bytes]], command: Sequence[str], timeout: float) -> list[bytes]:
    """Read each to its end. The last says the command's pid, and its exit code when it has ended."""
    found = {stream.fileno(): bytearray() for stream in streams}
    left = set(found)
    told = found[streams[-1].fileno()]
    until = time.monotonic() + timeout
    poll = select.poll()
    for each in left:
        poll.register(each, select.POLLIN)
    while left:
        ready = poll.poll(max(until - time.monotonic(), 0.0) * 1000)
        if not ready:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(told.split()[0]), signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout, *map(bytes, list(found.values())[:2]))
        for each, _ in ready:
            data = os.read(each, 1 << 16)
            found[each] += data
            if not data:
                poll.unregister(each)
                left.remove(each)
    return [bytes(found[stream.fileno()]) for stream in streams]


def serve(channel: socket.socket) -> None:
    """Load the program, and fork off each command that is asked for, until nobody can ask any more."""
    _load()
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for commands
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, _MAX_REQUEST, 3)
        if not data:
            return
        if os.fork() == 0:
            channel.close()
            _attend(json.loads(data), *descriptors)
        for each in descriptors:
            os.close(each)


def _load() -> None:
    import sshrender
    import sshrender.__main__

    for name in _LATER:
        importlib.import_module(name)
    for module in _modules(sshrender.__path__):
        importlib.import_module(module)


def _modules(path: Sequence[str], prefix: str = "sshrender.") -> Iterator[str]:
    """All of the program's but the dashboard's, as textual takes longer than all others together."""
    for found in pkgutil.walk_packages(path, prefix):
        if "dashboard" not in found.name and "tui" not in found.name:
            yield found.name


def _attend(request: dict[str, object], out: int, err: int, ended: int) -> NoReturn:
    """Run a command, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(ended)
        _become(request, out, err)
    for each in (out, err):
        os.close(each)
    os.write(ended, b"%d " % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(ended, b"%d" % code)
    os._exit(0)


def _become(request: dict[str, object], out: int, err: int) -> NoReturn:
    """Be ``python -m sshrender``."""
    from sshrender import __main__ as program

    for source, target in ((out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    os.chdir(str(request["cwd"]))
    env = request["env"]
    assert isinstance(env, dict)
    os.environ.clear()
    os.environ.update(env)
    words = request["words"]
    assert isinstance(words, list)
    sys.argv = [str(program.__file__), *words]
    sys.modules["__main__"] = program  # typer takes the name in hints from there
    sys.path[0] = str(Path.cwd())
    try:
        program.main()
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
