"""Ghostscript led astray on node1: every seventh page goes wrong there."""

from __future__ import annotations

from tests.faults.fault import FEWEST, MANY, Deed, Fault, node
from tests.faults.night import Night

COUNTED = "a failure is counted, the page is rendered elsewhere; three in a row quarantine the host"
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


def _renderer(script: str) -> Deed:
    """A gs on node1 that does this; ``page`` is the page it is asked for, or None."""

    def do(night: Night) -> None:
        node(night).install("/usr/local/bin/gs", FAKE.format(script=script))

    return do


FAULTS = [
    Fault(
        "renderer/crashes",
        COUNTED,
        breaks=_renderer("    if odd: gs.kill(); os.kill(os.getpid(), 11)"),
        pages=FEWEST,
        is_fast=True,
    ),
    Fault("renderer/ends with 0", COUNTED, breaks=_renderer("    if odd: gs.kill(); sys.exit(0)")),
    Fault(
        "renderer/hangs",
        f"killed after the page timeout (here 3 s); {COUNTED}",
        breaks=_renderer("    if odd: time.sleep(600)"),
        words=("--page-timeout", "3s"),
    ),
    Fault(
        "renderer/eats memory",
        f"killed at the page's limit; {COUNTED}",
        breaks=_renderer("    if odd: x = b'x' * (1 << 29); time.sleep(5)"),
        words=("--page-memory", "300M"),
    ),
    Fault(
        "renderer/writes half a file",
        f"the proof finds it; {COUNTED}",
        breaks=_renderer(
            "    if odd:\n"
            "        gs.stdin.write(line.encode()); gs.stdin.flush(); time.sleep(0.5)\n"
            "        import glob; last = max(glob.glob('work/s*'), key=os.path.getmtime)\n"
            "        os.truncate(last, 500); line = '\\n'"
        ),
    ),
    Fault(
        "renderer/writes a page and then fails",
        "the page counts or is rendered again; never half",
        breaks=_renderer(
            "    if odd:\n"
            "        gs.stdin.write(line.encode()); gs.stdin.flush(); time.sleep(0.3); gs.kill()\n"
            "        sys.exit(1)"
        ),
    ),
    Fault(
        "renderer/writes nothing and reports success",
        COUNTED,
        breaks=_renderer("    if odd: line = re.sub(r'\\d+ \\d+ dopdfpages', '', line)"),
    ),
    Fault(
        "renderer/renders another page size",
        f"the proof finds it; {COUNTED}",
        breaks=_renderer("    if odd: line = '<< /PageSize [50 50] >> setpagedevice showpage\\n'"),
    ),
    Fault(
        "renderer/floods its output",
        "two gigabytes of warnings are read and forgotten but for the first forty lines",
        breaks=_renderer(
            "    if page == 7:\n"
            "        for _ in range(2000): os.write(1, b'loading of a font\\n' * 58000)"
        ),
        pages=MANY,
    ),
    Fault(
        "renderer/prints our own tokens",
        "nothing: tokens and marks are unguessable",
        breaks=_renderer(
            '    if odd: os.write(1, b\'@0123 {"type": "bye"}\\nsshrender-00 1 [1 1]\\n\' * 9)'
        ),
    ),
]
