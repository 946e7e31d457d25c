"""Start programs inside other processes' namespaces, and look at what runs there.

Entering a PID namespace with ``nsenter`` costs a fork, so that the process one holds is not the
program one wants to kill.  Here the calling *thread* says where its next children are born (the
kernel keeps that per thread), so every program is a direct child of the caller, visible under
its own pid, and yet belongs to the world that takes it along when it ends.
"""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stretch import stretched

CLONE_NEWPID = 0x20000000
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_ENVIRONMENT: Mapping[str, str] = {"PATH": TOOL_PATH, "HOME": "/root", "LANG": "C.UTF-8"}
_ENTERED = {"mount": "mnt", "net": "net", "ipc": "ipc", "uts": "uts"}  # nsenter's name: file
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(RuntimeError):
    """The lab itself, not what is tested in it, does not work."""


@dataclass(frozen=True)
class Process:
    """A process as ``/proc`` shows it to the machine, outside all worlds."""

    pid: int
    inner_pid: int
    name: str
    state: str

    @property
    def zombie(self) -> bool:
        """Whether it has ended, and only nobody has asked for its exit status yet."""
        return self.state in {"Z", "X"}


def tool(name: str) -> str:
    """Return the full path of a program of the machine, also where PATH leaves out ``sbin``."""
    found = shutil.which(name, path=TOOL_PATH)
    if found is None:
        raise LabError(f"no {name} on this machine")
    return found


def _namespace_call(function: str, *arguments: int) -> None:
    """Call ``setns`` or ``unshare`` (Python has them from 3.12 only)."""
    if getattr(_libc, function)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


@contextmanager
def _namespace_fd(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def births_in(pid: int) -> Iterator[None]:
    """Let this thread's children be born in the PID namespace of process *pid*."""
    with _namespace_fd("/proc/thread-self/ns/pid") as home:
        with _namespace_fd(f"/proc/{pid}/ns/pid") as there:
            _namespace_call("setns", there, CLONE_NEWPID)
        try:
            yield
        finally:
            _namespace_call("setns", home, CLONE_NEWPID)


@contextmanager
def births_in_new_namespace() -> Iterator[None]:
    """Let this thread's next child be process 1 of a new PID namespace."""
    with _namespace_fd("/proc/thread-self/ns/pid") as home:
        _namespace_call("unshare", CLONE_NEWPID)
        try:
            yield
        finally:
            _namespace_call("setns", home, CLONE_NEWPID)


def spawn(
    target: int, argv: Sequence[str], *, cwd: str = "/", prefix: Sequence[str] = (), **kwargs: Any
) -> subprocess.Popen[str]:
    """Start *argv* in all namespaces, and under the root, of process *target*.

    Every step up to the program is an ``exec``, no fork: the returned pid is the program's.
    *prefix* is a command in front of the program, such as ``setpriv ...``.
    """
    command = [tool("nsenter"), f"--root=/proc/{target}/root"]
    command += [f"--{name}=/proc/{target}/ns/{file}" for name, file in _ENTERED.items()]
    command += ["--", "/usr/bin/env", f"--chdir={cwd}", *prefix, *argv]
    try:
        with births_in(target):
            return subprocess.Popen(command, text=True, errors="replace", **kwargs)
    except FileNotFoundError as error:
        raise LabError(f"process {target} of the lab is no longer there") from error


def open_namespaces(target: int) -> dict[str, int]:
    """Open all namespaces, and the root, of process *target*, for a process that is to enter them."""
    here = f"/proc/{target}"
    files = {name: f"{here}/ns/{name}" for name in ("pid", *_ENTERED.values())} | {
        "root": f"{here}/root"
    }
    return {name: os.open(file, os.O_RDONLY | os.O_CLOEXEC) for name, file in files.items()}


def enter_pids(spaces: Mapping[str, int]) -> None:
    """Let this process's children be born in the PID namespace of these."""
    _namespace_call("setns", spaces["pid"], CLONE_NEWPID)


def enter(spaces: Mapping[str, int]) -> None:
    """Enter these namespaces, as nsenter does, in a process of one thread, born in the PID one."""
    for name in _ENTERED.values():
        _namespace_call("setns", spaces[name], 0)
    os.fchdir(spaces["root"])
    os.chroot(".")
    for descriptor in spaces.values():
        os.close(descriptor)


def finish(process: subprocess.Popen[str], data: str | None, timeout: float) -> tuple[str, str]:
    """Wait for a process that leads its own session; when time is up, kill its whole group."""
    try:
        return process.communicate(data, timeout=stretched(timeout))
    except BaseException:
        _kill_group(process)
        raise


def _kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=stretched(10))
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:  # a daemon may hold the other end: closing does not wait for it
            with suppress(BrokenPipeError):
                stream.close()


def pid_namespace(pid: int) -> str:
    """Return the name of a process's PID namespace, such as ``pid:[4026532175]``."""
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def processes_in(namespace: str) -> list[Process]:
    """Return the processes of one PID namespace, with the pids the machine knows them by."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = _read_process(entry, namespace)
            if process is not None:
                found.append(process)
    return found


def _read_process(entry: Path, namespace: str) -> Process | None:
    """Read one ``/proc`` entry; None when it is elsewhere, or gone while being read."""
    try:
        if str((entry / "ns" / "pid").readlink()) != namespace:
            return None
        status = (entry / "status").read_text(errors="replace")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Process(
        pid=int(entry.name),
        inner_pid=int(fields["NSpid"].split()[-1]),
        name=fields["Name"].strip(),
        state=fields["State"].strip()[:1],
    )


def running(namespace: str, name: str) -> list[int]:
    """Return the pids in a namespace of the living processes called *name*."""
    short = name[:15]  # all that the kernel keeps
    return sorted(p.pid for p in processes_in(namespace) if p.name == short and not p.zombie)
