"""A Ghostscript that takes its time: the real one, behind a pipe that holds each page back."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.entries import lines_of
from tests.lab.farm import Farm
from tests.lab.host import Host
from tests.stretch import wait_until

_PROXY = """#!/usr/bin/python3
import glob, os, re, subprocess, sys, time
if "--version" in sys.argv:
    os.execv("/usr/bin/gs", ["gs"] + sys.argv[1:])
gs = subprocess.Popen(["/usr/bin/gs"] + sys.argv[1:], stdin=subprocess.PIPE, close_fds=False)
works = {works}
gate = {gate}
def is_shut(page):
    opened = [int(name[len(gate) + 1:]) for name in glob.glob(gate + ".*")]
    return page > max(opened, default={last}) and not os.path.exists(gate)
for line in sys.stdin.buffer:
    page = re.match(rb"\\{ (\\d+) \\d+ dopdfpages", line)
    if page:
        while gate and is_shut(int(page.group(1))):
            time.sleep(0.05)
        time.sleep({seconds} * works.get(int(page.group(1)), 1))
    gs.stdin.write(line)
    gs.stdin.flush()
gs.stdin.close()
sys.exit(gs.wait())
"""


FOR_EVER = 1e7
"""By how much a page takes longer that hangs: unlike one that is drawn without end, it takes no core."""


def script(
    seconds: float, works: Mapping[int, float] | None = None, last: int = 0, gate: str = ""
) -> str:
    """Return a program to be called gs, under which each page takes so long, or its share of that.

    ``gate``: the path of a file; no page after ``last`` is rendered before it is there. While
    there is only ``gate.7``, those after 7 wait.
    """
    filled = _PROXY.replace("{seconds}", f"{seconds:g}").replace("{works}", repr(dict(works or {})))
    return filled.replace("{last}", str(last)).replace("{gate}", repr(gate))


def slow_down(host: Host, seconds: float, works: Mapping[int, float] | None = None) -> None:
    """From now on each page takes its renderers on this host at least so long, and no more of a core.

    ``works``: by how much some pages take longer, or shorter.
    """
    host.install("/usr/local/bin/gs", script(seconds, works))


def pace(hosts: Iterable[Host], seconds: float) -> None:
    """Let each page take so long on all of these hosts.

    For a test that does something while a job runs: the job lasts, whatever the machine's speed, and
    takes no core meanwhile, unlike one of large pages.
    """
    for host in hosts:
        slow_down(host, seconds)


def open_gate_after(hosts: Iterable[Host], seconds: float, last: int, gate: str) -> None:
    """Let each page take so long on these hosts, and those after ``last`` wait for the file ``gate``.

    Or for one such as ``gate.7``, see ``script``.

    For a test that has to do something in the middle of a job, however long that takes.
    """
    for host in hosts:
        host.install("/usr/local/bin/gs", script(seconds, None, last, gate))


GATE = "/var/tmp/go"
"""On a host's own disk, as not every host sees a shared folder."""


def go_on(farm: Farm, last: int | None = None) -> None:
    """Open ``GATE`` on all hosts that are on; for the pages up to ``last`` only, if that is given."""
    _on_each(farm, "touch", GATE if last is None else f"{GATE}.{last}")


def _on_each(farm: Farm, *words: str) -> None:
    for host in farm.hosts:
        if host.is_on():
            host.exec(*words, check=True)


EACH_HAS_THREE = ("--pin", "5-7=node1", "--pin", "8-10=node2")
"""However late a host is met, these pages wait for it."""


LEFT = ("refused", "lost")
"""States of a host that gets no more pages."""


@contextmanager
def gated(farm: Farm, **states: str) -> Iterator[None]:
    """While a command runs, keep ``GATE`` closed on the hosts until each has been in this state.

    "sent" is the state of a host to which a page was sent, "gone" that of one refused or lost. For a
    test of what each host contributes, or of its last state: however late it is met, the job lasts until
    then. Hosts have programs of ``open_gate_after``. How many pages a host renders once the gate is open
    depends on the machine: pin some to it where that matters.
    """
    _on_each(farm, "rm", "-f", GATE)
    before = len(_entries(farm))
    ended = threading.Event()

    def are_reached() -> bool:
        entries = _entries(farm)[before:]
        reached = {(each["host"], each["state"]) for each in entries if each["type"] == "host_state"}
        sent = {(each["host"], "sent") for each in entries if each["type"] == "page_sent"}
        gone = {(host, "gone") for host, state in reached if state in LEFT}
        return states.items() <= reached | sent | gone

    def attend() -> None:
        try:
            wait_until(lambda: ended.is_set() or are_reached(), 120, str(states))
        finally:
            go_on(farm)

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _entries(farm: Farm) -> list[dict[str, Any]]:
    return [entry for path in farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]
