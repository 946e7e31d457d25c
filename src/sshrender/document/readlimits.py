"""Resource limits of the process that reads a document (getrlimit(2)).

A limit that is there already is never raised: batch systems and ``ulimit -v`` set hard limits, and
only root may ask for more than the hard limit.
"""

from __future__ import annotations

import resource

from sshrender.errors import ExitCode, UserError

MIN_MEMORY = 600 << 20
"""Bytes of address space below which no job is begun. With 512 MiB the coordinator of one host has no
room for its threads, each of which maps a stack of 8 MiB and an arena of 64; with 540 it has (measured).
"""

MAX_MEMORY = {"read": 1 << 30, "split": 3 << 30, "cut": 3 << 30}
"""Bytes of address space for each operation. Reading 100,000 pages takes 64 MiB of memory (measured), as
files are read piece by piece; a part is built in memory, and may be the whole document."""


def lower(kind: int, wanted: int) -> int:
    """Set a limit to ``wanted`` or to what is allowed, whichever is smaller; return it."""
    # RLIM_INFINITY is -1: it must not be taken for the smallest.
    given = [each for each in resource.getrlimit(kind) if each != resource.RLIM_INFINITY]
    limit = min([wanted, *given])
    # Soft and hard: a process cannot raise it again.
    resource.setrlimit(kind, (limit, limit))
    return limit


def require_memory() -> None:
    """Raise UserError where this process, and so its children, may not have the memory to read a PDF."""
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if allowed != resource.RLIM_INFINITY and allowed < MIN_MEMORY:
        raise UserError(
            ExitCode.USAGE,
            f"the limit on address space (RLIMIT_AS, ulimit -v) is {allowed >> 20} MiB, and this"
            f" program needs {MIN_MEMORY >> 20} MiB",
            "in a batch job, request more memory; elsewhere: ulimit -v unlimited",
        )
