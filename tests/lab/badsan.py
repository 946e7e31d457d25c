"""The handle of a SAN that fails by name (badfs.py), on one host or at the desk."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.namespaces import LabError, tool
from tests.lab.world import PATIENCE
from tests.stretch import stretched

PROGRAM = Path(__file__).with_name("badfs.py")


class BadSan:
    """Mounted when made. It does as the real one does until told otherwise."""

    def __init__(self, target: int, folder: str, mount_point: str, faults: Path) -> None:
        """Show *folder* at *mount_point*, both as process *target* sees them."""
        self._faults = faults
        self.fail({})
        before = _device(target, mount_point)
        command = [tool("setpriv"), "--pdeathsig", "KILL", sys.executable, str(PROGRAM)]
        command += [str(target), folder, mount_point, str(faults)]
        with faults.with_name("badfs.log").open("w") as log:
            # Where the machine has both libraries, mfusepy takes the older one, which lacks an option.
            self._daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "FUSE_LIBRARY_NAME": "fuse3"},
            )
        end = time.monotonic() + stretched(PATIENCE)
        while _device(target, mount_point) == before:
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise LabError("the bad SAN did not come up")
            time.sleep(0.01)

    def fail(self, faults: Mapping[str, Any]) -> None:
        """What goes wrong from now on; ``{}``: nothing."""
        temporary = json.dumps(faults).encode().ljust(4096)
        self._faults.touch()
        with self._faults.open("r+b", buffering=0) as file:
            file.write(temporary)

    def hang(self) -> None:
        """Let every access hang."""
        self._daemon.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End :meth:`hang`."""
        self._daemon.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """The server is gone for good; what hangs in it fails."""
        self._daemon.kill()
        self._daemon.wait(timeout=stretched(PATIENCE))


def _device(pid: int, path: str) -> int:
    return Path(f"/proc/{pid}/root{path}").stat().st_dev
