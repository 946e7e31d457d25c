"""A large farm needs more open files than the usual soft limit allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from sshrender.coordinator.hosts.preconnect import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, int(sys.argv[1])))
allow_open_files(int(sys.argv[2]))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("hard", "hosts", "soft"), [(20000, 10, 1024), (20000, 1000, 8512), (4096, 1000, 4096)]
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(hard: int, hosts: int, soft: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(hard), str(hosts)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == [str(soft), str(hard)]
