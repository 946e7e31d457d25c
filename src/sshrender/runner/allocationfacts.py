"""What a batch system says of an allocation in its job's environment, and when the job should leave.

Standard library only, Python 3.7 and later: it is sent with the holder (allocationholder.py).
"""

from __future__ import annotations

import os
from typing import Dict, List

MIN_NOTICE = 60.0
"""Seconds before the end of the allocation at which it says *retiring*, at least."""

SPREAD = 0.1
"""Share of the allocation's time by which it may say so earlier: pilots of an array begin together."""

MEMORY = "SSHRENDER_PILOT_MEMORY"
"""Variable with the bytes that were requested for each pilot."""

# GS_ and LD_ are in the list because they change the output of a renderer (processlimits.environment).
_DROPPED = ("SLURM_", "SBATCH_", "SRUN_", "PMIX_", "PMI_", "PBS_", "SGE_", "GS_", "LD_", "_CONDOR_")
"""Variables of engines, which change how programs run: an inherited SLURM_CPU_BIND puts all renderers
on one core. SLURM_CONF only says where a configuration is."""


def is_number(text: str) -> bool:
    """Return whether a text is a number that int() reads, in ASCII digits."""
    # isdigit() alone is true for digits that int() does not read, such as a raised 2.
    return text.isascii() and text.isdigit()


# HTCondor has no variable for it, so its script gets the index as a word.
def index_of(environ: Dict[str, str], words: List[str]) -> int:
    """Return which element of its array this is: a word of the script, or a variable of the engine."""
    # The order matters: words of the script are ours, and a variable may be left over from an enclosing
    # job.
    for text in (
        *words,
        environ.get("SLURM_ARRAY_TASK_ID"),
        environ.get("PBS_ARRAYID"),
        environ.get("PBS_ARRAY_INDEX"),
        environ.get("SGE_TASK_ID"),  # "undefined" outside of arrays
    ):
        if text is not None and is_number(text):
            return int(text)
    return 0


def cores_of(environ: Dict[str, str]) -> int:
    """Return the cores of the allocation: the engine's number, then what the kernel allows."""
    # Slurm, TORQUE, Grid Engine, OpenPBS. OMP_NUM_THREADS is what HTCondor sets to the number of its
    # slot's cores.
    for name in ("SLURM_CPUS_ON_NODE", "PBS_NUM_PPN", "NSLOTS", "NCPUS", "OMP_NUM_THREADS"):
        text = environ.get(name, "")
        if is_number(text) and int(text):
            # 1024: what the coordinator accepts of any host (transports/messages.py, MAX_CORES).
            return min(int(text), 1024)
    return len(os.sched_getaffinity(0))


def memory_of(environ: Dict[str, str]) -> int:
    """Return the bytes of the allocation; 0: unknown.

    The engine's number comes first, then the control group's or what was requested, whichever is less.
    """
    text = environ.get("SLURM_MEM_PER_NODE", "")
    if is_number(text) and int(text):
        # Slurm counts mebibytes here (sbatch(1), SLURM_MEM_PER_NODE).
        return int(text) << 20
    text = environ.get(MEMORY, "")
    requested = int(text) if is_number(text) else 0
    # Version 2 of control groups, then version 1, whose value for "no limit" is a number near 2^63.
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        # "max" (version 2) is not a number, and a pebibyte or more means no limit.
        if is_number(text) and int(text) < 1 << 50:
            return min(int(text), requested or int(text))
    return requested


def notice_of(seconds: float, token: str) -> float:
    """Return how many seconds before its end an allocation of so many seconds says *retiring*."""
    # 16 bits of the random hexadecimal token are enough to spread pilots.
    return MIN_NOTICE + SPREAD * max(0.0, seconds) * int(token[:4], 16) / 0xFFFF


def kept(environ: Dict[str, str]) -> Dict[str, str]:
    """Return the environment of the runner."""
    return {
        name: value
        for name, value in environ.items()
        if name == "SLURM_CONF" or not name.startswith(_DROPPED + ("SSHRENDER_PILOT",))
    }


def variables(token: str, memory: int) -> Dict[str, str]:
    """Return what tells a runner that it is in an allocation; ``memory`` in bytes, 0: unknown."""
    allocation = "a" + token
    found = {
        "SSHRENDER_ALLOCATION": allocation,  # read by runner/host/earlierrunners.py
        # Slots are the allocation's own: two pilots on one node share none.
        "SSHRENDER_SLOT_NAMESPACE": allocation,
    }
    if memory:
        found["SSHRENDER_ALLOCATED_MEMORY"] = str(memory)
    return found
