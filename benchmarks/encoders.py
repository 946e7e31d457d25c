"""Compares the encoder with Ghostscript's own PNG files: CPU seconds and sizes, in one interleaved run.

``python -m benchmarks.encoders DOCUMENT.pdf… [--pages N] [--dpi N] [--antialias N] [--rounds N]`` prints
one JSON object. Ratios are of CPU seconds, because a machine that also does other work changes wall
times more. ``program`` is all of ``sshrender render``, its start included, with the encoder that this
host has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare import FOREIGN
from sshrender.renderers.encoders import deflate, difference, isal
from sshrender.renderers.encoders.rows import RowEncoder
from sshrender.runner.rendering.pageencoder import PageEncoder
from sshrender.runner.rendering.rendererinterface import RasterFile


def _children(command: Sequence[str]) -> float:
    """Run a command; return the CPU seconds of it and of all its children."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _ghostscript(document: Path, device: str, folder: Path, given: argparse.Namespace) -> float:
    folder.mkdir()
    bits = [f"-dTextAlphaBits={given.antialias}", f"-dGraphicsAlphaBits={given.antialias}"]
    words = [
        "gs",
        "-q",
        "-dSAFER",
        "-dBATCH",
        "-dNOPAUSE",
        f"-sDEVICE={device}",
        f"-r{given.dpi}",
        *bits,
    ]
    words += [f"-dLastPage={given.pages}", f"-sOutputFile={folder}/page-%04d", str(document)]
    return _children(words)


def _program(document: Path, folder: Path, encoder: str, given: argparse.Namespace) -> float:
    folder.mkdir()
    smooth = "none" if given.antialias == 1 else str(given.antialias)
    words = ["--dpi", str(given.dpi), "--antialias", smooth, "--pages", f"1-{given.pages}"]
    words += ["--encoder", encoder, "--no-overview", "--progress", "none", "--san", str(folder)]
    program = [sys.executable, "-m", "sshrender", "render", str(document)]
    return _children([*program, *words, "-o", str(folder / "out")])


def _encoder(kind: str) -> PageEncoder:
    encoder = PageEncoder()
    stream = isal.load() if kind == "isal" else None
    way = difference.with_libgmp() or difference.with_integers()
    encoder._rows = RowEncoder(deflate.Deflater(stream), way)
    return encoder


def _encode(encoder: PageEncoder, folder: Path, target: Path, *, has_thumbnail: bool = False) -> float:
    """Encode copies of all rasters of a folder; return the CPU seconds."""
    target.mkdir()
    seconds = 0.0
    for path in sorted(folder.iterdir()):
        copy = target / "raster"
        shutil.copy(path, copy)
        began = time.thread_time()
        encoder.encode(RasterFile(str(copy), b"", has_thumbnail), str(target / path.name))
        seconds += time.thread_time() - began
    return seconds


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _round(document: Path, place: Path, given: argparse.Namespace) -> dict[str, float]:
    """Measure every way once; return ratios to plain Ghostscript."""
    plain = _ghostscript(document, "png16m", place / "plain", given)
    raw = _ghostscript(document, "ppmraw", place / "raw", given)
    found = {"seconds": plain, "raw": raw / plain}
    for kind in ("zlib", "isal") if isal.load() is not None else ("zlib",):
        spent = _encode(_encoder(kind), place / "raw", place / kind)
        found[kind] = (raw + spent) / plain
        found[f"{kind}_size"] = _size(place / kind) / _size(place / "plain")
        small = _encode(_encoder(kind), place / "raw", place / f"{kind}-small", has_thumbnail=True)
        found[f"{kind}_thumbnails"] = (small - spent) / (raw + spent)
    if given.program:
        for encoder in ("auto", "ghostscript"):
            found[f"program_{encoder}"] = _program(document, place / encoder, encoder, given) / plain
    return found


def main() -> None:
    """Measure, and print the median of each ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--pages", type=int, default=40)
    parser.add_argument("--dpi", type=int, default=150)
    parser.add_argument("--antialias", type=int, default=1, choices=(1, 2, 4))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", action="store_true", help="measure the whole program as well")
    given = parser.parse_args()
    result: dict[str, Any] = {"dpi": given.dpi, "antialias": given.antialias, "pages": given.pages}
    for document in given.documents:
        rounds = []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory(prefix="encoders-") as name:
                rounds.append(_round(document, Path(name), given))
        result[document.name] = {
            key: round(median(each[key] for each in rounds), 3) for key in rounds[0]
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
