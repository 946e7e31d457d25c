"""Gathers facts about this host for the handshake: cores, memory, versions, free space, clock.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
from typing import Any, Dict, Optional, Tuple

from sshrender.renderers.encoders import deflate
from sshrender.runner.host import processlimits
from sshrender.storage import primitives

VERSION_TIMEOUT = 20
"""Seconds for ``gs --version``, on a host that loads the program from a slow file server."""

_VERSION = re.compile(r"[0-9]+[.][0-9]+[0-9.]*$")


def gather() -> Dict[str, Any]:
    """Return cores, memory in bytes, Python's version, encoder, boot id and name of this host."""
    testing = processlimits.begin_test()
    found = {
        "hostname": os.uname().nodename,
        "cores": os.cpu_count() or 1,
        "memory": memory("MemTotal"),
        # In kernels without MemAvailable (before 3.14) it is 0, which means unknown.
        "free_memory": memory("MemAvailable"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "encoder": deflate.kind(),
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "temporary_free": temporary_free(),
        "clock": time.time(),
    }
    # The rest was done beside it.
    processlimits.end_test(testing)
    return found


def memory(field: str) -> int:
    """Return a field of /proc/meminfo in bytes (proc(5): the file counts kibibytes); 0: unknown.

    In an allocation of a batch system no more than the allocation has (runner/allocationfacts.py).
    """
    allocated = os.environ.get("SSHRENDER_ALLOCATED_MEMORY", "")
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            size = int(rest.split()[0]) * 1024
            # The node may have more memory than the allocation; what is beyond that kills the whole job.
            return min(size, int(allocated)) if allocated.isdigit() else size
    return 0


def ghostscript_version(program: str) -> Optional[str]:
    """Return the version that ``gs --version`` prints; None when the program cannot be used.

    Raises OSError: a limit of this host leaves no room for it.
    """
    return ask_ghostscript(program)[0]


def ask_ghostscript(program: str) -> Tuple[Optional[str], str]:
    """Return the version, or None and why the program cannot be used; no reason: there is none.

    Raises OSError: a limit of this host leaves no room for it.
    """
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=VERSION_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return None, "it does not say its version within %d s" % VERSION_TIMEOUT
    except OSError as error:
        if processlimits.reached(error) is not None:
            raise
        # ENOENT, too, if a script's interpreter is missing: then the program itself is there.
        is_there = error.errno != errno.ENOENT or processlimits.find(program) is not None
        return None, primitives.reason_of(error) if is_there else ""
    output = answer.stdout.decode("ascii", "replace").strip()
    if answer.returncode != 0:
        lines = (answer.stderr.decode("utf-8", "replace").strip() or output).splitlines()
        why = "it ends with exit code %d" % answer.returncode
        return None, ": ".join([why] + lines[-1:])
    # A wrapper of the site may print lines of its own.
    versions = [line.strip() for line in output.splitlines() if _VERSION.match(line.strip())]
    return versions[0] if versions else output, ""


def mutool_version() -> str:
    """Return the version that ``mutool -v`` prints; empty when it is missing or does not answer."""
    try:
        answer = subprocess.run(
            ["mutool", "-v"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version ([0-9][0-9A-Za-z.+-]{0,30})", answer.stdout.decode("ascii", "replace"))
    return found.group(1) if found is not None else ""


def temporary_free() -> int:
    """Return the free bytes in the folder for temporary files; 0 when it cannot be used."""
    try:
        # TMPDIR first, as for scratch folders (scratch.base).
        return primitives.free_bytes(os.environ.get("TMPDIR") or "/tmp")
    except OSError:
        return 0


def read(path: str) -> str:
    """Return the text of a small file of /proc; empty when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
