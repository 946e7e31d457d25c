"""``hosts``: every host with its verdict, the first thing that is wrong, and what mends it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests import pdfs
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.lab.plugin import FarmFactory
from tests.stretch import stretched, wait_until

PROGRAM = [sys.executable, "-m", "sshrender", "hosts"]


def _ask(farm: Farm, *words: str, **inventory: Any) -> subprocess.CompletedProcess[str]:
    hosts = farm.write_inventory(defaults={"connect_timeout": stretched(3)}, **inventory)
    return farm.run([*PROGRAM, "--hosts", str(hosts), *words])


def _reports(farm: Farm, *words: str, **inventory: Any) -> dict[str, dict[str, Any]]:
    answer = _ask(farm, "--json", *words, **inventory)
    return {host["name"]: host for host in json.loads(answer.stdout)["hosts"]}


def _no_login(host: Host) -> None:
    (host._config / "authorized_keys").write_text("")


TROUBLES: dict[str, tuple[Callable[[Host], object], str, str, str]] = {
    "tcp": (lambda host: host.crash(), "lost", "Connection refused", "artist@{name} true"),
    "key": (
        lambda host: host.new_host_key(),
        "refused",
        "host key has changed",
        "ssh-keygen -R {address} -f",
    ),
    "login": (_no_login, "refused", "none of our keys", "ssh-copy-id -f -i"),
    "python": (
        lambda host: host.remove("/usr/bin/python3"),
        "refused",
        "python3 not found on",
        "install -y python3",
    ),
    "ghostscript": (lambda h: h.remove("/usr/bin/gs"), "refused", "not installed", "-y ghostscript"),
    "san": (
        lambda host: host.san("gone"),
        "refused",
        "does not see the shared folder",
        "ls -ld /mnt/san",
    ),
    "load": (lambda host: host.load(9.0), "busy", "other people's load is 4.50 per core", ""),
}


def test_a_host_is_shown_with_the_first_thing_that_is_wrong_and_what_mends_it(
    farm_factory: FarmFactory,
) -> None:
    """Each trouble on a host of its own, and one host without any."""
    farm = farm_factory(len(TROUBLES) + 1)
    *broken, sound = farm.hosts
    for host, (break_it, *_) in zip(broken, TROUBLES.values(), strict=True):
        break_it(host)
    reports, shown = _reports(farm), _ask(farm).stdout
    assert reports[sound.name]["state"] == "idle"
    for host, (check, (_, state, reason, mend)) in zip(broken, TROUBLES.items(), strict=True):
        report = reports[host.name]
        assert report["state"] == state, check
        assert reason in report["reason"]
        assert [each["name"] for each in report["checks"] if each["ok"] is False] == [check]
        assert reason in shown
        assert mend.format(name=host.name, address=host.address) in shown


def test_a_name_without_an_address_is_told_from_a_host_that_is_down(farm: Farm) -> None:
    reports = _reports(farm, extra={"node1": {"address": "nowhere.invalid"}})
    assert reports["node1"]["checks"][0] == {
        "name": "name",
        "ok": False,
        "says": "no address is known for nowhere.invalid",
    }


def test_a_clock_that_is_off_is_a_warning_and_no_verdict(farm: Farm) -> None:
    farm["node1"].clock_an_hour_back()
    report = _reports(farm)["node1"]
    assert report["state"] == "idle"
    (clock,) = [check for check in report["checks"] if check["name"] == "clock"]
    assert clock["ok"] is False
    shown = re.search(r"clock: -(\d+) s from ours", _ask(farm).stdout)
    assert shown is not None
    assert 3600 <= int(shown[1]) < 3600 + stretched(5), "and the time until it was read"


def test_the_sandbox_is_asked_for_where_it_is_wanted(farm: Farm) -> None:
    farm["node1"].remove("/usr/bin/bwrap")
    assert _reports(farm)["node1"]["state"] == "idle"
    assert "bubblewrap" in _reports(farm, "--sandbox", "bwrap")["node1"]["reason"]


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda host: None, 0),
        (lambda host: host.load(9.0), 0),
        (lambda host: host.crash(), 4),
        (lambda host: host.remove("/usr/bin/gs"), 7),
        (lambda host: host.new_host_key(), 8),
        (lambda host: host.san("gone"), 6),
    ],
    ids=["idle", "busy", "down", "ghostscript", "key", "san"],
)
def test_the_exit_code_is_that_of_a_render(
    farm_factory: FarmFactory, break_it: Callable[[Host], object], code: int
) -> None:
    farm = farm_factory(1)
    break_it(farm["node1"])
    assert _ask(farm).returncode == code


def test_asking_leaves_nothing_anywhere(farm: Farm) -> None:
    assert _ask(farm, "-v").returncode == 0
    assert list(farm.san.iterdir()) == []

    def left() -> list[str]:
        """Return what is there: a runner ends a moment after its connection."""
        listed = [host.exec("ps", "-ww", "-eo", "args").stdout for host in farm.hosts]
        found = [line for text in listed for line in text.splitlines() if "sshrender" in line]
        return found + [host.exec("ls", "-A", "/tmp").stdout for host in farm.hosts]

    wait_until(lambda: not any(left()), 10, left)


def test_a_ghostscript_that_cannot_render_is_a_warning(farm_factory: FarmFactory) -> None:
    """Its version does not show that."""
    farm = farm_factory(1)
    farm["node1"].install("/usr/bin/gs", "#!/bin/sh\n[ $1 = --version ] && echo 10.00.0\n")
    shown = _ask(farm).stdout
    assert "picture: its Ghostscript did not render the test page" in shown
    assert "'gs -q -dNODISPLAY -c quit'" in shown


def test_what_a_host_allows_lacks_or_is_kept_from_is_seen(farm_factory: FarmFactory) -> None:
    """An sshd with one cipher, which paramiko lacks; a host without /proc; a drained one."""
    farm = farm_factory(3)
    farm["node1"].sshd_config(Ciphers="chacha20-poly1305@openssh.com")
    farm["node2"].exec("umount", "-l", "/proc", check=True)
    hosts = str(farm.write_inventory())
    assert farm.run([*PROGRAM[:-1], "drain", "node3", "--hosts", hosts]).returncode == 0
    answer = _ask(farm)
    rows = {line.split()[0]: line for line in answer.stdout.splitlines() if line.startswith("node")}
    assert rows["node1"].split()[1] in ("idle", "busy")
    assert rows["node2"].split()[1] == "refused"
    assert "/proc/loadavg cannot be read" in rows["node2"]
    assert "'head -1 /proc/loadavg'" in answer.stdout
    assert rows["node3"].split()[1] == "drained"
    assert f"    try: sshrender undrain node3 --hosts {hosts}" in answer.stdout


LIMITS = {
    "as=50000000": "RLIMIT_AS, ulimit -v is 50000000, and a renderer needs 268435456",
    "nofile=16": "RLIMIT_NOFILE, ulimit -n is 16, and a renderer needs 32",
    "nproc=4": "RLIMIT_NPROC, ulimit -u is 4 for all processes and threads",
}


def test_a_limit_of_a_login_is_named_and_the_host_is_refused_once(farm_factory: FarmFactory) -> None:
    farm = farm_factory(1)
    host = farm["node1"]
    host.sshd_config(ForceCommand="/usr/local/bin/limited")
    for limit, says in LIMITS.items():
        kind, value = limit.split("=")
        limited = f'#!/bin/sh\nexec prlimit --{kind}={value}:{value} sh -c "$SSH_ORIGINAL_COMMAND"\n'
        host.install("/usr/local/bin/limited", limited)
        answer = _ask(farm, "--json")
        (report,) = json.loads(answer.stdout)["hosts"]
        assert answer.returncode == 4
        assert (report["state"], report["refusal"]) == ("refused", "limits")
        assert says in report["reason"]
    assert "artist@node1 'ulimit -a'" in _ask(farm).stdout

    pdfs.write(farm.san / "a.pdf", pdfs.numbered(1))
    words = ["render", "a.pdf", "--hosts", str(farm.write_inventory()), "--progress", "plain"]
    run = farm.run([*PROGRAM[:-1], *words], cwd=farm.san)
    assert run.returncode == 4, run.stderr
    assert run.stderr.count(f"refused: a limit of this host is too low: {says}") == 2
    for command in (["status", "a"], ["why", "a", "--host", "node1"]):
        told = farm.run([*PROGRAM[:-1], *command, "--san", "/mnt/san"])
        assert says in told.stdout
