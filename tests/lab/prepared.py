"""A process that has loaded the program: a command is forked off it, and saves the CPU of a start.

A start takes 0.35 s of a core, and a render of a few pages 0.7 s more. What a command does and answers
is the same: it is a process of its own with its own environment, folder, streams and name spaces. What
it lacks is the start itself (the interpreter, the imports, the locale), so a command whose environment
changes that is started as a user starts it, and so is each that a test starts with subprocess.
"""

from __future__ import annotations

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
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sshrender.transports import payload
from tests.lab.namespaces import enter, enter_pids, open_namespaces
from tests.stretch import stretched

PROGRAM = [sys.executable, "-m", "sshrender"]
_ROOT = Path(__file__).parents[2]
_SERVER = "import sys; from tests.lab import prepared; prepared.serve(int(sys.argv[1]))"
_MAX_REQUEST = 1 << 17
_WIDTH = 12
"""Bytes of a number in what is said of a command."""

_STARTING = ("PYTHON", "LC_", "LANG", "LD_", "COVERAGE", "MALLOC", "TERMINAL_WIDTH", "TYPER", "TZ")
"""Beginnings of variables that are read while the interpreter, libc or typer is loaded."""

_LATER = (
    *("concurrent.futures.thread", "cryptography.hazmat.primitives.asymmetric.ed25519", "paramiko"),
    *("pydantic", "rich.console", "rich.markup", "rich.table", "rich.text", "typer.rich_utils"),
)
"""What commands import while they run."""


_ENVIRONMENT = dict(os.environ)
"""What the process starts with: a test may change its own."""


def is_command(argv: Sequence[str]) -> bool:
    """Return whether this starts the program."""
    return list(argv[: len(PROGRAM)]) == PROGRAM


def is_usual(env: Mapping[str, str]) -> bool:
    """Return whether a command with this environment starts as this process has."""
    same = _starting(env) == _starting(_ENVIRONMENT)
    return same and not any(name.startswith("COVERAGE") for name in env)


def _starting(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_STARTING)}


class Prepared:
    """Starts commands; usable by several threads. A context manager."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                cwd=_ROOT,
                env=_ENVIRONMENT,
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

    def popen(
        self, command: Sequence[str], *, env: Mapping[str, str], target: int = 0, **options: Any
    ) -> subprocess.Popen[Any]:
        """As subprocess.Popen of PROGRAM with words; ``target``: in the name spaces of that process.

        Options: cwd, the three streams, start_new_session, and how text is decoded.
        """
        assert is_command(command)
        if is_usual(env):
            return _Command(self._channel, target, command, env=env, **options)
        assert target == 0, "see is_usual()"
        return subprocess.Popen(command, env=env, **options)

    def run(
        self, command: Sequence[str], *, data: str | None = None, timeout: float = 120, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """As subprocess.run of PROGRAM with words, ``data`` as its input and both streams captured."""
        pipe = subprocess.PIPE
        stdin = subprocess.DEVNULL if data is None else pipe
        process = self.popen(command, stdin=stdin, stdout=pipe, stderr=pipe, **options)
        with process:
            try:
                streams = process.communicate(data, timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess([*command], process.returncode, *streams)


class _Command(subprocess.Popen[Any]):
    """A command whose parent is a process of ours: that one waits for it, and says how it has ended.

    Limits of time stretch with the machine's load.
    """

    def __init__(self, channel: socket.socket, target: int, *words: Any, **options: Any) -> None:
        self._channel, self._target = channel, target
        self._lock = threading.Lock()
        self._ended = -1
        super().__init__(*words, **options)

    def _execute_child(self, args: Sequence[str], *options: Any) -> None:
        """Begin it (subprocess.Popen calls this with all options by their places)."""
        cwd, env = options[4:6]
        # The ends of the child; -1: it has its parent's.
        streams = [options[9], options[12], options[14]]
        request = {
            "words": list(args[len(PROGRAM) :]),
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(env),
            "target": self._target,
            "session": bool(options[20]),
        }
        data = json.dumps(request).encode()
        assert len(data) < _MAX_REQUEST
        self._ended, told = os.pipe()
        try:
            given = [own if stream == -1 else stream for own, stream in enumerate(streams)]
            socket.send_fds(self._channel, [data], [*given, told])
        finally:
            os.close(told)
            self._close_pipe_fds(*options[9:15])  # type: ignore[attr-defined]
        self.pid = self._told()
        self._child_created = True

    def _told(self) -> int:
        """Return the next number from its parent: the pid, then how it has ended."""
        return int(os.read(self._ended, _WIDTH) or -signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        return super().communicate(input, timeout and stretched(timeout))

    def wait(self, timeout: float | None = None) -> int:
        return super().wait(timeout and stretched(timeout))

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        return self._awaited(0)

    def _wait(self, timeout: float | None) -> int:
        code = self._awaited(None if timeout is None else max(timeout, 0) * 1000)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _awaited(self, milliseconds: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._ended, select.POLLIN)
            if not poll.poll(milliseconds):
                return None
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._told()
                    os.close(self._ended)
        code: int = self.returncode
        return code


def serve(descriptor: int) -> None:
    """Load the program, and fork off each command that this socket asks for, to its end."""
    channel = socket.socket(fileno=descriptor)
    _load()
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for those that wait for commands
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, _MAX_REQUEST, 4)
        if not data:
            return
        if os.fork() == 0:
            channel.close()
            _attend(json.loads(data), descriptors)
        for each in descriptors:
            os.close(each)


def _load() -> None:
    import sshrender
    import sshrender.__main__

    for name in _LATER:
        importlib.import_module(name)
    for module in _modules(sshrender.__path__):
        for found in vars(importlib.import_module(module)).values():
            _complete(found)
    # Kept for the runners of all commands, here and on hosts.
    payload.build("", 0, payload.Form.COMPRESSED)


def _complete(found: object) -> None:
    """Make what a class makes of itself when it is first used, once for all commands."""
    from pydantic import BaseModel

    if isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel:
        found.model_rebuild()


def _modules(path: Sequence[str]) -> Iterator[str]:
    """All of the program's but the dashboard's, as textual takes longer than all others together."""
    for found in pkgutil.walk_packages(path, "sshrender."):
        if "dashboard" not in found.name:
            yield found.name


def _attend(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Run a command, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, ended = descriptors
    spaces = open_namespaces(request["target"]) if request["target"] else {}
    if spaces:
        enter_pids(spaces)  # for children only: this process stays where its children are seen
    pid = os.fork()
    if pid == 0:
        os.close(ended)
        if spaces:
            enter(spaces)
        _become(request, streams)
    for each in streams:
        os.close(each)
    os.write(ended, b"%*d" % (_WIDTH, pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(ended, b"%*d" % (_WIDTH, code))
    os._exit(0)


def _become(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be ``python -m sshrender``."""
    from sshrender import __main__ as program

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in set(streams):
        os.close(stream)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [str(program.__file__), *request["words"]]
    sys.modules["__main__"] = program  # typer takes the name in hints from there
    sys.path[0] = request["cwd"]
    try:
        program.main()
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    os._exit(1)
