"""A shared folder of a group: the coordinator and the hosts are different users of it."""

from __future__ import annotations

import errno
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
show() {
    kept=$(mktemp -d) && mount --rbind "$1" "$kept" && mount -t tmpfs -o mode=755 shown "$2"
    mkdir -p "$1" && mount --rbind "$kept" "$1"
}
"""
"""Let all users reach a folder ($1) that lies below a private one ($2), as pytest's and root's are."""

SSHRENDER = [sys.executable, "-m", "sshrender"]


def _own(farm: Farm) -> None:
    """Give the owner what is at the desk; not the shared folder, and not what hosts have."""
    for path in (farm.root, farm.home, *farm.home.rglob("*"), *farm.root.iterdir()):
        if path.is_file() or path in (farm.root, farm.home):
            os.chown(path, OWNER, OTHERS, follow_symlinks=False)


def _run(farm: Farm, *words: str, umask: str = "077") -> subprocess.CompletedProcess[str]:
    hosts = farm.write_inventory()
    _own(farm)
    script = SHOW
    for folder in (Path(sys.base_prefix), farm.root):
        private = [each for each in folder.parents if not each.stat().st_mode & 0o001]
        script += f"show {folder} {private[-1]}\n" if private else ""
    script += f'umask {umask}; exec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", *AS_OWNER, *SSHRENDER, *words]
    command += ["--hosts", str(hosts)]
    return farm.run(command, timeout=100, cwd="/")


@pytest.fixture
def document(farm: Farm) -> Path:
    """Six pages."""
    return pdfs.write(farm.root / "doc.pdf", pdfs.numbered(6))


def test_hosts_of_a_group_render_split_and_whole_whatever_the_umask(farm: Farm, document: Path) -> None:
    os.chown(farm.san, OWNER, GROUP)
    farm.san.chmod(0o770)  # without the set-group-ID bit
    answer = _run(farm, "hosts")
    assert answer.returncode == 6, answer.stdout + answer.stderr
    assert answer.stdout.count("Permission denied") == len(farm.hosts)
    assert "it has no set-group-ID bit (chmod g+s)" in answer.stdout
    farm.san.chmod(0o2770)
    answer = _run(farm, "hosts", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {host["state"] for host in json.loads(answer.stdout)["hosts"]} <= {"idle", "busy"}
    output = farm.root / "out"
    render = ("render", str(document), "-o", str(output), "-r", "36", "--json")
    pins = ("--pin", "1=node1", "--pin", "6=node2")  # however late a host is met
    answer = _run(farm, *render, *pins, "--split", "2")
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


def test_a_shared_folder_without_links_modes_and_flushes_takes_a_job_and_says_what_it_lacks(
    farm: Farm, document: Path
) -> None:
    (bad,) = farm.bad_sans(desk=True)
    bad.fail({"link": "EOPNOTSUPP", "chmod": "EPERM", "fsyncdir": "EINVAL"})
    san = farm.san_inside
    answer = farm.run([*SSHRENDER, "hosts", "--san", san, "--json"])
    assert answer.returncode == 0, answer.stdout
    found = {each["name"]: each for each in json.loads(answer.stdout)["san"]["conditions"]}
    assert {name for name, each in found.items() if not each["ok"]} == {"links", "modes", "sync"}
    output = ["-o", str(farm.root / "out"), "-r", "36", "--san", san]
    render = [*SSHRENDER, "render", str(document), *output, "--assemble", "pdf", "--progress", "plain"]
    answer = farm.run(render)
    assert answer.returncode == 0, answer.stderr
    assert len(list((farm.root / "out").glob("page-*.png"))) == 6
    assert answer.stderr.count("cannot sync folder") == 1, answer.stderr
    (job,) = farm.san.glob("doc-*")
    assert (job / "manifest.json").is_file()
    assert [path.name for path in (job / ".epochs").glob("0*")] == ["00000001"]


def test_names_that_a_file_system_refuses_fail_their_pages_and_no_other(
    farm: Farm, document: Path
) -> None:
    (bad,) = farm.bad_sans(desk=True)
    refused = {1: "EPERM", 2: "EBUSY", 3: "ESTALE"}
    bad.fail({"names": {f"/out/page-000{page}.png": name for page, name in refused.items()}})
    san = farm.san_inside
    words = [str(document), "-o", f"{san}/out", "-r", "36", "--san", san]
    render = [*SSHRENDER, "render", *words, "--progress", "plain", "--json"]
    answer = farm.run(render)
    summary = json.loads(answer.stdout)
    assert (answer.returncode, summary["pages"]["done"]) == (3, 3), answer.stderr
    for failed in summary["failed_pages"]:
        why = os.strerror(getattr(errno, refused[failed["page"]]))
        assert failed["kind"] == "unwritable"
        assert failed["hosts"] == []
        assert failed["reason"] == f"the output folder: {san}/out/page-000{failed['page']}.png: {why}"
        assert f"page {failed['page']} waits until " in answer.stderr
    bad.fail({})
    answer = farm.run(render)
    summary = json.loads(answer.stdout)
    assert (answer.returncode, summary["pages"]["done"]) == (0, 6), answer.stderr
    assert sum(host["pages"] for host in summary["hosts"]) == 0  # they were rendered already
