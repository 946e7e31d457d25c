"""Name the process that owns a file in the file's name: a pid alone means nothing on a shared folder.

The kernel's boot id, the pid namespace, the pid and the time when the process started tell processes of
all machines and containers apart, and one from a later one with the same pid.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, Self

_FORM = re.compile(
    r"(?P<boot>[0-9a-f]{32})\.(?P<namespace>\d{1,20})\.(?P<pid>\d{1,10})\.(?P<start>\d{1,20})"
)


class Owner(NamedTuple):
    """A process. ``start``: clock ticks after the boot (proc(5), stat, field 22)."""

    boot: str
    namespace: int
    pid: int
    start: int

    @classmethod
    def of_this_process(cls) -> Self:
        """Return this process. Raises OSError where /proc is not mounted."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        pid = os.getpid()
        return cls(boot.replace("-", ""), _namespace(), pid, _start_of(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse what ``str`` returns for an owner; return None for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        return cls(match["boot"], int(match["namespace"]), int(match["pid"]), int(match["start"]))

    def __str__(self) -> str:
        return f"{self.boot}.{self.namespace}.{self.pid}.{self.start}"

    def is_dead(self, here: Owner) -> bool | None:
        """Whether it has certainly ended; None where this process (``here``) cannot tell.

        That a process cannot be inspected proves nothing: with hidepid (proc(5)) those of other users
        are not shown. Only ESRCH does, or another start under the same pid.
        """
        if (self.boot, self.namespace) != (here.boot, here.namespace):
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # no kernel gives a pid that large
            return True
        except OSError:
            # Another user's process, or a security module: it exists.
            pass  # EPERM: it is there
        start = _start_of(self.pid)
        return start is not None and start != self.start


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_of(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        return int(text.rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
