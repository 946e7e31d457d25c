"""What a machine must offer for the lab, and what tests do where it does not."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from sshrender.runner.host import sandbox
from tests.lab.namespaces import TOOL_PATH, tool

PROGRAMS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "iptables": "iptables",
    "gs": "ghostscript",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "pivot_root": "util-linux",
    "bash": "bash",
}
OWN_FILE_SYSTEM = "{} is a file system of its own, which an overlay of / does not show"


@functools.cache
def missing() -> list[str]:
    """Name everything the lab lacks on this machine; an empty list when it can run."""
    if os.geteuid() != 0:
        return ["root"]
    absent = [
        f"{program} (package {package})"
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=TOOL_PATH) is None
    ]
    root = Path("/").stat().st_dev
    absent += [
        OWN_FILE_SYSTEM.format(folder)
        for folder in ("/usr", "/etc")
        if Path(folder).stat().st_dev != root
    ]
    return absent or _probe()


def _probe() -> list[str]:
    """Do once, in small, what a farm does: only that tells what a container forbids."""
    script = Path(__file__).with_name("probe.sh").read_text()
    world = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    with tempfile.TemporaryDirectory(prefix="lab-probe-") as scratch:
        done = subprocess.run(
            [tool("unshare"), *world, "--mount-proc", "bash", "-c", script, "probe", scratch],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            env={"PATH": TOOL_PATH},
        )
    if done.returncode != 0 and not done.stdout:
        return [f"permission to make name spaces ({done.stderr.strip()})"]
    return done.stdout.splitlines()


def require_lab() -> None:
    """Skip the test where the lab cannot run; under CI fail, as nothing may be skipped there."""
    absent = missing()
    if absent:
        skip_or_fail("the lab needs: " + ", ".join(absent))


@functools.cache
def sandbox_fault() -> str | None:
    """Return why no sandbox can be made here: in a chroot the kernel allows no user name space."""
    return sandbox.check("gs")


def require_sandbox() -> None:
    """Skip the test where bubblewrap cannot make a sandbox; under CI fail."""
    fault = sandbox_fault()
    if fault is not None:
        skip_or_fail(f"the sandbox needs user name spaces: {fault}")


@functools.cache
def _namespace_fault() -> str | None:
    """Return why no name space of mounts and pids can be made here."""
    words = [tool("unshare"), "--mount", "--pid", "--fork", "--mount-proc", "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return None if done.returncode == 0 else done.stderr.strip()


def require_namespaces() -> None:
    """Skip the test where no container can be made, even without a network; under CI fail."""
    fault = "not root" if os.geteuid() else _namespace_fault()
    if fault is not None:
        skip_or_fail(f"another container needs name spaces: {fault}")


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test; where CI is set, fail it, as nothing may be skipped there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
