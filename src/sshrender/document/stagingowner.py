"""Name the process that owns a file in the file's name: a pid alone means nothing on a shared folder.

The kernel's boot id, the pid namespace, the pid and the time when the process started tell processes of
all machines and containers apart, and one from a later one with the same pid.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, Self

from sshrender.storage import processidentity

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
        """Return this process. Raises OSError if /proc is not mounted."""
        boot, pid = processidentity.boot(), os.getpid()
        start = int(processidentity.started(pid) or 0)
        return cls(boot.replace("-", ""), _namespace(), pid, start)

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
        """Whether it has certainly ended; None if this process (``here``) cannot tell.

        One of this machine that cannot be inspected is taken to run (storage/processidentity.py).
        """
        if (self.boot, self.namespace) != (here.boot, here.namespace):
            return None
        state = processidentity.state(processidentity.space(), self.pid, str(self.start))
        return state is processidentity.OwnerState.GONE


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
