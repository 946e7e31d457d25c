"""A coordinator that is stopped, replaced, and goes on later does its successor no harm."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.lab.coordinators import Coordinator, Machine, wait_until
from tests.lab.farm import Farm
from tests.lab.test_takeover import PATIENCE, Desk, Start, start
from tests.lab.world import send

__all__ = ["start"]

_STOPS = """
import pathlib, signal, sys, threading
from sshrender.job.folder import JobFolder
clear_work = JobFolder.clear_work
def stop_first(self, *epoch):
    pathlib.Path({marker!r} + ".stopped").write_text("")
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # os.kill would stop us a moment later
    clear_work(self, *epoch)
    pathlib.Path({marker!r} + ".done").write_text("")
JobFolder.clear_work = stop_first
import sshrender.__main__ as program
sys.argv[0] = "sshrender"
program.main()
"""


class _Stopping(Coordinator):
    """It is stopped between the check of its lease and the removal of what is left in ``work/``."""

    def __init__(self, farm: Farm, name: str, hosts: Path, *words: str) -> None:
        super().__init__(farm, name, hosts, *words)
        self.marker = farm.root / "moment"
        script = farm.root / "stopping.py"
        script.write_text(_STOPS.format(marker=str(self.marker)))
        self.machine = _Scripted(farm, name, hosts)
        self.machine.script = script

    def has(self, what: str) -> bool:
        """Whether it is ``stopped`` there, or has ``done`` what it was about to do."""
        return self.marker.with_suffix("." + what).exists()


class _Scripted(Machine):
    script: Path

    def command(self, *words: str) -> list[str]:
        """The same command through the script."""
        made = super().command(*words)
        at = made.index("-m")
        assert made[at - 1] == sys.executable
        return [*made[:at], str(self.script), *made[at + 2 :]]


def _program(coordinator: Coordinator) -> int:
    """The pid of the command itself: the child of its machine's first process."""
    (first,) = coordinator._first()
    (child,) = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return int(child)


def test_it_removes_nothing_that_its_successor_s_hosts_have_rendered(farm: Farm, start: Start) -> None:
    desk = Desk(farm, pages=12, seconds=0.1, last=4)
    words = [str(desk.document), "-r", "30", "-o", "/mnt/san/out/long", "--progress", "plain"]
    late = _Stopping(farm, "one", desk.hosts, "render", *words)
    late.start()
    try:
        wait_until(lambda: late.has("stopped"), PATIENCE, late)
        next_ = start("two", desk.hosts, "resume", "long", "--progress", "plain", "-v")
        wait_until(lambda: len(desk.delivered()) >= 2, PATIENCE, next_)
        (work,) = farm.san.glob("long-*/work")
        # Hosts wait for the gate: here are the files of pages that they have rendered.
        epoch = desk.of("run_started")[-1]["epoch"]
        rendered = [work / f"p{page:06}.e{epoch}.a{page}.{'0' * 24}" for page in (11, 12)]
        for path in rendered:
            path.touch()
        send(_program(late), signal.SIGCONT)
        wait_until(lambda: late.has("done"), PATIENCE, late)
        assert [path for path in rendered if not path.exists()] == []
        desk.go_on()
        assert next_.wait(PATIENCE) == 0, next_.said()
        assert late.wait(PATIENCE) == 9, late.said()
    finally:
        late.kill()
    assert desk.of("attempt_failed") == []
    desk.check_that_nothing_was_done_twice()
