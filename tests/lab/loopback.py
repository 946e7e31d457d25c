"""One sshd on loopback, with a port and keys of its own: what a machine without the lab can offer.

It needs no name spaces and no capability. An ordinary user can start it; started by root, it needs the
folder into which sshd shuts itself away before a login.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

from tests.lab.host import new_key
from tests.lab.inventory import table
from tests.lab.namespaces import TOOL_PATH, LabError
from tests.stretch import stretched

PATIENCE = 60.0
_PRIVSEP = Path("/run/sshd")
"""Where Debian's sshd wants an empty folder when it runs as root; its service makes it at boot."""

_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/hostkey"
AuthorizedKeysFile "{folder}/identity.pub" "{folder}/home/.ssh/authorized_keys"
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv SSHRENDER_SLOT_NAMESPACE={room} "HOME={folder}/home"
"""


def missing() -> str:
    """Return what this machine lacks for it; empty when nothing."""
    absent = [name for name in ("sshd", "ssh-keygen") if shutil.which(name, path=TOOL_PATH) is None]
    if absent:
        return "no " + ", ".join(absent)
    try:
        pwd.getpwuid(os.geteuid())
        if os.geteuid() == 0:
            _PRIVSEP.mkdir(mode=0o755, exist_ok=True)
    except (KeyError, OSError) as error:
        return str(error)
    return ""


class Loopback:
    """A running sshd that lets in the user of this process, and nobody else. A context manager."""

    def __init__(self, folder: Path) -> None:
        """Make keys in ``folder`` and start it. Raises LabError."""
        self.folder = folder
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.identity = folder / "identity"
        self.known_hosts = folder / "known_hosts"
        for making in [new_key(self.identity), new_key(folder / "hostkey")]:
            making.wait(timeout=stretched(PATIENCE))
        # What is typed there must not change the home of the person who tests.
        (folder / "home").mkdir()
        self._log = folder / "log"
        self._process = self._start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=stretched(PATIENCE))

    def inventory(self, path: Path, san: Path | None, **changes: object) -> Path:
        """Write an inventory of it to ``path``; ``san`` None: the host sees none.

        ``seen_at`` in ``changes``: where the host sees it.
        """
        entry = {
            "name": "loopback",
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "identity_file": self.identity,
            "known_hosts": self.known_hosts,
            "slots": 2,
            # Its owner is this machine, which runs the other tests: their load is no reason to leave it.
            "idle_below": 1e6,
            "busy_above": 1e6,
            **({"san": False} if san is None else {}),
            **changes,
        }
        if "seen_at" in entry:
            entry["san"] = entry.pop("seen_at")
        parts = [] if san is None else [table("[san]", {"path": san})]
        path.write_text("\n".join([*parts, table("[[hosts]]", entry)]))
        return path

    def refusal(self) -> str:
        """Return why it refuses a login, such as a locked account (sshd(8), UsePAM); else empty."""
        options = ["BatchMode=yes", "IdentitiesOnly=yes", f'UserKnownHostsFile="{self.known_hosts}"']
        words = ["ssh", "-F", "none", "-i", str(self.identity), "-p", str(self.port)]
        words += [word for option in options for word in ("-o", option)]
        words += [f"{self.user}@127.0.0.1", "true"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        reasons = [line for line in self._log.read_text().splitlines() if "not allowed" in line]
        return "; ".join(reasons) or done.stderr.decode() if done.returncode else ""

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it on a free port: another process may take that first, so several are tried."""
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.port: int = server.getsockname()[1]
            config = self.folder / "sshd_config"
            config.write_text(
                _CONFIG.format(port=self.port, folder=self.folder, room=uuid.uuid4().hex[:12])
            )
            kind, key, *_ = (self.folder / "hostkey.pub").read_text().split()
            self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
            program = shutil.which("sshd", path=TOOL_PATH)
            assert program is not None
            self._log.unlink(missing_ok=True)
            process = subprocess.Popen([program, "-D", "-f", str(config), "-E", str(self._log)])
            if self._listens(process):
                return process
        raise LabError(f"sshd does not start: {self._log.read_text()}")

    def _listens(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it listens; False when it has ended instead."""
        end = time.monotonic() + stretched(PATIENCE)
        while process.poll() is None and time.monotonic() < end:
            if self._log.exists() and "Server listening" in self._log.read_text():
                return True
            time.sleep(0.02)
        process.kill()
        process.wait()
        return False
