"""The faults, by name: what is done to whom and when, and what the run must then end with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.night import Night

Deed = Callable[[Night], None]


@dataclass(frozen=True)
class Fault:
    """``after`` pages (0: before the run begins) ``breaks`` is done; the run must end with ``code``.

    ``host_says`` must then stand in node1's reason. ``mends`` is done before the same command is given
    again where the first run was not complete. ``is_fast``: part of ``make test``.
    """

    name: str
    breaks: Deed
    after: int = 0
    code: int = 0
    host_says: str = ""
    mends: Deed | None = None
    words: tuple[str, ...] = ()
    hosts: int = 2
    is_fast: bool = False
    inventory: Callable[[Night], dict[str, Any]] | None = None


def node(night: Night) -> Any:
    """The host that things happen to; the other one is well."""
    return night.farm["node1"]


def _every(deed: Callable[[Any], object]) -> Deed:
    def do(night: Night) -> None:
        for host in night.farm.hosts:
            deed(host)

    return do


def _shell(script: str) -> Deed:
    return lambda night: node(night).exec("bash", "-c", script, check=True) and None


def _kill_renderers(night: Night) -> None:
    """What the kernel's out-of-memory killer does."""
    for pid in node(night).processes("gs"):
        os.kill(pid, signal.SIGKILL)


def _kill_connections(night: Night) -> None:
    """The session's sshd processes die; the one that listens does not."""
    node(night).exec("bash", "-c", "pkill -KILL -f 'sshd: artist'")


def _kill_runner(night: Night) -> None:
    node(night).exec("bash", "-c", "pkill -KILL -f sshrender-runner")


def _reboot(night: Night) -> None:
    node(night).crash()
    node(night).start()


def _freeze_for(seconds: float) -> Deed:
    def do(night: Night) -> None:
        node(night).freeze()
        time.sleep(seconds)
        node(night).thaw()

    return do


def _cut_for(seconds: float) -> Deed:
    def do(night: Night) -> None:
        node(night).cut()
        time.sleep(seconds)
        node(night).heal()

    return do


def _iptables(*rules: str) -> Deed:
    def do(night: Night) -> None:
        node(night)._iptables(*rules)

    return do


def _renderer(script: str) -> Deed:
    """A gs on node1 that is led astray; ``page`` is the page it is asked for, or None."""

    def do(night: Night) -> None:
        node(night).install("/usr/local/bin/gs", FAKE.format(script=script))

    return do


FAKE = r"""#!/usr/bin/python3 -u
import os, re, signal, subprocess, sys, time
if '--version' in sys.argv: print('10.00.0'); sys.exit()
gs = subprocess.Popen(['/usr/bin/gs', *sys.argv[1:]], stdin=subprocess.PIPE)
for line in sys.stdin:
    page = re.search(r'{{ (\d+) \d+ dopdfpages', line)
    page = int(page[1]) if page else None
    odd = page is not None and page % 7 == 0
{script}
    gs.stdin.write(line.encode()); gs.stdin.flush()
gs.stdin.close(); gs.wait()
"""


def _signal(number: signal.Signals, times: int = 1) -> Deed:
    def do(night: Night) -> None:
        assert night.process is not None
        for _ in range(times):
            night.process.send_signal(number)
            time.sleep(0.2)

    return do


def _stop_for(seconds: float) -> Deed:
    def do(night: Night) -> None:
        assert night.process is not None
        night.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        night.process.send_signal(signal.SIGCONT)

    return do


def _journal_path(night: Night) -> Path:
    (path,) = night.farm.san.glob("*/journal.jsonl")
    return path


def _tear_journal(night: Night) -> None:
    _signal(signal.SIGKILL)(night)
    with _journal_path(night).open("ab") as file:
        file.write(b'{"schema": 1, "time": "2026-01-01T00:00:00.000Z", "type": "page_deli')


