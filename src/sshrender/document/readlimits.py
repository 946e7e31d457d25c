"""Resource limits of the process that reads a document (getrlimit(2)).

A limit that is there already is never raised: batch systems and ``ulimit -v`` set hard limits, and
only root may ask for more than the hard limit.
"""

from __future__ import annotations

import resource

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
