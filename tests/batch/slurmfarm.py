"""A real Slurm: its controller at the desk of a farm, and one of its daemons on each host."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.lab.farm import DESK_ADDRESS, Farm
from tests.lab.host import Host, write_in_place
from tests.lab.world import PATIENCE
from tests.stretch import wait_until

# cred_expire: seconds that a job's credential lasts. It is also how long a job that Slurm queues again
# has to wait, but a credential that has expired when a busy node reads it leaves the job "launch failed
# requeued held" for ever: it must outlast any load.
# SlurmdTimeout, MessageTimeout: so that a busy machine takes no node down; tests do that themselves.
_CONFIGURATION = """
ClusterName=lab
SlurmctldHost=desk({desk})
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge/munge.socket.2,cred_expire=60
StateSaveLocation={folder}/state
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile=/run/lab/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=600
MessageTimeout=60
KillWait=5
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MaxArraySize={max_array}
SchedulerParameters=sched_min_interval=200000,batch_sched_delay=0
{nodes}
PartitionName=render Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=staff Nodes=ALL MaxTime=INFINITE State=UP AllocNodes=node1
"""

_MUNGED = """
install -d -o munge -g munge /run/munge
exec setpriv --reuid munge --regid munge --clear-groups munged --force --pid-file=/run/munge/pid \\
  --log-file=/run/munge/munged.log --seed-file=/run/munge/seed > /dev/null 2>&1
"""
_SLURMD = "mkdir -p /run/slurmd; exec slurmd -f /run/lab/slurm.conf > /dev/null 2>&1"


def missing() -> str:
    """Return what this machine lacks for a Slurm; empty: nothing."""
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    absent = [
        each for each in programs if shutil.which(each, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if not absent and not Path("/etc/munge/munge.key").exists():
        absent = ["/etc/munge/munge.key"]
    return ", ".join(absent)


class SlurmFarm:
    """Slurm on a farm that is off: its hosts are started as nodes of ``cores`` cores."""

    def __init__(self, farm: Farm, cores: int = 1, max_array: int = 1001) -> None:
        self.farm = farm
        self._folder = farm.root / "slurm"
        (self._folder / "state").mkdir(parents=True)
        self._write_configuration(cores, max_array)
        # The desk sees the machine's own /run, where nothing may be left.
        farm._world.tools("mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/lock")
        farm._world.tools(_MUNGED)
        self.start_controller()
        with (farm.root / "hosts").open("r+") as hosts:
            text = f"{hosts.read()}{DESK_ADDRESS} desk\n"
        write_in_place(farm.root / "hosts", text)
        for host in farm.hosts:
            host.power_on()
        for host in farm.hosts:
            host.await_boot()
            self.start_node(host)
        self.await_idle()

    def _write_configuration(self, cores: int, max_array: int) -> None:
        nodes = "\n".join(
            f"NodeName={host.name} NodeAddr={host.address} CPUs={cores} State=UNKNOWN"
            for host in self.farm.hosts
        )
        text = _CONFIGURATION.format(
            desk=DESK_ADDRESS, folder=self._folder, nodes=nodes, max_array=max_array
        )
        for folder in (self._folder, *(self.farm.root / host.name for host in self.farm.hosts)):
            (folder / "slurm.conf").write_text(text)
            # Without a line in it Slurm warns at each start.
            (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainCores=no\n")

    @property
    def environment(self) -> dict[str, str]:
        """What commands of Slurm, and those of sshrender, need at the desk."""
        return {"SLURM_CONF": str(self._folder / "slurm.conf")}

    def __call__(self, *words: str) -> str:
        """Run a command of Slurm at the desk; return what it prints."""
        done = self.farm.run(list(words), env=self.environment, timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def start_controller(self) -> None:
        """Start slurmctld if it does not run."""
        if not self.farm.processes("slurmctld"):
            self("slurmctld")

    def kill_controller(self) -> None:
        """Kill slurmctld, which saves nothing."""
        for pid in self.farm.processes("slurmctld"):
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: not self.farm.processes("slurmctld"), "slurmctld lives on")
        (self._folder / "slurmctld.pid").unlink(missing_ok=True)

    def start_node(self, host: Host) -> None:
        """Start slurmd on a host that has booted."""
        host.exec("bash", "-c", _MUNGED, check=True)
        host.exec("bash", "-c", _SLURMD, check=True)

    def await_idle(self) -> None:
        """Wait until every node is idle."""
        count = len(self.farm.hosts)
        self.until(lambda: self.states().count("idle") == count, "the nodes do not become idle")

    def states(self) -> list[str]:
        """Return the states of the nodes; none while the controller does not answer."""
        done = self.farm.run(
            ["sinfo", "-hN", "-p", "render", "-o", "%t"], env=self.environment, timeout=60
        )
        return done.stdout.split()

    def jobs(self, *states: str) -> list[str]:
        """Return the elements of arrays that Slurm lists in these states, or in any."""
        rows = [row.split() for row in self("squeue", "-hr", "-o", "%i %T").splitlines()]
        return [each for each, state in rows if not states or state in states]

    def node_of(self, job: str) -> Host:
        """Return the node on which an element runs."""
        return self.farm[self("squeue", "-hr", "-j", job, "-o", "%N")]

    def holders(self) -> list[str]:
        """Return the nodes on which holders or runners of sshrender live."""
        script = r"grep -lsz '[s]shrender-\(holder\|runner\)' /proc/[0-9]*/cmdline"
        return [
            host.name
            for host in self.farm.hosts
            if host.is_on() and host.exec("sh", "-c", script).stdout.strip()
        ]

    def left(self) -> list[str]:
        """Return what is left of sshrender in the queue and on the nodes: jobs, processes, files."""
        found = [f"job {each}" for each in self.jobs()]
        found += [f"processes on {each}" for each in self.holders()]
        # In memory, and on the disk: what a host has written lies in the upper folder of its overlay.
        for host in self.farm.hosts:
            script = "find /tmp /dev/shm /run -xdev -iname '*sshrender*' 2> /dev/null"
            found += [f"{host.name}: {each}" for each in host.exec("sh", "-c", script).stdout.split()]
        script = f"find {self.farm._world.disks}/*/upper -iname '*sshrender*'"
        found += self.farm.run(["sh", "-c", script], timeout=60).stdout.split()
        return found

    def require_empty(self) -> None:
        """Assert that soon nothing is left."""
        left: list[str] = []

        def is_empty() -> bool:
            left[:] = self.left()
            return not left

        self.until(is_empty, left)

    def until(
        self, holds: Callable[[], object], what: Sequence[str] | str, seconds: float = 3 * PATIENCE
    ) -> None:
        """Wait until something holds; ``what`` is said if it never does."""
        # A pause, as a look at a journal reads all of it.
        wait_until(holds, seconds, lambda: (what, self.log()), pause=0.3)

    def log(self) -> str:
        """Return the ends of all logs, and the queue."""
        files = [self._folder / "slurmctld.log"]
        files += [self.farm.root / host.name / "slurmd.log" for host in self.farm.hosts]
        texts = [f"{each}:\n{each.read_text()[-2000:]}" for each in files if each.exists()]
        queue = self.farm.run(["squeue", "-r"], env=self.environment, timeout=60)
        return "\n".join([*texts, queue.stdout])
