"""Starts renderers with the lowest priority, with limits, and so that they cannot outlive the runner.

Uses nice(1) and ionice(1), setpriv(1) and prlimit(1) (coreutils and util-linux, both essential on
Debian); a tool that a host lacks is left out.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from sshrender.renderers import constants

ADDRESS_SPACE_MARGIN = 512 * 1024 * 1024
"""Bytes added to the limit on address space for what is mapped but not resident. The resident memory
itself is checked by warmsession.py and oneshot.py."""

MAX_OPEN_FILES = 512

LOWEST_PRIORITY = 19

MINIMUM_LIMITS = (
    (resource.RLIMIT_AS, "RLIMIT_AS, ulimit -v", 256 << 20),
    (resource.RLIMIT_DATA, "RLIMIT_DATA, ulimit -d", 96 << 20),
    (resource.RLIMIT_FSIZE, "RLIMIT_FSIZE, ulimit -f", 1 << 20),
    (resource.RLIMIT_NOFILE, "RLIMIT_NOFILE, ulimit -n", 32),
)
"""The limits that a renderer needs: Ghostscript 10.00 maps 120 MiB at its start and opens ten files."""


class ProcessSetup(NamedTuple):
    """How a renderer's process runs: working folder, variables, limits, sandbox.

    ``folder``: the job's. ``memory``: resident bytes that it and its children may use. ``inherited``:
    descriptors that it inherits, its slot's lock (slotlocks.py). ``writable``: further folders that a
    sandbox lets it write to.
    """

    folder: str
    environ: Dict[str, str]
    memory: int
    is_sandboxed: bool = False
    inherited: Tuple[int, ...] = ()
    writable: Tuple[str, ...] = ()


def at_most(kind: int, wanted: int) -> int:
    """Return ``wanted``, or the hard limit of this process if that is lower: only root may exceed it."""
    hard = resource.getrlimit(kind)[1]
    # An unprivileged process can only lower its hard limit (setrlimit(2)); a higher value would be
    # refused.
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def lower_own_priority() -> None:
    """Give the calling thread the priority of the renderers, for work that takes time as theirs does.

    On Linux each thread has its own, and 0 is the one that calls (setpriority(2), notes).
    """
    # If a limit forbids it, the work is done at the priority that it has.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)


def too_low() -> Optional[str]:
    """Return in words which hard limit is too low for any renderer; None when all are high enough."""
    # Hard limits, because wrap() raises the soft ones up to them.
    for kind, name, least in MINIMUM_LIMITS:
        if at_most(kind, least) < least:
            return "a limit of this host is too low: %s is %d, and a renderer needs %d" % (
                name,
                resource.getrlimit(kind)[1],
                least,
            )
    return None


def processor_time() -> float:
    """Return the seconds of CPU that one process may use here; infinity if nothing limits them."""
    soft = resource.getrlimit(resource.RLIMIT_CPU)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else float(soft)


def reached(error: BaseException) -> Optional[str]:
    """Return in words which limit an error of fork(2), open(2) or a thread's start shows, else None."""
    # Python raises RuntimeError with this text and no errno if pthread_create(3) fails.
    if str(error) == "can't start new thread" or getattr(error, "errno", 0) == errno.EAGAIN:
        # It fails for want of address space, too.
        return too_low() or (
            "a limit of this host is too low: RLIMIT_NPROC, ulimit -u is %d for all processes and"
            " threads of this user, and a runner needs 16, and 6 for each renderer, beside the others"
            % resource.getrlimit(resource.RLIMIT_NPROC)[0]
        )
    if getattr(error, "errno", 0) == errno.EMFILE:
        return "a limit of this host is too low: RLIMIT_NOFILE, ulimit -n, open files"
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
        return "a limit of this host is too low: RLIMIT_AS, ulimit -v, memory; or the host has none left"
    return None


def find(program: str) -> Optional[str]:
    """Return the path of a program. Importing shutil.which would take longer than all of this module."""
    # The order of PATH, as the shell and Popen search it.
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, program)
        if os.access(path, os.X_OK):
            return path
    return None


def wrap(command: List[str], memory: int, which: Callable[[str], Optional[str]] = find) -> List[str]:
    """Return ``command`` with lowest priority, limited to ``memory`` bytes, killed with its parent."""
    words: List[str] = []
    for wrapper in _wrappers(memory):
        # A host without util-linux's tools renders as well, with fewer limits.
        if wrapper[0] not in _forbidden and which(wrapper[0]) is not None:
            words += wrapper
    return words + command


_forbidden: Set[str] = set()
"""Wrappers that end with an error here: a container's seccomp filter may forbid what they do."""

_TEST = ["true"]
_TEST_MEMORY = 1 << 30
_TEST_TIMEOUT = 10.0


def begin_test() -> Optional[subprocess.Popen[bytes]]:
    """Start to find out whether the wrappers work here. Raises OSError if no process can start."""
    return _start(wrap(_TEST, _TEST_MEMORY)) if find(_TEST[0]) is not None else None


def end_test(testing: Optional[subprocess.Popen[bytes]]) -> None:
    """Take note of its result: wrap() leaves out what does not work."""
    if testing is None or _has_worked(testing):
        return
    for wrapper in _wrappers(_TEST_MEMORY):
        if find(wrapper[0]) is not None and not _has_worked(_start(wrapper + _TEST)):
            _forbidden.add(wrapper[0])


def _start(command: List[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)


def _has_worked(process: subprocess.Popen[bytes]) -> bool:
    """Return whether it ends with 0. One that is only slow, on a busy host, counts as one that does."""
    try:
        return process.wait(_TEST_TIMEOUT) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return True


def _wrappers(memory: int) -> List[List[str]]:
    # Each wrapper ends with exec, so the renderer keeps the process id and no wrapper stays.
    return [
        ["nice", "-n", str(LOWEST_PRIORITY)],
        ["ionice", "-c", "3"],  # class 3, idle: the disk serves others first
        # The kernel kills the renderer when the runner dies, also by SIGKILL (prctl(2),
        # PR_SET_PDEATHSIG).
        ["setpriv", "--pdeathsig", "KILL"],
        # Last, so that the limits are those of the renderer alone and not of the other wrappers.
        [
            "prlimit",
            "--core=0",  # no core dumps in the job's folder
            "--as=%d" % at_most(resource.RLIMIT_AS, memory + ADDRESS_SPACE_MARGIN),
            # A file of pixels may be larger than the memory of a page (renderers/constants.py).
            "--fsize=%d" % at_most(resource.RLIMIT_FSIZE, constants.FILE_TO_MEMORY * memory),
            "--nofile=%d" % at_most(resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
            "--",
        ],
    ]


def environment(base: Dict[str, str]) -> Dict[str, str]:
    """Return the runner's environment without variables that would change the output of a renderer."""
    # GS_OPTIONS and GS_LIB change what Ghostscript does; LD_PRELOAD and LD_LIBRARY_PATH change any
    # program.
    kept = {name: value for name, value in base.items() if not name.startswith(("GS_", "LD_"))}
    kept["LC_ALL"] = "C"  # messages are matched in English, numbers have a point
    return kept
