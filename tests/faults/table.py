"""Writes docs/faults.md: the rows of the matrix, with what a run of them measured.

Argument: the JUnit file of that run.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.rows import FAULTS

HEAD = """# What happens when things break

Each fault below is done, by name, to a job over real hosts (`tests/faults/rows/`): name spaces on one
machine, with an sshd, a network stack, a SAN and a load of their own. After each one holds:

- every page is delivered, pixel for pixel what plain Ghostscript renders, or reported failed with its
  history;
- the exit code is right, and the run ended by itself;
- no process of ours is left on any host that can be asked, no file but pages in the output, none of
  them half;
- the same command, given again, completes the job, and renders no delivered page again.

*Moves on* is the longest time without a delivered page from the fault to the end of the job (or, where
the run died, in the run that resumed it), in seconds, in one run of `make faults` on two cores, which
wrote this file. The jobs have 80 pages of 50 ms, some 500; two hosts, one slot each; faults are done to
one of them, or to this machine, while pages run.

| fault | what happens | moves on | lost |
|---|---|--:|---|

"""

TAIL = """
Beside these rows, `make faults` renders about 190 odd documents, 300 that are damaged at random and 20
that attack, and holds each to what plain Ghostscript makes of it: no page fewer, none that differs, an
end in time, no file elsewhere (`tests/faults/test_bad_input.py`). It gives documents, folders, hosts
and users the names that shells, PostScript, JSON and terminals trip over (`test_names.py`), feeds
inventory, settings, journal, lease, job and both ends of the wire with rubbish (`test_fuzz.py`), and
lets hosts lie, flood and talk nonsense (`test_hostile_host.py`). `make test` runs a part of each.
"""


def main(junit: str) -> None:
    """Print the document. Raises SystemExit where a row was not run, or failed."""
    measured = _measured(Path(junit))
    if absent := [fault.name for fault in FAULTS if fault.name not in measured]:
        sys.exit("rows that were not run, or failed: " + ", ".join(absent))
    lines = [_line(fault, measured[fault.name]) for fault in FAULTS]
    print(HEAD.rstrip() + "\n" + "\n".join(lines) + "\n" + TAIL, end="")


def _measured(junit: Path) -> dict[str, str]:
    """Seconds of each row that passed."""
    found = {}
    for case in ET.parse(junit).iter("testcase"):
        name = case.get("name", "").partition("[")[2].removesuffix("]")
        if case.find("failure") is not None or case.find("error") is not None:
            continue
        for each in case.iter("property"):
            if each.get("name") == "moved_on":
                found[name] = each.get("value", "")
    return found


def _line(fault: Fault, seconds: str) -> str:
    place, _, what = fault.name.partition("/")
    then = fault.then[:1].upper() + fault.then[1:]
    return f"| {place}: {what} | {then} | {float(seconds):.1f} | nothing |"


if __name__ == "__main__":
    main(*sys.argv[1:])
