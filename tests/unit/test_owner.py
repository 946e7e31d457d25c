"""Who owns a folder or a lease: never taken for gone because it cannot be seen from here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshrender.runner.host import scratch
from sshrender.storage import processidentity
from tests.lab.requirements import require_namespaces
from tests.stretch import wait_until

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

HOLD_FOLDER = """
import sys
from sshrender.runner.host import scratch
print(scratch.make(), flush=True)
sys.stdin.read()
"""

HOLD_LEASE = """
import sys
from pathlib import Path
from sshrender.job import lease
held = lease.take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""

LOOK_AT_LEASE = """
import json, sys
from pathlib import Path
from sshrender.job import lease
pauses = []
holder = lease.holders([Path(sys.argv[1])], pause=pauses.append)
sight = lease._look(lease.LeaseFiles(Path(sys.argv[1])))
print(json.dumps([sight.is_free, pauses]))
"""


@contextmanager
def _held(program: str, *words: str, within: list[str] | None = None) -> Iterator[tuple[str, int]]:
    """A program that holds something until its stdin ends: its line, and its pid out here."""
    command = [*(within or []), sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        assert process.stdin is not None
        process.stdin.close()


def test_a_live_folder_of_another_container_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_namespaces()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with _held(HOLD_FOLDER, within=container) as (folder, pid):
        scratch.clear_dead()
        assert Path(folder).is_dir()
        os.kill(pid, signal.SIGKILL)

    def is_gone() -> bool:
        scratch.clear_dead()
        return not Path(folder).exists()

    if scratch._is_of_one_kernel(str(tmp_path)):
        wait_until(is_gone, 30, "nothing holds its lock any more")


def test_a_folder_of_another_boot_that_no_lock_tells_of_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_is_of_one_kernel", lambda path: False)  # as on NFS
    names = ["sshrender-elsewhere.4026531836-99999-5-0123456789abcdef", "sshrender-99999-dead"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".owner").touch()
    scratch.clear_dead(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_what_a_killed_process_left_is_removed_and_a_live_one_s_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ours = scratch.make()
    with _held(HOLD_FOLDER) as (theirs, pid):
        scratch.clear_dead()
        assert Path(theirs).is_dir()
        os.kill(pid, signal.SIGKILL)
    scratch.clear_dead()
    assert [str(path) for path in tmp_path.iterdir()] == [ours]
    scratch.remove(ours)
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_was_given_again_is_another_process() -> None:
    where, pid, began = processidentity.ourselves()
    assert processidentity.state(where, pid, began) is processidentity.OwnerState.RUNNING
    assert processidentity.state(where, pid, "1") is processidentity.OwnerState.GONE
    assert processidentity.state(where, 1 << 61, "1") is processidentity.OwnerState.GONE
    assert processidentity.state("elsewhere/1", pid, "1") is processidentity.OwnerState.UNKNOWN
    assert processidentity.state("", pid, began) is processidentity.OwnerState.UNKNOWN
    assert processidentity.state(where, pid, "") is processidentity.OwnerState.UNKNOWN


def test_a_lease_of_a_process_that_hidepid_hides_is_not_free(tmp_path: Path) -> None:
    """proc(5): with hidepid=2 another user's process has no /proc/<pid>, and is not gone for that."""
    require_namespaces()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o055)
    path = tmp_path / "lease"
    script = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    hidden = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *NOBODY]
    with _held(HOLD_LEASE, str(path)) as (line, _):
        assert line == "held"
        for file in tmp_path.rglob("*"):
            file.chmod(0o755)
        command = [*hidden, sys.executable, "-c", LOOK_AT_LEASE, str(path)]
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        is_free, pauses = json.loads(seen.stdout or "null") or (seen.stderr, [])
        assert is_free is False
        assert pauses, "its counter was not watched"
