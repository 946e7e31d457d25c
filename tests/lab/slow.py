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
import os, re, subprocess, sys, time
if "--version" in sys.argv:
    os.execv("/usr/bin/gs", ["gs"] + sys.argv[1:])
gs = subprocess.Popen(["/usr/bin/gs"] + sys.argv[1:], stdin=subprocess.PIPE, close_fds=False)
works = {works}
gate = {gate}
for line in sys.stdin.buffer:
    page = re.match(rb"\\{ (\\d+) \\d+ dopdfpages", line)
    if page:
        while gate and int(page.group(1)) > {last} and not os.path.exists(gate):
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

    ``gate``: the path of a file; no page after ``last`` is rendered before it is there.
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

    For a test that has to do something in the middle of a job, however long that takes.
    """
    for host in hosts:
        host.install("/usr/local/bin/gs", script(seconds, None, last, gate))


GATE = "/var/tmp/go"
"""On a host's own disk, as not every host sees a shared folder."""


LEFT = ("refused", "lost")
"""States of a host that gets no more pages."""


@contextmanager
def gated(farm: Farm, **states: str) -> Iterator[None]:
    """While a command runs, keep ``GATE`` closed on the hosts until each has been in this state.

    "sent" is the state of a host to which a page was sent, "gone" that of one refused or lost. For a
    test of what each host contributes, or of its last state: however late it is met, the job lasts until
    then. Hosts have programs of ``open_gate_after``.
    """
    for host in farm.hosts:
        host.exec("rm", "-f", GATE, check=True)
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
            for host in farm.hosts:
                if host.is_on():
                    host.exec("touch", GATE)

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _entries(farm: Farm) -> list[dict[str, Any]]:
    return [entry for path in farm.san.glob("*/journal.jsonl") for entry in lines_of(path)]
