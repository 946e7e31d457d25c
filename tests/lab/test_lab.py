"""The lab keeps what it promises: without that, no test that uses it proves anything."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.lab import Farm, LabError, requirements
from tests.lab.plugin import FarmFactory
from tests.lab.requirements import require_lab
from tests.stretch import stretched, wait_until

pytestmark = pytest.mark.lab
PROJECT = Path(__file__).parents[2]
NAMESPACES = ("pid", "net", "mnt")


def ssh(farm: Farm, host: str, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return farm.run(["ssh", "-F", str(farm.ssh_config), *options, host, command], timeout=90)


def output(farm: Farm, host: str, command: str) -> str:
    done = ssh(farm, host, command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def namespaces_of(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in NAMESPACES}


def users_of(namespaces: set[str]) -> list[int]:
    """Return the processes of the machine that live in, or hold, one of the namespaces."""
    users = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if namespaces & namespaces_of(int(entry.name)):
                users.append(int(entry.name))
        except OSError:
            continue
    return users


@contextmanager
def held(namespaces: set[str]) -> Iterator[None]:
    """Keep these namespaces: the kernel gives the number of one that is gone to the next that is made.

    That one may be of another test, whose processes would be taken for what this one has left.
    """
    with ExitStack() as stack:
        left = set(namespaces)
        for pid in users_of(namespaces):
            for kind in NAMESPACES:
                path = Path(f"/proc/{pid}/ns/{kind}")
                with suppress(OSError):  # it may have ended meanwhile
                    if (name := str(path.readlink())) in left:
                        stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                        left.remove(name)
        assert not left
        yield


def farm_namespaces(farm: Farm) -> set[str]:
    """Return the namespaces of a farm's desk and of its hosts."""
    inside = namespaces_of(farm.processes("bash")[0])
    for host in farm.hosts:
        inside |= namespaces_of(host.processes("sshd")[0])
    return inside - namespaces_of(os.getpid())


# -- an ordinary day ---------------------------------------------------------------------------


def test_every_host_is_a_machine_of_its_own(farm_factory: FarmFactory) -> None:
    farm = farm_factory(3)
    for host in farm.hosts:
        assert output(farm, host.name, "id -un; hostname; pwd").split() == [
            "artist",
            host.name,
            "/home/artist",
        ]
    farm["node1"].install("/usr/local/bin/gs", "#!/bin/sh\necho fake $(id -un)\n")
    farm["node2"].remove("/usr/bin/gs")
    assert output(farm, "node1", "gs") == "fake artist"
    assert ssh(farm, "node2", "gs --version").returncode == 127
    assert output(farm, "node3", "gs --version; ls /tmp /home")
    assert Path("/usr/bin/gs").exists()
    assert not Path("/usr/local/bin/gs").exists()
    ids = {output(farm, host.name, "cat /etc/machine-id") for host in farm.hosts}
    assert len(ids) == 3


def test_load_and_processors_are_what_the_test_says(farm: Farm) -> None:
    farm["node1"].load(7.5)
    farm["node2"].load(0.1, 0.2, 12)
    assert output(farm, "node1", "cat /proc/loadavg") == "7.50 7.50 7.50 1/99 999"
    assert output(farm, "node2", "cat /proc/loadavg") == "0.10 0.20 12.00 1/99 999"
    farm["node1"].cpus(16)
    count = "nproc; getconf _NPROCESSORS_ONLN; grep -c ^processor /proc/cpuinfo"
    assert output(farm, "node1", count).split() == ["16"] * 3
    assert output(farm, "node2", count).split() == ["2"] * 3


def test_the_san_is_one_folder_for_all(farm: Farm) -> None:
    assert output(farm, "node1", "echo page > /mnt/san/a; cat /mnt/san/a") == "page"
    assert output(farm, "node2", "cat /mnt/san/a") == "page"
    assert (farm.san / "a").read_text() == "page\n"
    assert farm.run(["cat", "a"], cwd=farm.san_inside).stdout == "page\n"
    host = farm["node1"]
    host.san("ro")
    assert "Read-only" in ssh(farm, "node1", "touch /mnt/san/b").stderr
    assert output(farm, "node2", "touch /mnt/san/b; ls /mnt/san").split() == ["a", "b"]
    host.san("rw")
    assert output(farm, "node1", "rm /mnt/san/b; ls /mnt/san") == "a"
    host.san("gone")
    assert output(farm, "node1", "ls -A /mnt/san") == ""
    assert ssh(farm, "node1", "touch /mnt/san/c").returncode != 0
    host.san("back")
    assert output(farm, "node1", "ls /mnt/san") == "a"


