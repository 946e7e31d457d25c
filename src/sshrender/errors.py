"""The exit codes and the errors that a user can meet."""

from __future__ import annotations

import enum
import errno
import signal


class ExitCode(enum.IntEnum):
    """The exit codes of the program; never renumbered. After signal N it is 128 + N."""

    OK = 0
    """Every requested page is verified and delivered."""
    BUG = 1
    """A bug in sshrender; the traceback is in the log."""
    USAGE = 2
    """A flag, the page list, the configuration or the inventory."""
    PARTIAL = 3
    """Some pages failed after all retries; the rest is delivered."""
    NO_HOST = 4
    """No usable host."""
    DOCUMENT = 5
    """The PDF: missing, not a PDF, beyond repair, wrong or no password."""
    STORAGE = 6
    """SAN or output folder missing, not shared, full or not writable."""
    RENDERER = 7
    """Ghostscript or Python missing or too old on every host."""
    AUTHENTICATION = 8
    """Authentication or host key refused by every host."""
    LEASE = 9
    """Another coordinator holds this job."""
    DEADLINE = 10
    """The deadline passed."""


SEVERITY = (
    ExitCode.OK,
    ExitCode.PARTIAL,
    ExitCode.DEADLINE,
    ExitCode.LEASE,
    ExitCode.NO_HOST,
    ExitCode.AUTHENTICATION,
    ExitCode.RENDERER,
    ExitCode.STORAGE,
    ExitCode.DOCUMENT,
    ExitCode.USAGE,
    ExitCode.BUG,
)
"""From mild to severe: of several outcomes in one run the most severe is the exit code."""


def most_severe(codes: list[ExitCode]) -> ExitCode:
    """Return the exit code for these outcomes; OK if there are none."""
    return max(codes, key=SEVERITY.index, default=ExitCode.OK)


def ended_with(code: int) -> str:
    """Describe how a program ended, from its exit code alone."""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"ended with exit code {code}"
    return f"ended by signal {code - 128} ({name})"


CPU_LIMIT = "the limit on CPU time was reached (RLIMIT_CPU, ulimit -t)"
"""The reason for SIGXCPU."""


class UserError(Exception):
    """An error that the user can fix: what is wrong, what to type next, and the exit code."""

    def __init__(self, code: ExitCode, what: str, hint: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.hint = hint


class NeedsUser(UserError):
    """An error that stays until the user decides: the queue holds the job instead of trying again."""


def limit_reached(error: BaseException) -> UserError | None:
    """Return the user's error if a limit of this machine is the cause, else None.

    CPython reports EAGAIN of pthread_create(3) as a RuntimeError without a number; storage/hangguard.py
    gives it back its number, as fork(2) does.
    """
    what = _LIMITS.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    is_unmapped = isinstance(error, ImportError) and _UNMAPPED in str(error)
    if isinstance(error, MemoryError) or is_unmapped or str(error) == "can't start new thread":
        what = _LIMITS[errno.ENOMEM]
    if not what:
        return None
    return _of_limit(what)


def cpu_limit_reached() -> UserError:
    """Return the user's error of SIGXCPU."""
    return _of_limit(CPU_LIMIT)


def _of_limit(what: str) -> UserError:
    return UserError(
        ExitCode.USAGE, what, "raise the limit, and run the same command again; the limits: ulimit -a"
    )


_UNMAPPED = "failed to map segment"
"""The message of dlopen(3) if there is no memory for a library (glibc, elf/dl-load.c)."""

_MEMORY = "a limit on memory or threads was reached (RLIMIT_AS, ulimit -v; RLIMIT_NPROC, ulimit -u)"
_LIMITS = {
    errno.EAGAIN: _MEMORY,
    errno.ENOMEM: _MEMORY,
    errno.EMFILE: "the limit on open files was reached (RLIMIT_NOFILE, ulimit -n)",
    errno.ENFILE: "the limit of this machine on open files was reached (sysctl fs.file-max)",
    errno.EFBIG: "the limit on the size of a file was reached (RLIMIT_FSIZE, ulimit -f)",
}
"""The limit behind each error number (getrlimit(2))."""
