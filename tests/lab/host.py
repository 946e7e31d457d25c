"""One fake host: what one can do to a real machine, done to a set of namespaces."""

import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tests.lab.badsan import BadSan
from tests.lab.namespaces import (
    HOST_ENVIRONMENT,
    LabError,
    finish,
    pid_namespace,
    running,
    spawn,
    tool,
)
from tests.lab.world import PATIENCE, World, send
from tests.stretch import stretched

SSHD_OPTIONS = {
    "Port": "22",
    "HostKey": "/run/lab/hostkey",
    "AuthorizedKeysFile": "/run/lab/authorized_keys",
    "PidFile": "/run/lab/sshd.pid",
    "StrictModes": "no",
    "UsePAM": "no",
    "UseDNS": "no",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "KexAlgorithms": "curve25519-sha256,curve25519-sha256@libssh.org",  # the fastest to begin
    "MaxStartups": "100",
    "Subsystem": "sftp internal-sftp",
}
RESTART_SSHD = """
if read -r old < /run/lab/sshd.pid 2>/dev/null; then
  kill "$old"
  while kill -0 "$old" 2>/dev/null; do sleep 0.01; done
fi
rm -f /run/lab/sshd.pid
exec "$(command -v sshd)" -f /run/lab/sshd_config -E /run/lab/sshd.log
"""
SAN_CHANGES = {
    "rw": "mount -o remount,bind,rw /mnt/san",
    "ro": "mount -o remount,bind,ro /mnt/san",
    "gone": "umount -l /mnt/san",
    "back": "mountpoint -q /mnt/san || mount --bind /run/filer/san /mnt/san",
}
SanChange = Literal["rw", "ro", "gone", "back"]


def write_in_place(path: Path, text: str) -> None:
    """Change a file that is mounted elsewhere; readers never find it empty."""
    path.touch()
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode())
        file.truncate()


