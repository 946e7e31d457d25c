"""Refuses to start a command whose process has limits that are too low for it.

If memory runs out during an import or the start of a thread, libraries abort (pydantic's core is Rust,
which ends the process) or wait for ever (threading.Thread.start). So a limit below a command's needs is
refused before anything large is loaded.
"""

from __future__ import annotations

import os
import resource
import threading

from sshrender.errors import ExitCode, UserError

MIB = 1 << 20

MIN_MEMORY = 600 * MIB
"""Bytes of address space of a command that runs jobs or reads documents. With ``limit_reservations``
a render on this machine works from 330 MiB on (measured); libraries of other versions may be larger."""

MIN_MEMORY_TO_LOOK = 160 * MIB
"""Bytes of address space of a command that reads and writes only small files; 100 MiB suffice
(measured)."""

MIN_DATA, MIN_DATA_TO_LOOK = 320 * MIB, 128 * MIB
"""The same of RLIMIT_DATA, which counts private writable memory only: 160 and 60 MiB suffice."""

MIN_STACK = 512 << 10
"""Bytes of the stack. 64 KiB end every command with a signal, 128 KiB suffice (measured)."""

MIN_FILES, MIN_FILES_TO_LOOK = 32, 12
"""Open files of both kinds of commands: 32 and 10 suffice, for this machine alone (measured)."""

_LOOKING = frozenset(
    {
        *("hold", "release", "cancel", "resubmit", "alter", "clean", "report", "init", "status", "why"),
        *("drain", "undrain", "move", "man", "config", "key", "--help", "-h", "--version"),
    }
)
"""Commands that neither render nor read a document."""

_NAMES = {
    resource.RLIMIT_AS: ("address space (RLIMIT_AS, ulimit -v)", "v"),
    resource.RLIMIT_DATA: ("data (RLIMIT_DATA, ulimit -d)", "d"),
    resource.RLIMIT_STACK: ("the stack (RLIMIT_STACK, ulimit -s)", "s"),
    resource.RLIMIT_NOFILE: ("open files (RLIMIT_NOFILE, ulimit -n)", "n"),
}
"""The name of each limit, and the option of ulimit that sets it."""

_USUAL = {"s": "8192", "n": "1024"}
"""Linux's initial values (include/asm-generic/resource.h) of limits that should stay finite."""

_M_ARENA_MAX = -8
"""The parameter of mallopt(3) for the number of arenas (malloc.h)."""

_THREAD_STACK = 2 * MIB
"""Bytes of a thread's stack if the limits leave little room or make no sense: what glibc takes on x86-64
if RLIMIT_STACK is infinite (ARCH_STACK_DEFAULT_SIZE)."""

_LARGE_STACK = 64 * MIB
"""A stack above which each thread would take too much of the address space: eight times the default."""


def require(command: str) -> None:
    """Raise UserError if a limit of this process is too low for ``command`` (a name, or empty)."""
    is_small = command in _LOOKING or not command
    for kind, least in (
        (resource.RLIMIT_AS, (MIN_MEMORY, MIN_MEMORY_TO_LOOK)),
        (resource.RLIMIT_DATA, (MIN_DATA, MIN_DATA_TO_LOOK)),
        (resource.RLIMIT_STACK, (MIN_STACK, MIN_STACK)),
        (resource.RLIMIT_NOFILE, (MIN_FILES, MIN_FILES_TO_LOOK)),
    ):
        _require(kind, least[is_small])
    # Locks, load and processes are read from /proc. A bare chroot(1) has none.
    if not is_small and not os.access("/proc/self/stat", os.R_OK):
        raise UserError(
            ExitCode.USAGE, "/proc is not mounted on this machine", "mount -t proc proc /proc"
        )


def require_memory() -> None:
    """Raise UserError if the limits of this process leave its children too little memory for a PDF."""
    _require(resource.RLIMIT_AS, MIN_MEMORY)


def limit_reservations() -> None:
    """Let threads reserve less address space if it is limited. Call it before the first thread.

    A thread reserves a stack as large as RLIMIT_STACK, and with its first malloc(3) an arena of 64 MiB
    (glibc, HEAP_MAX_SIZE).
    """
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    if is_limited or (stack != resource.RLIM_INFINITY and not _THREAD_STACK <= stack <= _LARGE_STACK):
        threading.stack_size(_THREAD_STACK)
    if is_limited:
        import ctypes  # 10 ms, which a command without a limit does not need

        # Another libc than glibc has neither arenas nor this function.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def leave_time_to_stop() -> None:
    """Put the soft limit on CPU time below the hard one, as ``ulimit -t`` sets both.

    At the soft limit a run stops in order; at the hard one the kernel kills it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft == hard and hard > 2 * STOP_SECONDS:
        resource.setrlimit(resource.RLIMIT_CPU, (hard - STOP_SECONDS, hard))


STOP_SECONDS = 3
"""CPU seconds in which a run stops and writes what it has: one suffices (measured)."""


def _require(kind: int, least: int) -> None:
    name, option = _NAMES[kind]
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or soft >= least:
        return
    is_enough = hard == resource.RLIM_INFINITY or hard >= least
    is_size = kind != resource.RLIMIT_NOFILE
    # The soft limit on open files is raised later, too (preconnect.py). Other limits are set on purpose.
    if not is_size and is_enough:
        resource.setrlimit(kind, (least, hard))
        return
    raise UserError(
        ExitCode.USAGE,
        f"the limit on {name} is {_size(soft) if is_size else soft},"
        f" and this command needs {_size(least) if is_size else least}",
        _raised(option, is_enough=is_enough),
    )


def _size(number: int) -> str:
    return f"{number / MIB:.4g} MiB" if number >= MIB else f"{number >> 10} KiB"


def _raised(option: str, *, is_enough: bool) -> str:
    """Return what raises the limit. ``is_enough``: the hard limit allows it."""
    # "hard" is known to bash, zsh and fish.
    if is_enough:
        return f"ulimit -S -{option} hard"
    if os.geteuid() == 0:  # only root may raise a hard limit (setrlimit(2))
        return f"ulimit -{option} {_USUAL.get(option, 'unlimited')}"
    return (
        "in a batch job, request more; elsewhere the administrator sets the hard limit"
        f" (/etc/security/limits.conf): ulimit -H -{option}"
    )