def test_the_desk_runs_programs_under_their_own_pid(farm: Farm, tmp_path: Path) -> None:
    shown = farm.run(
        [sys.executable, "-c", "import os; print(dict(os.environ)); print(input(), os.getcwd())"],
        env={"COLOUR": "red", "PATH": None},
        input="hello\n",
        cwd=tmp_path,
    )
    assert "'COLOUR': 'red'" in shown.stdout
    assert "'PATH'" not in shown.stdout
    assert f"'HOME': '{farm.home}'" in shown.stdout
    assert shown.stdout.endswith(f"hello {tmp_path}\n")
    assert farm.run(["id", "-un"], user="nobody").stdout == "nobody\n"
    program = farm.popen(["sh", "-c", "trap 'exit 7' TERM; echo on; while :; do sleep 0.01; done"],
                         stdout=subprocess.PIPE)  # fmt: skip
    assert program.stdout is not None
    with program.stdout as lines:
        assert lines.readline() == "on\n"
        os.kill(program.pid, signal.SIGTERM)
        assert program.wait(stretched(60)) == 7
    sleeper = farm.popen(["sleep", "77"])
    wait_until(lambda: farm.processes("sleep") == [sleeper.pid], pause=0.01)
    sleeper.send_signal(signal.SIGKILL)
    assert sleeper.wait(stretched(60)) == -signal.SIGKILL


def test_run_ends_a_program_that_takes_too_long(farm: Farm) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        farm.run(["sh", "-c", "sleep 71; true"], timeout=0.2)
    wait_until(lambda: not farm.processes("sleep"), pause=0.01)


def test_orphans_are_reaped(farm: Farm) -> None:
    orphan = "(setsid sleep 0.1 >/dev/null 2>&1 &); true"
    assert ssh(farm, "node1", orphan).returncode == 0
    assert farm.run(["sh", "-c", orphan]).returncode == 0
    every = ["ps", "-e", "-o", "comm=,stat="]
    wait_until(lambda: "sleep" not in farm.run(every).stdout)  # the desk sees the hosts' too
    wait_until(lambda: "sleep" not in farm["node1"].exec(*every).stdout)


def test_the_inventory_says_where_the_hosts_are(farm: Farm) -> None:
    path = farm.write_inventory(
        slots=2,
        defaults={"idle_below": 0.5, "tags": ["a", 'quote " ü']},
        extra={"node2": {"slots": None, "port": 2222, "off": True}},
    )
    written = tomllib.loads(path.read_text())
    assert written["san"] == {"path": "/mnt/san"}
    assert written["defaults"].pop("connect_timeout") >= 10
    assert written["defaults"] == {
        "user": "artist",
        "idle_below": 0.5,
        "tags": ["a", 'quote " ü'],
    }
    first, second = written["hosts"]
    assert first == {
        "name": "node1",
        "address": "10.77.0.11",
        "identity_file": str(farm.identity),
        "known_hosts": str(farm.known_hosts),
        "slots": 2,
    }
    assert "slots" not in second
    assert (second["port"], second["off"]) == (2222, True)


# -- faults ------------------------------------------------------------------------------------


