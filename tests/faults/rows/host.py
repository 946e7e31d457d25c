"""Hosts that die, freeze, lack what is needed, or greet oddly."""

from __future__ import annotations

import os
import signal

from tests.faults.fault import FEWEST, MANY, Fault, delivered_by, every, for_seconds, node, shell
from tests.faults.night import Night

ELSEWHERE = "its pages go to other hosts"


def _kill_renderers(night: Night) -> None:
    """What the kernel's out-of-memory killer does."""
    for pid in node(night).processes("gs"):
        os.kill(pid, signal.SIGKILL)


def _kill_runner(night: Night) -> None:
    node(night).exec("bash", "-c", "pkill -KILL -f sshrender-runner")


def _reboot(night: Night) -> None:
    node(night).crash()
    node(night).start()


def _other_version(night: Night) -> None:
    script = '#!/bin/sh\n[ "$1" = --version ] && echo 10.99.0 && exit\nexec /usr/bin/gs "$@"\n'
    node(night).install("/usr/local/bin/gs", script)


def _versions_are_told(night: Night) -> None:
    (manifest,) = night.farm.san.glob("*/manifest.json")
    text = manifest.read_text()
    assert '"10.99.0"' in text
    assert '"10.0' in text


FAULTS = [
    Fault(
        "host/killed",
        f"lost at once; {ELSEWHERE}; tried again after 3 s, later less often",
        breaks=lambda n: node(n).crash(),
        after=10,
        host_says="lost",
    ),
    Fault(
        "host/power lost",
        f"lost after 8 s of silence; {ELSEWHERE}",
        breaks=lambda n: node(n).power_loss(),
        after=10,
    ),
    Fault(
        "host/rebooted in the middle",
        f"lost; {ELSEWHERE}; used again once it is up",
        breaks=_reboot,
        after=10,
        pages=MANY,
        checks=delivered_by("node1", 20),
    ),
    Fault(
        "host/frozen for 2 minutes, then thawed",
        f"lost after 8 s of silence; {ELSEWHERE}; when it thaws its runner finds itself left and ends",
        breaks=for_seconds(120, lambda n: node(n).freeze(), lambda n: node(n).thaw()),
        after=10,
    ),
    Fault(
        "host/runner killed",
        f"lost at once; {ELSEWHERE}; connected again after 3 s",
        breaks=_kill_runner,
        after=10,
    ),
    Fault(
        "host/out-of-memory killer takes gs",
        "one failure is counted for the page, which is rendered elsewhere; the slot starts another gs",
        breaks=_kill_renderers,
        after=10,
        pages=FEWEST,
        is_fast=True,
    ),
    Fault(
        "host/temporary files: disk full",
        "pages that need none are rendered; others fail there and are rendered elsewhere",
        breaks=shell("mount -t tmpfs -o size=4k tmpfs /tmp && head -c 1M /dev/zero > /tmp/full || true"),
    ),
    Fault(
        "host/clock an hour off",
        "nothing: no decision uses another machine's clock",
        breaks=lambda n: node(n).clock_an_hour_back(),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/python3 missing",
        "refused with that reason; the others render",
        breaks=lambda n: node(n).remove("/usr/bin/python3"),
        host_says="python3 not found",
    ),
    Fault(
        "host/Ghostscript missing",
        "refused with that reason; the others render",
        breaks=lambda n: node(n).remove("/usr/bin/gs"),
        host_says="not installed",
    ),
    Fault(
        "host/Ghostscript too old",
        "refused with that reason; the others render",
        breaks=lambda n: node(n).install("/usr/local/bin/gs", "#!/bin/sh\necho 9.27\n"),
        host_says="too old",
    ),
    Fault(
        "host/another Ghostscript than the rest",
        "used; the manifest names the version that rendered each page",
        breaks=_other_version,
        checks=lambda night, morning: _versions_are_told(night),
    ),
    Fault(
        "host/login shell noisy",
        "nothing: what is not marked as ours is passed over",
        breaks=lambda n: node(n).install(
            "/home/artist/.bashrc", "seq 1 2000; echo beware >&2; printf x\n"
        ),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/banner and message of the day",
        "nothing",
        breaks=lambda n: (
            node(n).install("/etc/motd", "unauthorised use is forbidden\n" * 99),
            node(n).sshd_config(Banner="/etc/motd"),
        ),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/login shell fish",
        "nothing: the command line is read alike by every shell",
        breaks=shell("usermod -s /usr/bin/fish artist"),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/login shell tcsh",
        "nothing: the command line is read alike by every shell",
        breaks=shell("usermod -s /usr/bin/tcsh artist"),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/locale not English",
        "nothing: renderers run with LC_ALL=C",
        breaks=lambda n: node(n).sshd_config(SetEnv="LC_ALL=de_DE.UTF-8"),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/home read-only",
        "nothing: no file is written there",
        breaks=shell("mount --bind /home /home && mount -o remount,bind,ro /home"),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/MaxSessions 1",
        "nothing: there is one session on each connection",
        breaks=every(lambda host: host.sshd_config(MaxSessions="1")),
        checks=delivered_by("node1"),
    ),
    Fault(
        "host/MaxStartups 2",
        "nothing: a host gets one connection",
        breaks=every(lambda host: host.sshd_config(MaxStartups="2")),
        checks=delivered_by("node1"),
    ),
]
