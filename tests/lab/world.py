"""The private world of a farm: namespaces with a first process that dies with its owner."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.lab.namespaces import (
    TOOL_PATH,
    LabError,
    Process,
    births_in_new_namespace,
    finish,
    pid_namespace,
    processes_in,
    spawn,
    tool,
)
from tests.lab.prepared import Prepared, is_command, is_usual
from tests.stretch import stretched

PATIENCE = 60.0  # seconds for what takes milliseconds on an idle machine
SCRIPTS = ("world.sh", "boot.sh", "init.sh")


class World:
    """Network, mounts, processes, IPC and hostname of their own, gone for sure at the end.

    All processes of the world are in one PID namespace (each host has another one inside it).
    Its process 1 dies when the world is closed, when the owner's end of a pipe closes and when
    the thread that made it ends, so make a world in a thread that lasts as long.  The kernel
    then kills all the rest, and frees the mounts and network devices that nothing uses.
    """

    def __init__(
        self,
        state: Path,
        san: Path,
        hosts_file: Path,
        address: str,
        prepared: Prepared | None = None,
    ) -> None:
        """Make the world; *state* is a directory, on the machine's disk, that it may use.

        *prepared*: what commands of sshrender are forked off, if there is one.
        """
        self._prepared = prepared
        self.disks = state / "disks"
        self.disks.mkdir(exist_ok=True)
        self._programs: list[subprocess.Popen[str]] = []
        self._log = state / "world.log"
        self._firewall_lock = state / "xtables.lock"  # iptables would use one of the machine
        self._closed = False
        for script in SCRIPTS:  # the checkout may be where the hosts, or the world, see nothing
            shutil.copy(Path(__file__).with_name(script), state)
        self._first = self._launch(state, [str(state), str(san), str(hosts_file), address])
        self._await_ready()
        self.pid_namespace = pid_namespace(self.pid)

    @property
    def pid(self) -> int:
        """The pid, as the machine counts, of the world's first process."""
        return self._first.pid

    def _launch(self, state: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
        command = [tool("setpriv"), "--pdeathsig", "KILL", tool("unshare")]
        command += ["--net", "--mount", "--ipc", "--uts"]
        command += ["bash", str(state / "world.sh"), *arguments]
        with self._log.open("w") as log, births_in_new_namespace():
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"PATH": TOOL_PATH},
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        assert self._first.stdout is not None
        with self._first.stdout as answer:
            if answer.readline() == "ready\n":
                return
        self.close()
        raise LabError(f"the world did not come up:\n{self._log.read_text()}")

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | Path = "/",
        user: str | None = None,
        **kwargs: Any,
    ) -> subprocess.Popen[str]:
        """Start a program of the machine in the world; its pid is the program's own.

        It leads a session of its own unless told otherwise, so that signals to a process group
        (an interrupted test run, a program that signals its own group) stay on their side.
        """
        if self._closed:
            raise LabError("the world is closed")
        options = {"stdin": subprocess.DEVNULL, "start_new_session": True} | kwargs
        if self._prepared is not None and user is None and is_command(argv) and is_usual(env):
            options |= {"text": True, "errors": "replace", "cwd": cwd}
            program = self._prepared.popen(argv, env=env, target=self.pid, **options)
        else:
            prefix = _become(user) if user is not None else ()
            program = spawn(self.pid, argv, cwd=str(cwd), prefix=prefix, env=dict(env), **options)
        self._programs = [p for p in self._programs if p.poll() is None]
        self._programs.append(program)
        return program

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        data: str | None = None,
        timeout: float = PATIENCE,
        cwd: str | Path = "/",
        user: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the machine in the world to its end."""
        stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
        streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        program = self.popen(argv, env=env, cwd=cwd, user=user, **streams)
        out, err = finish(program, data, timeout)
        return subprocess.CompletedProcess(list(argv), program.returncode, out, err)

    def tools(self, script: str, *arguments: str) -> None:
        """Run a shell script with the machine's administration tools; it must succeed."""
        argv = ["bash", "-euc", script, "lab", *arguments]
        done = self.run(argv, env={"PATH": TOOL_PATH, "XTABLES_LOCKFILE": str(self._firewall_lock)})
        if done.returncode != 0:
            raise LabError(f"failed in the lab ({done.returncode}): {script}\n{done.stderr}")

    def processes(self) -> list[Process]:
        """Return the processes of the world itself, those on hosts not included."""
        return processes_in(self.pid_namespace)

    def close(self) -> None:
        """Kill everything in the world and wait until the kernel has removed it."""
        if self._closed:
            return
        self._closed = True
        self._first.kill()
        for program in self._programs:  # process 1 only goes after the last one was reaped
            program.wait(timeout=stretched(PATIENCE))
        self._first.wait(timeout=stretched(PATIENCE))
        assert self._first.stdin is not None
        self._first.stdin.close()


def _become(user: str) -> list[str]:
    """Return the command in front of a program that runs as another user of the machine."""
    entry = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups"]


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
