"""A Ghostscript that takes its time: the real one, behind a pipe that holds each page back."""

from __future__ import annotations

from tests.lab.host import Host

_PROXY = """#!/usr/bin/python3
import os, subprocess, sys, time
if "--version" in sys.argv:
    os.execv("/usr/bin/gs", ["gs"] + sys.argv[1:])
gs = subprocess.Popen(["/usr/bin/gs"] + sys.argv[1:], stdin=subprocess.PIPE)
for line in sys.stdin.buffer:
    if b"dopdfpages" in line and b"SSHRENDERcount" not in line and line.startswith(b"{"):
        time.sleep({seconds})
    gs.stdin.write(line)
    gs.stdin.flush()
"""


def slow_down(host: Host, seconds: float) -> None:
    """From now on each page takes its renderers on this host at least so long, and no more of a core."""
    host.install("/usr/local/bin/gs", _PROXY.replace("{seconds}", f"{seconds:g}"))