def faketime() -> Path:
    """The library that tells another time (package faketime)."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return library


def new_key(path: Path) -> "subprocess.Popen[bytes]":
    """Start making an ed25519 key pair."""
    command = [tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


class Host:
    """A fake host.  It is off when made; see :meth:`start`."""

    def __init__(self, world: World, number: int, address: str, config: Path, san: Path) -> None:
        """Describe a host; *config* is its directory of keys and settings, seen as /run/lab."""
        self.name = config.name
        self.address = address
        self._world = world
        self._number = number
        self._config = config
        self._san = san
        self._disk = world.disks / self.name
        self._sshd_options = dict(SSHD_OPTIONS)
        self._power: subprocess.Popen[str] | None = None  # runs as long as the host is on
        self._init = 0
        self._cut = False
        self._write_sshd_config()
        self.load(0.0)

    def __repr__(self) -> str:
        return f"Host({self.name}, {self.address}, {'on' if self.is_on() else 'off'})"

    # -- on and off ------------------------------------------------------------------------

    def is_on(self) -> bool:
        """Whether the machine is running; it may be hung or unreachable all the same."""
        return self._power is not None and self._power.poll() is None

    def start(self) -> None:
        """Boot, and return when sshd listens.  What was written to the disk is still there."""
        self.power_on()
        self.await_boot()

    def power_on(self) -> None:
        """Begin to boot; several hosts can do so at once."""
        if self.is_on():
            raise LabError(f"{self.name} is on already")
        write_in_place(self._config / "boot_id", f"{uuid.uuid4()}\n")
        (self._config / "sshd.pid").unlink(missing_ok=True)
        paths = [str(path) for path in (self._config, self._disk, self._san)]
        argv = ["bash", str(self._config.parent / "boot.sh"), self.name, str(self._number)]
        argv += [self.address, *paths]
        with (self._config / "log").open("a") as log:
            self._power = self._world.popen(argv, env=HOST_ENVIRONMENT, stdout=log, stderr=log)

    def await_boot(self) -> None:
        """Wait until sshd listens: it writes its pid file when it does."""
        self._wait_for(self._find_init, "its first process")
        self._wait_for(self._sshd_is_up, "sshd")
        if self._cut:
            self.cut()

    def crash(self) -> None:
        """Kill the machine's first process, and so all others: connections end with a FIN."""
        if self._power is None or not self.is_on():
            return
        self._wait_for(self._find_init, "its first process")
        send(self._init, signal.SIGKILL)
        self._power.wait(timeout=stretched(PATIENCE))

    def power_loss(self) -> None:
        """Stop the machine at once, with no word to anyone.  :meth:`start` ends it."""
        if self.is_on():
            self._link("down")
            self.crash()

    def freeze(self) -> None:
        """Hang the machine: its kernel answers still, no process does."""
        self.exec("bash", "-c", "kill -STOP -1", check=True)  # all at once but init and itself
        send(self._init, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a hung machine go on."""
        send(self._init, signal.SIGCONT)
        self.exec("bash", "-c", "kill -CONT -1", check=True)

    # -- network ---------------------------------------------------------------------------

    def cut(self) -> None:
        """Pull the network cable out.  It stays out over a boot."""
        self._cut = True
        if self._power is not None:
            self._link("down")

    def heal(self) -> None:
        """Put the network cable in again."""
        self._cut = False
        if self._power is not None:
            self._link("up")

    def drop(self) -> None:
        """Lose every packet to and from the host, which notices nothing."""
        self._iptables("-I INPUT -i eth0 -j DROP", "-I OUTPUT -o eth0 -j DROP")

    def undrop(self) -> None:
        """End :meth:`drop`; so does a boot."""
        self._iptables("-F INPUT", "-F OUTPUT")

    def _link(self, state: str) -> None:
        self._world.tools('ip link set "$1" "$2"', f"veth{self._number}", state)

    def _iptables(self, *rules: str) -> None:
        script = "\n".join(f'nsenter --net="$1" iptables {rule}' for rule in rules)
        self._world.tools(script, str(self._disk / "net"))

    # -- load, processors, SAN and files ---------------------------------------------------

    def load(self, one: float, five: float | None = None, fifteen: float | None = None) -> None:
        """Set the load averages; five and fifteen minutes are like one if not given."""
        loads = (one, one if five is None else five, one if fifteen is None else fifteen)
        text = " ".join(f"{load:.2f}" for load in loads)
        write_in_place(self._config / "loadavg", f"{text} 1/99 999\n")

    def cpus(self, n: int) -> None:
        """Set the number of processors that the host shows."""
        block = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        numbered = (re.sub(r"(?m)^(processor\s*:\s*)\d+$", rf"\g<1>{i}", block) for i in range(n))
        write_in_place(self._config / "cpuinfo", "".join(f"{text}\n\n" for text in numbered))
        write_in_place(self._config / "online", f"0-{n - 1}\n" if n > 1 else "0\n")
        write_in_place(self._config / "nproc", f"#!/bin/sh\necho {n}\n")
        (self._config / "nproc").chmod(0o755)

    def san(self, how: SanChange) -> None:
        """Make this host's SAN writable, read-only, gone (an empty folder) or back again."""
        self.exec("bash", "-c", SAN_CHANGES[how], check=True)

    def bad_san(self) -> BadSan:
        """Put a SAN that can fail by name in the place of this host's."""
        return BadSan(self._init, "/run/filer/san", "/mnt/san", self._config / "faults")

    def clock_an_hour_back(self) -> None:
        """What Python says of the time on this host is an hour old."""
        script = f'#!/bin/sh\nexport LD_PRELOAD={faketime()} FAKETIME=-1h\nexec /usr/bin/python3 "$@"\n'
        self.install("/usr/local/bin/python3", script)

    def install(self, path: str, text: str, mode: int = 0o755) -> None:
        """Put a file on this host's disk only, in place of one that is there already."""
        script = 'mkdir -p "${1%/*}"; rm -f "$1"; cat > "$1"; chmod "$2" "$1"'
        self.exec("bash", "-euc", script, "install", path, f"{mode:o}", check=True, data=text)

    def remove(self, path: str) -> None:
        """Remove a file or directory from this host's disk only."""
        self.exec("rm", "-r", path, check=True)

    # -- programs --------------------------------------------------------------------------

    def exec(
        self,
        *argv: str,
        check: bool = False,
        user: str | None = None,
        data: str | None = None,
        timeout: float = 60,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program on the host without ssh, as root unless told otherwise.

        *user* needs a group of the same name.  A daemon left behind must have given up its
        standard output, which is waited for.
        """
        if not self.is_on():
            raise LabError(f"{self.name} is off")
        prefix = _become(user) if user is not None else []
        pipe = subprocess.PIPE
        program = spawn(
            self._init,
            argv,
            prefix=prefix,
            env=dict(HOST_ENVIRONMENT),
            stdin=subprocess.DEVNULL if data is None else pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        out, err = finish(program, data, timeout)
        if check and program.returncode != 0:
            raise LabError(f"{self.name}: {' '.join(argv)}: {program.returncode}\n{err}")
        return subprocess.CompletedProcess(list(argv), program.returncode, out, err)

    def processes(self, name: str) -> list[int]:
        """Return the host's living processes of that name: pids for the caller's os.kill."""
        return running(pid_namespace(self._init), name) if self.is_on() else []

    # -- sshd ------------------------------------------------------------------------------

    def new_host_key(self) -> None:
        """Give the host another key than the one in known_hosts, as a reinstallation does."""
        key = self._config / "hostkey"
        key.unlink()
        key.with_suffix(".pub").unlink()
        new_key(key).wait(timeout=stretched(PATIENCE))
        self._restart_sshd()

    def sshd_config(self, **options: str | None) -> None:
        """Set options of sshd (None: take it away) and restart it; sessions live on."""
        for name, value in options.items():
            if value is None:
                self._sshd_options.pop(name, None)
            else:
                self._sshd_options[name] = value
        self._write_sshd_config()
        self._restart_sshd()

    def _write_sshd_config(self) -> None:
        lines = (f"{name} {value}\n" for name, value in self._sshd_options.items())
        write_in_place(self._config / "sshd_config", "".join(lines))

    def _restart_sshd(self) -> None:
        if self.is_on():
            self.exec("bash", "-c", RESTART_SSHD, check=True)
            self._wait_for(self._sshd_is_up, "sshd")

    # -- waiting ---------------------------------------------------------------------------

    def _find_init(self) -> bool:
        """Find the host's first process: the child of its unshare, in another PID namespace."""
        assert self._power is not None
        children = Path(f"/proc/{self._power.pid}/task/{self._power.pid}/children")
        for child in map(int, children.read_text().split()):
            try:
                inside = pid_namespace(child) != self._world.pid_namespace
            except OSError:
                continue  # a passing child of the boot script
            if inside:
                self._init = child
                return True
        return False

    def _sshd_is_up(self) -> bool:
        pid_file = self._config / "sshd.pid"
        return pid_file.exists() and pid_file.read_text().endswith("\n")

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + stretched(PATIENCE)
        while not condition():
            if not self.is_on() or time.monotonic() > deadline:
                log = (self._config / "log").read_text()
                raise LabError(f"{self.name}: {what} does not come up:\n{log}")
            time.sleep(0.005)


def _become(user: str) -> list[str]:
    """Return the command in front of a program that runs as another user of the host."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"]
