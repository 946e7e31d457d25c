"""Measures several documents at several settings, and writes the table of docs/figures.md.

    python -m benchmarks.documents [FILE.pdf…] [--pages 60] [--rounds 1] [--quick] [--write]

Each case is a run of ``benchmarks.compare``, all ways in turn, so it needs what that needs: root and
the hosts of tests/lab. Without files: the Debian Reference, and a document of large images
(benchmarks/images.py). With files both are measured as well.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import images
from benchmarks.compare import DEBIAN_REFERENCE
from benchmarks.measure import BenchmarkError

SETTINGS: Sequence[tuple[int, str]] = ((150, "none"), (150, "auto"), (300, "none"))
"""Resolution and ``--antialias``."""

WAYS = {
    "plain": "plain Ghostscript",
    "parallel-chunk": "GNU parallel, 20 pages in each job",
    "mutool-draw": "`mutool draw`",
    "pdftoppm": "`pdftoppm -png`",
    "sshrender": "**sshrender**",
    "sshrender-zlib": "sshrender, hosts without `libisal2`",
    "sshrender-bare": "sshrender `--no-overview`",
    "sshrender-ghostscript": "sshrender `--encoder ghostscript`",
    "sshrender-mutool": "sshrender `--recipe mutool`",
}
"""The ways of the table, in its order."""

FURTHER = ("plain", "mutool-draw", "sshrender", "sshrender-zlib", "sshrender-mutool")
"""The ways that are measured at all settings; the others at the first one only."""

EVERY = 10
"""One of so many pages is compared with Ghostscript's."""

IMAGE_PAGES = 12
"""Pages of large images that are measured: `pdftoppm` takes 2.5 s of CPU for each at 150 dpi."""

FIGURES = Path(__file__).parents[1] / "docs" / "figures.md"
_SECTION = re.compile(r"(?<=<!-- measured: documents -->\n).*?(?=<!-- end of documents -->)", re.DOTALL)


def main() -> int:
    """Measure all cases; 1 when pages differ from Ghostscript's, 2 when nothing could be measured."""
    given = _options()
    cases = []
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-documents-") as folder:
            scans = Path(folder) / "large-images.pdf"
            images.make(scans, min(given.pages, IMAGE_PAGES))
            for document in [DEBIAN_REFERENCE, *given.documents, scans]:
                for setting in SETTINGS[:1] if given.quick else SETTINGS:
                    ways = given.only or (WAYS if setting == SETTINGS[0] else FURTHER)
                    cases.append(_case(document, setting, ways, given))
    except BenchmarkError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(cases, indent=1) + "\n" if given.json else table(cases)
    print(text, end="")
    if given.write:
        found = FIGURES.read_text(encoding="utf-8")
        FIGURES.write_text(_SECTION.sub(lambda _: table(cases), found, count=1), encoding="utf-8")
    return 1 if any(_differs(case) for case in cases) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.documents", formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("documents", nargs="*", type=Path, metavar="FILE", help="further documents")
    parser.add_argument("--pages", type=int, default=60, help="of each document, at most (60)")
    parser.add_argument("--rounds", type=int, default=1, help="of which the best counts (1)")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--quick", action="store_true", help="at 150 dpi without smoothing only")
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md, too")
    parser.add_argument("--json", action="store_true", help="print everything instead of the table")
    return parser.parse_args()


def _case(
    document: Path, setting: tuple[int, str], ways: Collection[str], given: argparse.Namespace
) -> dict[str, Any]:
    """Measure one case. Raises BenchmarkError."""
    dpi, antialias = setting
    ways = [way for way in ways if way != "parallel-chunk" or _has_parallel()]
    command = [sys.executable, "-m", "benchmarks.compare", "--json", "--document", str(document)]
    command += ["--dpi", str(dpi), "--antialias", antialias, "--pages", str(given.pages)]
    command += ["--rounds", str(given.rounds), "--every", str(EVERY), "--only", *ways]
    print(*command[2:], file=sys.stderr)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode not in (0, 1):
        raise BenchmarkError(f"{document.name} at {dpi} dpi was not measured")
    found: dict[str, Any] = json.loads(run.stdout)
    return {"document": document.stem, **found}


def _has_parallel() -> bool:
    try:
        said = subprocess.run(["parallel", "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return False
    return said.stdout.startswith("GNU parallel")


def _differs(case: Mapping[str, Any]) -> bool:
    counts = {way["identical_pages"] for way in case["ways"]}
    return not counts <= {None, case["facts"]["pages"]}


def table(cases: Sequence[Mapping[str, Any]]) -> str:
    """Return the table: a row for each case and way; wall and CPU time as multiples of plain's."""
    lines = [
        "| document | setting | way | wall | CPU | first page | after the last |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for case in cases:
        facts = case["facts"]
        smooth = "smoothed" if facts["antialias"] == "auto" else "not smoothed"
        names = [f"{case['document']}, {facts['pages']} pages", f"{facts['dpi']} dpi, {smooth}"]
        for way in case["ways"]:
            cells = [*names, WAYS[way["way"]], *_numbers(way)]
            lines.append("| " + " | ".join(cells) + " |")
            names = ["", ""]  # only in the first row of a case
    return "\n".join(lines) + "\n"


def _numbers(way: Mapping[str, Any]) -> list[str]:
    wall, spent = f"{way['wall_seconds']:.2f} s", f"{way['total_seconds']:.2f} s"
    if way["way"] != "plain" and way["ratio_to_plain"] is not None:
        wall, spent = f"{way['ratio_to_plain']:.2f} ×", f"{way['total_to_plain']:.2f} ×"
    times = [way["first_page_seconds"], way["end_seconds"]]
    return [wall, spent, *("–" if each is None else f"{each:.2f} s" for each in times)]


if __name__ == "__main__":
    sys.exit(main())
