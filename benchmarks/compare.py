"""Render one document in several ways and print a table: ``python -m benchmarks.compare``."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError
from tests.lab import Farm
from tests.lab.requirements import missing

from benchmarks import report
from benchmarks.measure import BenchmarkError, CpuGroup
from benchmarks.rounds import SLOW, run_rounds
from benchmarks.ways import DOCUMENT, WAYS, Setting
from sshrender import __version__

DEBIAN_REFERENCE = Path("/usr/share/debian-reference/debian-reference.en.pdf")
FOREIGN = ("SSHRENDER_", "PARALLEL", "PYTHONDONTWRITEBYTECODE")
"""Settings of the caller that would change what is measured: without bytecode on the disk, Python would
compile all modules anew, for 0.3 to 0.4 s of each run, as it never does where sshrender is installed."""


def main() -> int:
    """Measure and report; 1 when pages differ, 2 when nothing could be measured."""
    arguments = _parser().parse_args()
    try:
        pages = _check(arguments)
        found = _compare(arguments, pages)
    except BenchmarkError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(found, indent=1) if arguments.json else report.text(found))
    return 0 if report.is_sound(found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    add = parser.add_argument
    add("--document", type=Path, default=DEBIAN_REFERENCE, metavar="FILE", help="default: %(default)s")
    add("--hosts", type=_positive, default=2, metavar="N", help="SSH hosts (default: %(default)s)")
    add("--rounds", type=_positive, default=3, metavar="N", help="of which the best counts (default: 3)")
    add("--all-rounds", action="store_true", help=f"run {SLOW} in every round, not in the first only")
    add("--only", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    add("--dpi", type=_positive, default=150, metavar="N", help="resolution (default: %(default)s)")
    add("--pages", type=_positive, metavar="N", help="render the first N pages only")
    add("--antialias", choices=("none", "auto"), default="none", help="default: %(default)s")
    add("--every", type=_positive, default=1, metavar="N", help="compare one of N pages (default: all)")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    return parser


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is less than 1")
    return number


def _check(arguments: argparse.Namespace) -> int:
    """Return the document's number of pages. Raises BenchmarkError where something is missing."""
    if absent := missing():
        raise BenchmarkError("the hosts of tests/lab need: " + ", ".join(absent))
    if any(way.startswith("parallel") for way in arguments.only) and not _parallel_version():
        raise BenchmarkError("no GNU parallel on this machine: apt install parallel")
    document: Path = arguments.document
    if not document.is_file():
        hint = ": apt install debian-reference-en" if document == DEBIAN_REFERENCE else ""
        raise BenchmarkError(f"no document {document}{hint}")
    try:
        pages = len(PdfReader(document).pages)
    except PyPdfError as error:
        raise BenchmarkError(f"{document}: {error}") from error
    return min(pages, arguments.pages or pages)


def _compare(arguments: argparse.Namespace, pages: int) -> dict[str, Any]:
    """Build the lab, measure in it, and take it down."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    cores = len(os.sched_getaffinity(0))
    facts = _facts(arguments, pages, cores)
    with (
        # Before the lab, so that its hosts are in the group.
        contextlib.closing(CpuGroup()) as group,
        tempfile.TemporaryDirectory(prefix="sshrender-benchmark-") as scratch,
        Farm(_reachable(scratch), arguments.hosts, cpus=1) as farm,
    ):
        for host in farm.hosts:
            host.sshd_config(
                KexAlgorithms=None
            )  # as Debian configures it; the lab's tests choose a fast one
        shutil.copy(arguments.document, farm.san / DOCUMENT)
        (farm.san / DOCUMENT).chmod(0o644)
        setting = Setting(farm, pages, arguments.dpi, cores, arguments.antialias, arguments.every, group)
        results = run_rounds(setting, arguments.only, arguments.rounds, all_rounds=arguments.all_rounds)
    return report.findings(results, facts)


def _reachable(scratch: str) -> Path:
    """Make the scratch folder, open to the users that log in on the hosts."""
    folder = Path(scratch)
    folder.chmod(0o755)
    return folder


def _facts(arguments: argparse.Namespace, pages: int, cores: int) -> dict[str, Any]:
    """Return what a reader needs in order to compare this table with another."""
    document: Path = arguments.document
    return {
        "cores": cores,
        "hosts": arguments.hosts,
        "rounds": arguments.rounds,
        "load_average_before": f"{os.getloadavg()[0]:.2f}",
        "sshrender": __version__,
        "python": platform.python_version(),
        "ghostscript": _said("gs", "--version"),
        "gnu_parallel": _parallel_version() or "not installed",
        "document": f"{document.name}, {document.stat().st_size} bytes",
        "pages": pages,
        "dpi": arguments.dpi,
        "antialias": arguments.antialias,
    }


def _parallel_version() -> str:
    """Return its version; empty where there is no GNU parallel, or another program of that name."""
    first, _, _ = _said("parallel", "--version").partition("\n")
    return first.removeprefix("GNU parallel ") if first.startswith("GNU parallel ") else ""


def _said(*argv: str) -> str:
    """Return what a program prints; an empty text where it is not installed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
