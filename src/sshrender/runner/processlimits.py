"""How a renderer is started so that it disturbs nobody and cannot outlive its runner.

Uses nice(1) and ionice(1), setpriv(1) and prlimit(1) (coreutils and util-linux, both essential on
Debian); a tool that a host lacks is left out.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import resource
from typing import Callable, Dict, List, Optional

from sshrender.renderers import renderer

ADDRESS_SPACE_MARGIN = 512 * 1024 * 1024
"""Added to the memory limit for what is mapped but not resident; the resident limit is watched."""

OPEN_FILES = 512

LEAST = (
    (resource.RLIMIT_AS, "RLIMIT_AS, ulimit -v", 256 << 20),
    (resource.RLIMIT_FSIZE, "RLIMIT_FSIZE, ulimit -f", 1 << 20),
    (resource.RLIMIT_NOFILE, "RLIMIT_NOFILE, ulimit -n", 32),
)
"""What a renderer needs at least: Ghostscript 10.00 maps 120 MiB when it starts, and opens ten files."""


def at_most(kind: int, wanted: int) -> int:
    """``wanted``, or this process's hard limit where that is less: only root may ask for more."""
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def too_low() -> Optional[str]:
    """Which of this process's hard limits no renderer can work under, in words; None: none."""
    for kind, name, least in LEAST:
        if at_most(kind, least) < least:
            return "a limit of this host is too low: %s is %d, and a renderer needs %d" % (
                name,
                resource.getrlimit(kind)[1],
                least,
            )
    return None


def find(program: str) -> Optional[str]:
    """Where a program is (shutil.which costs a host more to import than all of this file)."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, program)
        if os.access(path, os.X_OK):
            return path
    return None


def wrap(command: List[str], memory: int, which: Callable[[str], Optional[str]] = find) -> List[str]:
    """``command`` at the lowest priority, bounded to ``memory`` bytes, dying with its parent."""
    wrappers = [
        ["nice", "-n", "19"],
        ["ionice", "-c", "3"],
        ["setpriv", "--pdeathsig", "KILL"],
        [
            "prlimit",
            "--core=0",
            "--as=%d" % at_most(resource.RLIMIT_AS, memory + ADDRESS_SPACE_MARGIN),
            "--fsize=%d" % at_most(resource.RLIMIT_FSIZE, renderer.FILE_TO_MEMORY * memory),
            "--nofile=%d" % at_most(resource.RLIMIT_NOFILE, OPEN_FILES),
            "--",
        ],
    ]
    words: List[str] = []
    for wrapper in wrappers:
        if which(wrapper[0]) is not None:
            words += wrapper
    return words + command


def environment(base: Dict[str, str]) -> Dict[str, str]:
    """The runner's environment without what would change a picture from host to host."""
    kept = {name: value for name, value in base.items() if not name.startswith(("GS_", "LD_"))}
    kept["LC_ALL"] = "C"
    return kept
