"""Ends earlier runners of an allocation of a batch system: one allocation has one runner.

A step of Slurm outlives its srun if that is killed with its machine. The runner there would use the
cores until it takes its coordinator for gone; if the allocation ended before that, Slurm would kill it
with the guardians of its folders, which would stay on the node.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "SSHRENDER_ALLOCATION"
"""Names the allocation in the environment of its runner, and of what that has started.

Set by the holder (allocationfacts.variables), which is sent without this module.
"""

_LABEL = b"sshrender-runner"
"""A word of each runner's command line (transports/payload.py), and of nothing else in an allocation."""


def end_others() -> None:
    """Have other runners of this allocation end at once, as they do on SIGINT (runner/main.py)."""
    own = ("%s=%s" % (VARIABLE, os.environ[VARIABLE])).encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            # Another user's process cannot be read, and is not ours.
            if own in _words(name, "environ") and _LABEL in _words(name, "cmdline"):
                os.kill(int(name), signal.SIGINT)
        except OSError:
            continue


def _words(process: str, name: str) -> "list[bytes]":
    with open("/proc/%s/%s" % (process, name), "rb") as file:
        return file.read().split(b"\0")
