"""Compares pilots of a batch system with hosts that are reached by ssh: the same job over four of each.

    python -m benchmarks.pilots [--rounds 3] [--dpi 150] [--pace SECONDS] [--json] [PDF]

Needs root and Slurm (tests/batch/slurmfarm.py). The hosts are those of tests/lab, one core each; the
ways take turns, so that a noisy minute does not affect one way alone. The time of a way is that of its
best run, from its first pilot's start to the end: time in the queue is not counted. With ``--pace``
pages wait instead of computing, which a busy machine affects less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.batch.pooljob import PoolJob
from tests.batch.slurmfarm import SlurmFarm
from tests.lab import Farm
from tests.lab.inventory import table
from tests.lab.slow import pace

from benchmarks.measure import BenchmarkError

DOCUMENT = Path("/usr/share/debian-reference/debian-reference.en.pdf")
HOSTS = 4

WAYS: Mapping[str, tuple[int, Mapping[str, object]]] = {
    "ssh": (4, {}),
    "slurm, pipe": (0, {"pilots": 4, "carrier": "pipe"}),
    "slurm, files": (0, {"pilots": 4, "carrier": "files"}),
    "ssh and slurm": (2, {"pilots": 2}),
}
"""How many hosts are reached by ssh, and the keys of the pool."""

LIMIT = 1.10
"""What a job over pilots may take of the time over ssh."""


def main() -> int:
    """Measure and print; 1 where a way takes longer than the limit."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="sshrender-benchmark-") as scratch:
        Path(scratch).chmod(0o755)
        with Farm(Path(scratch) / "farm", HOSTS, cpus=1, start=False) as farm:
            slurm = SlurmFarm(farm)
            if arguments.pace:
                pace(farm.hosts, arguments.pace)
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way in WAYS:
                    seconds[way].append(_run(slurm, way, arguments))
                    print(f"{way}: {seconds[way][-1]:.2f} s", file=sys.stderr)
    best = {way: min(each) for way, each in seconds.items()}
    ratios = {way: round(each / best["ssh"], 3) for way, each in best.items()}
    if arguments.json:
        print(json.dumps({"seconds": seconds, "ratios": ratios}))
    else:
        for way, ratio in ratios.items():
            print(f"{way:16} {best[way]:8.2f} s {ratio:8.2f}")
    return 0 if max(ratios.values()) <= LIMIT else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pilots", description=__doc__)
    parser.add_argument("document", nargs="?", type=Path, default=DOCUMENT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dpi", type=int, default=150)
    parser.add_argument("--pace", type=float, help="seconds that each page takes at least, asleep")
    parser.add_argument("--json", action="store_true")
    return parser


def _run(slurm: SlurmFarm, way: str, arguments: argparse.Namespace) -> float:
    farm = slurm.farm
    inventory = _inventory(farm, *WAYS[way])
    command = [sys.executable, "-m", "sshrender", "render", str(arguments.document)]
    command += ["--hosts", str(inventory), "--dpi", str(arguments.dpi), "-o", "/mnt/san/out"]
    os.sync()
    done = farm.run([*command, "--quiet", "--no-overview"], env=slurm.environment, timeout=900)
    if done.returncode:
        raise BenchmarkError(f"{way} ended with {done.returncode}: {done.stderr[-2000:]}")
    seconds = _seconds(PoolJob(farm.san).journal())
    slurm.require_empty()
    for left in farm.san.iterdir():
        shutil.rmtree(left)
    return seconds


def _inventory(farm: Farm, hosts: int, pool: Mapping[str, object]) -> Path:
    """Write an inventory of so many hosts, and of the pool if it has keys."""
    path = farm.write_inventory()
    first, *entries = path.read_text().split("[[hosts]]")
    text = "[[hosts]]".join([first, *entries[:hosts]])
    if pool:
        fields = {"name": "cluster", "engine": "slurm", "walltime": "1h", **pool}
        text += table("[[pools]]", fields)
    path.write_text(text)
    return path


def _seconds(entries: Sequence[Mapping[str, Any]]) -> float:
    """Return the time from the first pilot's start, or else the run's, to the end of the run."""
    states = [each for each in entries if each["type"] == "host_state"]
    pilots = [each["time"] for each in states if each["host"].startswith("slurm:")]
    runs = [each["time"] for each in entries if each["type"] == "run_started"]
    ended = [each["time"] for each in entries if each["type"] == "run_ended"]
    began = min(pilots or runs)
    first, last = (datetime.fromisoformat(each) for each in (began, max(ended)))
    return (last - first).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
