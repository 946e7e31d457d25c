"""A Ghostscript that takes its time: the real one, behind a pipe that holds each page back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.lab.host import Host

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
