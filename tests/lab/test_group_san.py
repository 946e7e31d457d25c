"""A shared folder of a group: the coordinator and the hosts are different users of it."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pdfs
from tests.lab.farm import Farm

OWNER, OTHERS = pwd.getpwnam("nobody")[2:4]
"""Who coordinates, and its own group. ssh needs an account."""

GROUP = 5000
"""Of the shared folder: that of the hosts' user."""

AS_OWNER = ["setpriv", f"--reuid={OWNER}", f"--regid={OTHERS}", f"--groups={GROUP}", "--"]
SHOW = """
kept=$(mktemp -d) && mount --bind "$1" "$kept" && mount -t tmpfs -o mode=755 shown "$2"
mkdir -p "$1" && mount --bind "$kept" "$1"
"""
"""Let all users run a Python ($1) that lies below a private folder ($2), as in root's home."""

SSHRENDER = [sys.executable, "-m", "sshrender"]


def _own(farm: Farm) -> None:
    """Give the owner what is at the desk; not the shared folder, and not what hosts have."""
    for path in (farm.root, farm.home, *farm.home.rglob("*"), *farm.root.iterdir()):
        if path.is_file() or path in (farm.root, farm.home):
            os.chown(path, OWNER, OTHERS, follow_symlinks=False)


def _run(farm: Farm, *words: str, umask: str = "077") -> subprocess.CompletedProcess[str]:
    hosts = farm.write_inventory()
    _own(farm)
    python = Path(sys.base_prefix)
    closed = [each for each in python.parents if not each.stat().st_mode & 0o001]
    show = SHOW if closed else ""
    script = f'{show}\nshift 2; umask {umask}; exec "$@"'
    shell = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        script,
        "sh",
        str(python),
        str(closed[-1] if closed else ""),
    ]
    command = [*shell, *AS_OWNER, *SSHRENDER, *words, "--hosts", str(hosts)]
    return farm.run(command, timeout=100, cwd=farm.root)


@pytest.fixture
def document(farm: Farm) -> Path:
    """Six pages."""
    for parent in farm.root.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return pdfs.write(farm.root / "doc.pdf", pdfs.numbered(6))


def test_hosts_of_a_group_render_split_and_whole_whatever_the_umask(farm: Farm, document: Path) -> None:
    os.chown(farm.san, OWNER, GROUP)
    farm.san.chmod(0o2770)
    answer = _run(farm, "hosts", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {host["state"] for host in json.loads(answer.stdout)["hosts"]} <= {"idle", "busy"}
    output = farm.root / "out"
    render = ("render", str(document), "-o", str(output), "-r", "36", "--json", "--wait", "10s")
    answer = _run(farm, *render, "--split", "2")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    summary = json.loads(answer.stdout)
    assert summary["pages"]["done"] == 6
    assert {host["state"] for host in summary["hosts"]} <= {"idle", "busy"}
    job = farm.san / summary["job"]
    for path in (job, *job.rglob("*")):
        status = path.stat()
        assert status.st_gid == GROUP, path
        if path.is_dir():
            work = 0o1027 if path.name == "work" else 0
            assert stat.S_IMODE(status.st_mode) == 0o2750 | work, path
        elif path.name != "lease":
            assert stat.S_IMODE(status.st_mode) & 0o047 == 0o040, path


def test_a_host_whose_pages_cannot_be_read_is_told_by_hosts_and_refused_by_render(
    farm: Farm, document: Path
) -> None:
    """Not a group's: it can be entered by all, and files there stay their user's."""
    os.chown(farm.san, OWNER, OTHERS)
    farm.san.chmod(0o2770)
    for host in farm.hosts:
        host.exec("sh", "-c", f"echo 'more:x:{OTHERS}:artist' >> /etc/group", check=True)
    answer = _run(farm, "hosts", "--json")
    assert answer.returncode == 0, answer.stdout
