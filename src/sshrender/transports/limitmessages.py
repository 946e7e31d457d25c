"""Recognizes in the output of a host that one of its limits left no room for a runner.

Before the runner can report anything itself, the loader, the interpreter or the shell reports it, in
its own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sshrender.transports.interface import ConnectFailed, LinkClosed, Refusal

_WORDS = (
    # dlopen(3) and ld.so of glibc, Python, fork(2) in bash, and what strerror(3) says of ENOMEM
    (
        "RLIMIT_AS, ulimit -v",
        r"failed to map segment|annot allocate memory|MemoryError|out of memory",
    ),
    ("RLIMIT_NPROC, ulimit -u", r"Resource temporarily unavailable|can't start new thread"),
    ("RLIMIT_NOFILE, ulimit -n", r"Too many open files|cannot open shared object file: Error 24"),
    ("RLIMIT_FSIZE, ulimit -f", r"File size limit exceeded|File too large"),
)
"""For each limit, the messages when it is reached."""

_OWN = "a limit of this host is too low"
"""Start of the runner's own message (runner/host/processlimits.py)."""


def limit_in(lines: Iterable[str]) -> str:
    """Return in words which limit these lines of a host show; empty if none."""
    for line in lines:
        if _OWN in line:
            return line[line.index(_OWN) :]
        for limit, words in _WORDS:
            if re.search(words, line):
                return f"{_OWN} for a runner: {limit}; it says: {line}"
    return ""


def failed_start(closed: LinkClosed, host: str, program: str, words: str) -> ConnectFailed:
    """Return why a runner did not start. ``words``: the last line that the host printed."""
    limit = limit_in([words])
    if limit:
        return ConnectFailed(Refusal.LIMITS, limit)
    return ConnectFailed(closed.refusal(words), closed.reason_on(host, program, words))
