"""A batch system of one machine for stand-ins of commands: starts jobs, kills them as real ones do.

There is no daemon: every command looks after the queue, and so does the process that waits for a job.
The state is one JSON file in a folder, under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

State = dict[str, Any]


USUAL: State = {
    "slots": 2,
    "np": 4,
    "queues": ["batch"],
    "server": "desk",
    "max_array": 50,
    "max_queued": 500,
    "max_walltime": 86400,
    "grace": 0.03,
    "dead": [],
    "slot_limit": 0,
    "keep_completed": True,
}


class Cluster:
    """The state in a folder. ``config.json`` changes what ``config`` has.

    ``np``: cores of the largest node; ``grace``: seconds from TERM to KILL; ``dead``: jobs whose node is
    gone, and which nobody but a manager can delete; ``keep_completed``: whether ended jobs are listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[State]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.folder / "state.json"
            state: State = (
                json.loads(file.read_text()) if file.exists() else {"next": 0, "jobs": {}, "log": []}
            )
            yield state
            new = self.folder / "state.new"
            new.write_text(json.dumps(state))
            new.replace(file)

    @property
    def config(self) -> State:
        loaded: State = json.loads((self.folder / "config.json").read_text())
        return USUAL | loaded

    def note(self, name: str, words: list[str]) -> None:
        """Record that a command was called."""
        with self.locked() as state:
            state["log"].append([name, *words])

    def submit(self, name: str, script: str, indexes: list[int], environ: State, seconds: float) -> int:
        with self.locked() as state:
            number: int = state["next"]
            state["next"] += 1
            (self.folder / f"{number}.sh").write_text(script)
            for index in indexes:
                job = {
                    "array": number,
                    "index": index,
                    "name": name,
                    "state": "Q",
                    "pid": 0,
                    "environ": environ,
                    "seconds": seconds,
                }
                state["jobs"][f"{number}.{index}"] = job
            self.schedule(state)
        return number

    def schedule(self, state: State) -> None:
        """Start what waits, as far as there are slots."""
        running = sum(job["state"] == "R" for job in state["jobs"].values())
        for key, job in state["jobs"].items():
            if job["state"] == "Q" and running < self.config["slots"]:
                running += 1
                job["state"] = "R"
                subprocess.Popen(
                    [sys.executable, "-m", "tests.batch.fakebatch", str(self.folder), key],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                )

    def move(self, keys: list[str], before: str, after: str) -> None:
        """Hold or release jobs."""
        with self.locked() as state:
            for key in keys:
                if state["jobs"][key]["state"] == before:
                    state["jobs"][key]["state"] = after
            self.schedule(state)

    def end(self, key: str) -> None:
        """Cancel a job as TORQUE does: TERM to its session, and KILL a moment later."""
        with self.locked() as state:
            job = state["jobs"].get(key)
            if job is None or job["state"] == "C":
                return
            waits = job["state"] in ("Q", "H")
            job["state"] = "C" if waits else job["state"]
            pid = job["pid"]
        if pid and not waits:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
                time.sleep(self.config["grace"])

    def lose(self, key: str) -> None:
        """Let the node of a job die: its processes are gone, and its state stays R."""
        with self.locked() as state:
            job = state["jobs"][key]
        os.kill(job["watcher"], signal.SIGKILL)
        for pid in _descendants(job["pid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def run(self, key: str) -> None:
        """Run a job until it ends, and start the next.

        What it prints is spooled, as TORQUE and OpenPBS do.
        """
        with self.locked() as state:
            job = state["jobs"][key]
            if job["state"] != "R":
                return
            script = str(self.folder / f"{job['array']}.sh")
            home = os.environ.get("HOME", "/")
            spool = (self.folder / f"{key}.OU").open("wb")
            process = subprocess.Popen(
                ["/bin/sh", script, *job["environ"].get("words", [])],
                stdout=spool,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": home,
                    **{
                        name: str(value).replace("INDEX", str(job["index"]))
                        for name, value in job["environ"].items()
                        if name != "words"
                    },
                },
                cwd="/",
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            job["pid"], job["watcher"] = process.pid, os.getpid()
        try:
            process.wait(job["seconds"])
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with self.locked() as state:
            state["jobs"][key]["state"] = "C"
            state["jobs"][key]["code"] = process.returncode
            self.schedule(state)


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


if __name__ == "__main__":
    Cluster(Path(sys.argv[1])).run(sys.argv[2])