def test_a_crashed_host_boots_with_its_disk_and_a_new_boot_id(farm: Farm) -> None:
    host = farm["node1"]
    before = output(farm, "node1", "touch ~/kept /tmp/lost; cat /proc/sys/kernel/random/boot_id")
    session = farm.popen(["ssh", "-F", str(farm.ssh_config), "node1", "sleep 66"],
                         stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until(lambda: host.processes("sleep"), pause=0.01)
    host.crash()
    assert session.wait(stretched(60)) == 255
    assert not host.is_on()
    assert host.processes("sleep") == []
    with pytest.raises(LabError, match="off"):
        host.exec("true")
    assert ssh(farm, "node1", "true").returncode == 255
    host.start()
    shown = output(farm, "node1", "cat /proc/sys/kernel/random/boot_id; ls ~ /tmp")
    after, *files = shown.splitlines()
    assert after != before
    assert "kept" in files
    assert "lost" not in files


def test_power_loss_says_nothing_to_anyone(farm: Farm) -> None:
    host = farm["node1"]
    session = farm.popen(["ssh", "-F", str(farm.ssh_config), "node1", "sleep 65"],
                         stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until(lambda: host.processes("sleep"), pause=0.01)
    time.sleep(0.3)  # no packet is on its way; one sent again would be answered with a reset
    host.power_loss()
    host.start()
    time.sleep(0.5)
    assert session.poll() is None  # it was not told, not even by what the former boot left over
    assert output(farm, "node1", "hostname") == "node1"


def test_cut_and_drop_are_silent_and_pass(farm: Farm) -> None:
    host = farm["node1"]
    lasts = "until [ -e /tmp/end ]; do sleep 0.2; done; echo survived"
    session = farm.popen(["ssh", "-F", str(farm.ssh_config), "node1", lasts],
                         stdout=subprocess.PIPE)  # fmt: skip
    wait_until(lambda: host.processes("sleep"), pause=0.01)
    for harm, repair in ((host.cut, host.heal), (host.drop, host.undrop)):
        harm()
        refused = ssh(farm, "node1", "true", "-o", "ConnectTimeout=1")
        assert refused.returncode == 255
        assert "refused" not in refused.stderr
        repair()
        assert output(farm, "node1", "hostname") == "node1"
    host.exec("touch", "/tmp/end", check=True)
    assert session.communicate(timeout=stretched(60))[0] == "survived\n"
    host.cut()
    host.crash()
    host.start()
    assert ssh(farm, "node1", "true", "-o", "ConnectTimeout=1").returncode == 255


def test_a_frozen_host_does_nothing_until_it_thaws(farm: Farm) -> None:
    host = farm["node1"]
    host.freeze()
    hung = ssh(farm, "node1", "true", "-o", "ConnectTimeout=1")
    assert hung.returncode == 255
    assert output(farm, "node2", "hostname") == "node2"
    host.thaw()
    assert output(farm, "node1", "hostname") == "node1"
    host.freeze()
    host.crash()
    assert not host.is_on()


def test_ssh_notices_a_new_host_key(farm: Farm) -> None:
    farm["node1"].new_host_key()
    assert "Host key verification failed" in ssh(farm, "node1", "true").stderr
    assert output(farm, "node2", "hostname") == "node2"


def test_sshd_takes_options(farm: Farm) -> None:
    host = farm["node1"]
    host.sshd_config(Port="2222", MaxSessions="1")
    assert ssh(farm, "node1", "true").returncode == 255
    assert ssh(farm, "node1", "true", "-p", "2222").returncode == 0
    host.sshd_config(Port=None)
    control = ["-o", f"ControlPath={farm.root}/c", "-o", "ControlMaster=auto"]
    master = farm.popen(["ssh", "-F", str(farm.ssh_config), *control, "node1", "sleep 64"],
                        stderr=subprocess.DEVNULL)  # fmt: skip
    wait_until(lambda: host.processes("sleep"), pause=0.01)
    second = ["ssh", "-F", "none", "-o", f"ControlPath={farm.root}/c", "-o", "BatchMode=yes"]
    assert "refused" in farm.run([*second, "node1", "true"]).stderr
    master.kill()
    assert master.wait(stretched(60)) == -signal.SIGKILL


# -- the end of the world ----------------------------------------------------------------------


def test_closing_leaves_nothing(farm_factory: FarmFactory) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    links = sorted(path.name for path in Path("/sys/class/net").iterdir())
    farm = farm_factory(2)
    farm.popen(["sleep", "63"])  # nobody waits for it
    farm.run(["sh", "-c", "setsid -f sleep 62 >/dev/null 2>&1"])
    farm["node1"].freeze()
    namespaces = farm_namespaces(farm)
    assert len(users_of(namespaces)) > 5
    with held(namespaces):
        farm.close()
        farm.close()
        assert users_of(namespaces) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == links
    assert list((farm.root / "disks").iterdir()) == []
    with pytest.raises(LabError, match="closed"):
        farm.run(["true"])


OWNER = """
import json, signal, sys
from pathlib import Path
from tests.lab import Farm
from tests.lab.test_lab import farm_namespaces
farm = Farm(Path(sys.argv[1]), 2)
farm.popen(["sleep", "61"])
farm.run(["sh", "-c", "setsid -f sleep 60 >/dev/null 2>&1"])
farm["node2"].freeze()
print(json.dumps(sorted(farm_namespaces(farm))), flush=True)
signal.pause()
"""


def test_the_world_dies_with_its_owner(tmp_path: Path) -> None:
    require_lab()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "farm")],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert owner.stdout is not None
    with owner.stdout as answer:
        namespaces = set(json.loads(answer.readline()))
    assert len(users_of(namespaces)) > 5
    with held(namespaces):
        owner.kill()
        owner.wait(60)
        wait_until(lambda: not users_of(namespaces), pause=0.01)


def test_two_farms_live_side_by_side(farm_factory: FarmFactory) -> None:
    first, second = farm_factory(2), farm_factory(1)
    first["node1"].load(9)
    output(first, "node1", "echo first > /mnt/san/who")
    output(second, "node1", "echo second > /mnt/san/who")
    assert output(first, "node1", "cat /mnt/san/who; cut -c1-4 /proc/loadavg") == "first\n9.00"
    assert output(second, "node1", "cat /mnt/san/who; cut -c1-4 /proc/loadavg") == "second\n0.00"
    first.close()
    assert output(second, "node1", "hostname") == "node1"


def test_a_farm_may_begin_with_its_hosts_off(farm_factory: FarmFactory) -> None:
    farm = farm_factory(2, start=False, cpus=4)
    assert not any(host.is_on() for host in farm.hosts)
    farm["node2"].start()
    assert output(farm, "node2", "nproc") == "4"
    assert ssh(farm, "node1", "true", "-o", "ConnectTimeout=1").returncode == 255
    with pytest.raises(LabError, match="on already"):
        farm["node2"].start()


# -- where there can be no lab -----------------------------------------------------------------


def test_what_is_missing_skips_but_never_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "missing", lambda: ["root", "a bridge"])
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="root, a bridge"):
        require_lab()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="root, a bridge"):
        require_lab()
