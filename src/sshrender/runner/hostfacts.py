"""What this host is: said once, in the greeting, before any page is sent here.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Dict, Optional

from sshrender.storage import primitives


def gather(ghostscript: str) -> Dict[str, Any]:
    """Cores, memory in bytes, versions, boot id and name of this host."""
    return {
        "hostname": os.uname().nodename,
        "cores": os.cpu_count() or 1,
        "memory": memory("MemTotal"),
        "free_memory": memory("MemAvailable"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "ghostscript": ghostscript_version(ghostscript),
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "temporary_free": temporary_free(),
        "pid": os.getpid(),
        "clock": time.time(),
    }


def memory(field: str) -> int:
    """A field of /proc/meminfo in bytes (proc(5): the file counts kibibytes); 0 when unknown."""
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return 0


def ghostscript_version(program: str) -> Optional[str]:
    """What ``gs --version`` prints; None when there is no such program or it does not answer."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode("ascii", "replace").strip() if answer.returncode == 0 else None


def temporary_free() -> int:
    """Bytes free where Ghostscript keeps its temporary files; 0 when that folder is unusable."""
    try:
        return primitives.free_bytes(os.environ.get("TMPDIR") or "/tmp")
    except OSError:
        return 0


def read(path: str) -> str:
    """The text of a small file of /proc; empty when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
