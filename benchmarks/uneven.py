"""Measures what uneven hosts cost: four hosts, one of them ten times slower, with and without hedging.

    python -m benchmarks.uneven [--pages 261] [--seconds 0.4] [--rounds 2]

Each host's Ghostscript waits until a page has taken that long (tests/lab/slow.py), so that this
machine's cores do not matter. The ideal time is all work divided by all speed. The second
document, of a third as many pages, has some that take sixteen times as long as others, and it is not
known which before they are rendered.
Prints each run's time as a ratio to the ideal.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests import pdfs
from tests.lab import Farm
from tests.lab.slow import slow_down

from benchmarks.measure import measure

SLOWER = 10
HOSTS = 4
LARGE = 16


def main() -> int:
    """Measure and print; 1 when a ratio is above what README says."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="sshrender-benchmark-") as scratch:
        Path(scratch).chmod(0o755)
        with Farm(Path(scratch) / "farm", HOSTS, cpus=1) as farm:
            return _compare(farm, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uneven", description=__doc__)
    parser.add_argument("--pages", type=int, default=261)
    parser.add_argument("--seconds", type=float, default=0.4, help="a page takes a fast host so long")
    parser.add_argument("--rounds", type=int, default=2, help="the best of which counts")
    return parser


def _compare(farm: Farm, arguments: argparse.Namespace) -> int:
    speed = (HOSTS - 1 + 1 / SLOWER) / arguments.seconds
    documents = {"even pages": [1.0] * arguments.pages, "uneven pages": _uneven(arguments.pages // 3)}
    ratios = {}
    for name, pages in documents.items():
        document = pdfs.write(farm.root / f"{name.split()[0]}.pdf", pdfs.numbered(len(pages)))
        ideal = sum(pages) / speed
        works = dict(enumerate(pages, 1))
        for number, host in enumerate(farm.hosts, 1):
            slow_down(host, arguments.seconds * (SLOWER if number == HOSTS else 1), works)
        for words in ((), ("--no-hedge",)):
            took = min(_took(farm, document, words) for _ in range(arguments.rounds))
            ratios[name, words] = took / ideal
            how = "without hedging" if words else "with hedging"
            print(
                f"{name}, {how}: {took:6.2f} s, {took / ideal:.2f} x the ideal {ideal:.2f} s", flush=True
            )
    return 0 if ratios["even pages", ()] <= 1.15 else 1


def _uneven(count: int) -> list[float]:
    rng = random.Random(2)
    return [rng.choice([0.2, 1, 1, 1, 1, 1, 1, LARGE]) for _ in range(count)]


def _took(farm: Farm, document: Path, words: tuple[str, ...]) -> float:
    """Return the seconds of a whole command, on an empty SAN."""
    for left in farm.san.iterdir():
        farm.run(["rm", "-rf", str(left)])
    inventory = farm.write_inventory()
    out = farm.root / f"out-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "sshrender", "render", str(document), "--hosts", str(inventory)]
    command += ["-o", str(out), "-r", "20", "--no-overview", "--progress", "none", *words]
    return measure(farm.popen, command, farm.root / "log").wall_seconds


if __name__ == "__main__":
    sys.exit(main())
