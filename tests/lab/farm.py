"""A farm: a private world, the hosts in it, and the desk from which somebody uses them."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.badsan import BadSan
from tests.lab.host import Host, new_key
from tests.lab.inventory import table
from tests.lab.namespaces import running
from tests.lab.prepared import Prepared
from tests.lab.world import PATIENCE, World
from tests.stretch import stretched

NETWORK = "10.77.0."
DESK_ADDRESS = f"{NETWORK}1"
FIRST_HOST = 11  # node1 is 10.77.0.11
OTHER_PORT = 2222  # known_hosts knows the hosts there too, for a test that moves sshd
SSH_CONFIG = """
Host node*
  User artist
  IdentityFile {identity}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout {timeout:.0f}
"""


class Farm:
    """Hosts node1 to nodeN, a SAN they share, and a desk: a context manager.

    The desk is the machine's own root file system in the farm's network, with the SAN where the
    hosts have it.  What runs there is one of the world's processes: it sees the world's /proc and
    has two pids, its own there and, in ``Popen.pid``, the one the caller can signal.
    """

    san_inside = "/mnt/san"

    def __init__(
        self,
        root: Path,
        hosts: int = 2,
        *,
        cpus: int = 2,
        start: bool = True,
        prepared: Prepared | None = None,
    ) -> None:
        """Make a farm that keeps its files in *root*; with ``start=False`` its hosts are off.

        *prepared*: what commands of sshrender are forked off, if there is one.
        """
        self.root = root.absolute()
        self.san = self.root / "san"
        self.home = self.root / "home"
        self.identity = self.root / "identity"
        self.known_hosts = self.root / "known_hosts"
        self.ssh_config = self.root / "ssh_config"
        addresses = {f"node{i + 1}": f"{NETWORK}{FIRST_HOST + i}" for i in range(hosts)}
        self._make_files(addresses)
        self._bad_sans: list[BadSan] = []
        self._world = World(self.root, self.san, self.root / "hosts", DESK_ADDRESS, prepared)
        self.hosts = [
            Host(self._world, number, address, self.root / name, self.san)
            for number, (name, address) in enumerate(addresses.items(), 1)
        ]
        try:
            self._begin(cpus, start)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Farm":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Host:
        """Return the host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    # -- making it -------------------------------------------------------------------------

    def _make_files(self, addresses: Mapping[str, str]) -> None:
        for folder in (self.san, self.home, *(self.root / name for name in addresses)):
            folder.mkdir(parents=True, exist_ok=True)
        self.san.chmod(0o777)
        self._make_keys(list(addresses))
        lines = (f"{address} {name}\n" for name, address in addresses.items())
        (self.root / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        entries = (f"Host {name}\n  HostName {addr}\n" for name, addr in addresses.items())
        common = SSH_CONFIG.format(
            identity=self.identity, known_hosts=self.known_hosts, timeout=stretched(5)
        )
        self.ssh_config.write_text("".join(entries) + common)
        known = (self._known(name, address) for name, address in addresses.items())
        self.known_hosts.write_text("".join(known))

    def _make_keys(self, names: Sequence[str]) -> None:
        keys = [self.identity, *(self.root / name / "hostkey" for name in names)]
        for making in [new_key(key) for key in keys if not key.exists()]:
            making.wait(timeout=stretched(PATIENCE))
        public = self.identity.with_suffix(".pub").read_text()
        for name in names:
            (self.root / name / "authorized_keys").write_text(public)

    def _known(self, name: str, address: str) -> str:
        kind, key, *_ = (self.root / name / "hostkey.pub").read_text().split()
        return f"{address},[{address}]:22,[{address}]:{OTHER_PORT} {kind} {key}\n"

    def _begin(self, cpus: int, start: bool) -> None:
        for host in self.hosts:
            host.cpus(cpus)
            if start:
                host.power_on()
        for host in self.hosts if start else ():
            host.await_boot()

    # -- using it --------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float = 120,
        cwd: str | Path | None = None,
        user: str | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program at the desk, and capture what it writes.

        *env* is laid over the environment of the caller, where None takes a variable away.  HOME
        is a directory of the farm, and no ssh agent is at hand, unless *env* says so.  When time
        is up, the program's whole session is killed and TimeoutExpired raised.
        """
        return self._world.run(
            argv,
            env=self._environment(env),
            data=input,
            timeout=timeout,
            cwd=cwd or Path.cwd(),
            user=user,
        )

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: str | Path | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> "subprocess.Popen[str]":
        """Start a program at the desk; signals to the result reach that very program.

        Arguments are as in :meth:`run`, the others those of ``subprocess.Popen``.  Its standard
        input is empty and it leads a session of its own, unless told otherwise.
        """
        environment = self._environment(env)
        return self._world.popen(argv, env=environment, cwd=cwd or Path.cwd(), user=user, **kwargs)

    def processes(self, name: str) -> list[int]:
        """Return the desk's living processes of that name: pids for the caller's os.kill."""
        return running(self._world.pid_namespace, name)

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        """Return the desk's environment, with nothing in it of the caller's own settings."""
        result = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
        result.pop("SSH_AUTH_SOCK", None)
        result["HOME"] = str(self.home)
        for key, value in (changes or {}).items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = value
        return result

    def write_inventory(
        self,
        path: Path | None = None,
        *,
        slots: int | None = 1,
        extra: Mapping[str, Mapping[str, object]] | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> Path:
        """Write an inventory of the farm; *extra* changes hosts, None takes a key away."""
        parts = [
            table("[san]", {"path": self.san_inside}),
            # As without a setting; on a busy machine a sound host needs longer.
            table(
                "[defaults]", {"user": "artist", "connect_timeout": stretched(10), **(defaults or {})}
            ),
        ]
        for host in self.hosts:
            entry = {
                "name": host.name,
                "address": host.address,
                "identity_file": self.identity,
                "known_hosts": self.known_hosts,
                "slots": slots,
                **(extra or {}).get(host.name, {}),
            }
            parts.append(table("[[hosts]]", entry))
        target = path or self.root / "hosts.toml"
        target.write_text("\n".join(parts))
        return target

    def bad_sans(self, *hosts: Host, desk: bool = False) -> list[BadSan]:
        """Put SANs that can fail by name in the place of these hosts' and the desk's."""
        made = [host.bad_san() for host in hosts]
        if desk:
            faults = self.root / "desk-faults"
            made.append(BadSan(self._world.pid, str(self.san), self.san_inside, faults))
        self._bad_sans += made
        return made

    def close(self) -> None:
        """Remove all of the farm but the files in its root; may be called again."""
        for san in self._bad_sans:
            san.close()
        self._world.close()