def _damage_journal(night: Night) -> None:
    _signal(signal.SIGKILL)(night)
    lines = _journal_path(night).read_bytes().splitlines(keepends=True)
    lines[len(lines) // 2] = b"\x00\xff garbage \xfe\n"
    _journal_path(night).write_bytes(b"".join(lines))


def _nothing(night: Night) -> None:
    return


def _another_folder(night: Night) -> None:
    """A folder of the SAN's name that is not the SAN, with the job's folder in it."""
    node(night).san("gone")
    (job,) = (path.name for path in night.farm.san.iterdir() if (path / "job.json").exists())
    node(night).exec("mkdir", "-p", f"/mnt/san/{job}/work", check=True)
    node(night).exec("chmod", "-R", "777", "/mnt/san", check=True)
    _kill_connections(night)


HOST = [
    Fault("host/killed", lambda n: node(n).crash(), after=10, host_says="lost", is_fast=True),
    Fault("host/power lost", lambda n: node(n).power_loss(), after=10),
    Fault("host/rebooted in the middle", _reboot, after=10),
    Fault("host/frozen and thawed", _freeze_for(20), after=10),
    Fault("host/runner killed", _kill_runner, after=10, is_fast=True),
    Fault("host/out-of-memory killer takes gs", _kill_renderers, after=10, is_fast=True),
    Fault(
        "host/temporary files: disk full",
        _shell("mount -t tmpfs -o size=4k tmpfs /tmp && head -c 1M /dev/zero > /tmp/full || true"),
    ),
    Fault("host/python3 missing", lambda n: node(n).remove("/usr/bin/python3"), host_says="127"),
    Fault(
        "host/Ghostscript missing", lambda n: node(n).remove("/usr/bin/gs"), host_says="not installed"
    ),
    Fault(
        "host/Ghostscript too old",
        lambda n: node(n).install("/usr/local/bin/gs", "#!/bin/sh\necho 9.27\n"),
        host_says="too old",
    ),
    Fault(
        "host/login shell noisy",
        lambda n: node(n).install("/home/artist/.bashrc", "seq 1 2000; echo beware >&2; printf x\n"),
        is_fast=True,
    ),
    Fault("host/login shell fish", _shell("usermod -s /usr/bin/fish artist")),
    Fault("host/login shell tcsh", _shell("usermod -s /usr/bin/tcsh artist")),
    Fault("host/locale not English", lambda n: node(n).sshd_config(SetEnv="LC_ALL=de_DE.UTF-8")),
    Fault(
        "host/home read-only",
        _shell("mount --bind /home /home && mount -o remount,bind,ro /home"),
    ),
    Fault("host/MaxSessions 1", _every(lambda host: host.sshd_config(MaxSessions="1"))),
    Fault("host/MaxStartups 2", _every(lambda host: host.sshd_config(MaxStartups="2"))),
]

WIRE = [
    Fault("wire/cable pulled", lambda n: node(n).cut(), after=10, host_says="not heard"),
    Fault("wire/cable pulled and put back", _cut_for(12), after=10),
    Fault("wire/cable loose for two seconds", _cut_for(2), after=10),
    Fault("wire/what it sends is lost", _iptables("-I OUTPUT -o eth0 -j DROP"), after=10),
    Fault("wire/what we send is lost", _iptables("-I INPUT -i eth0 -j DROP"), after=10),
    Fault(
        "wire/30 % loss",
        _iptables("-I INPUT -i eth0 -m statistic --mode random --probability 0.3 -j DROP"),
        after=5,
    ),
    Fault("wire/64 kbit a second", lambda n: n.farm._world.tools(SLOW, "veth1"), after=5),
    Fault("wire/sshd restarted", lambda n: node(n).sshd_config(MaxSessions="9"), after=10, is_fast=True),
    Fault("wire/connection closed", _kill_connections, after=10),
]

SLOW = 'tc qdisc add dev "$1" root tbf rate 64kbit burst 4kb latency 400ms'

STORAGE = [
    Fault("storage/read-only on one host", lambda n: node(n).san("ro"), after=10),
    Fault("storage/unmounted on one host", lambda n: node(n).san("gone"), after=10),
    Fault("storage/not there from the start", lambda n: node(n).san("gone"), host_says="SAN"),
    Fault("storage/another folder of the name", _another_folder, after=10, host_says="SAN"),
]

RENDERER = [
    Fault(
        "renderer/crashes", _renderer("    if odd: gs.kill(); os.kill(os.getpid(), 11)"), is_fast=True
    ),
    Fault("renderer/ends with 0", _renderer("    if odd: gs.kill(); sys.exit(0)")),
    Fault("renderer/hangs", _renderer("    if odd: time.sleep(600)"), words=("--page-timeout", "3s")),
    Fault(
        "renderer/eats memory",
        _renderer("    if odd: x = b'x' * (1 << 29); time.sleep(5)"),
        words=("--page-memory", "300M"),
    ),
    Fault(
        "renderer/draws half a file",
        _renderer(
            "    if odd:\n"
            "        gs.stdin.write(line.encode()); gs.stdin.flush(); time.sleep(0.5)\n"
            "        import glob; last = max(glob.glob('work/s*'), key=os.path.getmtime)\n"
            "        os.truncate(last, 500); line = '\\n'"
        ),
    ),
    Fault(
        "renderer/draws nothing and says all is well",
        _renderer("    if odd: line = re.sub(r'\\d+ \\d+ dopdfpages', '', line)"),
    ),
    Fault(
        "renderer/draws another page size",
        _renderer("    if odd: line = '<< /PageSize [50 50] >> setpagedevice showpage\\n'"),
    ),
    Fault(
        "renderer/floods its output",
        _renderer("    if odd: os.write(1, b'loading of a font\\n' * 1000000)"),
    ),
    Fault(
        "renderer/prints our own tokens",
        _renderer('    if odd: os.write(1, b\'@0123 {"type": "bye"}\\nsshrender-00 1 [1 1]\\n\' * 9)'),
    ),
]

COORDINATOR = [
    Fault("coordinator/SIGKILL", _signal(signal.SIGKILL), after=20, code=-9, is_fast=True),
    Fault("coordinator/SIGTERM", _signal(signal.SIGTERM), after=20, code=143),
    Fault("coordinator/SIGHUP", _signal(signal.SIGHUP), after=20, code=129),
    Fault("coordinator/SIGINT", _signal(signal.SIGINT), after=20, code=130, is_fast=True),
    Fault("coordinator/SIGINT twice", _signal(signal.SIGINT, 2), after=20, code=130),
    Fault("coordinator/stopped for 20 s", _stop_for(20), after=20),
    Fault("coordinator/journal's last line torn", _tear_journal, after=20, code=-9),
    Fault("coordinator/journal damaged", _damage_journal, after=20, code=-9),
]

OWNER = [
    Fault("owner/returns in the middle", lambda n: node(n).load(8.0), after=10, host_says="load"),
]

FAULTS = [*HOST, *WIRE, *STORAGE, *RENDERER, *COORDINATOR, *OWNER]
