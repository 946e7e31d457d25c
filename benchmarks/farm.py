"""Measures what the scheduler costs on a large farm, in simulated time.

    python -m benchmarks.farm --slots 8000 [--hosts 250] [--pages 400000] [--seconds 1.0] [--json]
    python -m benchmarks.farm --table [--write]

Hosts are simulated (benchmarks/simulatedfarm.py), the scheduler is the real one. The CPU time that it
takes counts as simulated time: a coordinator that is too slow leaves slots without work. ``--table``
measures farms from 128 slots to 10,000 hosts; ``--write`` puts the result into docs/figures.md.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.simulatedfarm import SimulatedFarm
from sshrender.process import gctuning

SLOTS_PER_HOST = 32

PAGES_PER_SLOT = 50
"""A job much shorter than that measures its start and its end."""

TABLE: Sequence[Mapping[str, float]] = (
    {"slots": 128, "hosts": 4, "pages": 20_000, "seconds": 1},
    {"slots": 1_024, "hosts": 32, "pages": 51_200, "seconds": 1},
    {"slots": 8_000, "hosts": 250, "pages": 400_000, "seconds": 1},
    {"slots": 8_000, "hosts": 1_000, "pages": 100_000, "seconds": 1},
    {"slots": 40_000, "hosts": 10_000, "pages": 1_000_000, "seconds": 1},
    {"slots": 40_000, "hosts": 10_000, "pages": 200_000, "seconds": 10},
)
"""The farms of the table."""

FIGURES = Path(__file__).parents[1] / "docs" / "figures.md"

_SECTION = re.compile(r"(?<=<!-- measured: farm -->\n).*?(?=<!-- end of farm -->)", re.DOTALL)


def main() -> None:
    """Measure one farm, or all of the table."""
    options = _options()
    if options.table:
        table = _table([_measured_apart(farm) for farm in TABLE])
        print(table, end="")
        if options.write:
            FIGURES.write_text(
                _SECTION.sub(lambda _: table, FIGURES.read_text(encoding="utf-8"), count=1)
            )
        return
    result = _measure(options)
    if options.json:
        print(json.dumps(result))
    else:
        print(_table([result]), end="")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slots", type=int, default=1024, help="slots of all hosts together (1024)")
    parser.add_argument("--hosts", type=int, help="number of hosts (one for 32 slots)")
    parser.add_argument("--pages", type=int, help="number of pages (50 for each slot)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds that a page takes (1.0)")
    parser.add_argument(
        "--one-at-a-time", action="store_true", help="run the scheduler after each single message"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--table", action="store_true", help="measure several farms; print a table")
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md, too")
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    hosts = options.hosts or max(1, round(options.slots / SLOTS_PER_HOST))
    pages = options.pages or PAGES_PER_SLOT * options.slots
    gctuning.begin()
    farm = SimulatedFarm(options.slots, hosts, pages, options.seconds, options.one_at_a_time)
    farm.run()
    return {
        "slots": options.slots,
        "hosts": hosts,
        "pages": pages,
        "seconds": options.seconds,
        "busy": round(farm.busy, 4),
        "scheduler_ms_per_page": round(1000 * farm.cpu_seconds / pages, 4),
        "core_share": round(farm.cpu_seconds / farm.now, 4),
        "simulated_seconds": round(farm.now, 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _measured_apart(farm: Mapping[str, float]) -> dict[str, Any]:
    """Measure in a process of its own: memory that an earlier farm took would count, too."""
    command = [sys.executable, "-m", "benchmarks.farm", "--json"]
    for name, value in farm.items():
        command += [f"--{name}", str(value)]
    print(*command[2:], file=sys.stderr)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(run.stdout, end="", file=sys.stderr)
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| hosts | slots | pages | each takes | slots busy | scheduler a page | of a core | memory |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results:
        lines.append(
            f"| {each['hosts']:,} | {each['slots']:,} | {each['pages']:,} | {each['seconds']:g} s"
            f" | {each['busy']:.1%}"
            f" | {each['scheduler_ms_per_page']:.3f} ms | {each['core_share']:.0%}"
            f" | {each['memory_mb']:.0f} MB |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
