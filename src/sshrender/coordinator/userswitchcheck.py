"""Tries the user's switches once on this machine: some values end Ghostscript at its start.

Only the device knows which values it takes. Without this trial every host would be lost, one after the
other, because of a mistyped number.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sshrender.renderers import canary
from sshrender.runner.host import processlimits

PROGRAM = "gs"
MEMORY = 1 << 30
"""Bytes that the process may use."""

MAX_WORDS = 200
"""Characters of Ghostscript's own words."""


class Objection(NamedTuple):
    """The switch that ends Ghostscript, and the first line of its output."""

    switch: str
    words: str


def objection(device: str, options: Sequence[str]) -> Objection | None:
    """Return the switch with which Ghostscript cannot render a page; None if it can with all.

    Also None if this machine has no Ghostscript, or one that fails without them as well. It takes a
    tenth of a second, and with a broken Ghostscript at most canary.TIMEOUT for each try.
    """
    if shutil.which(PROGRAM) is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="sshrender-switches-") as name:
            return _tried(Path(name), device, options)
    except (OSError, subprocess.SubprocessError):
        return None  # a limit or a full disk of this machine says nothing of the switches


def _tried(folder: Path, device: str, options: Sequence[str]) -> Objection | None:
    (folder / "canary.pdf").write_bytes(canary.document())
    words = _words(folder, device, options)
    # Both tests are needed: a Ghostscript that fails without the switches, too, says nothing of them.
    if words is None or _words(folder, device, ()) is not None:
        return None
    # One by one: the first that fails alone is named. If only all together fail, all are.
    for option in options:
        alone = _words(folder, device, [option])
        if alone is not None:
            return Objection(option, alone)
    return Objection(" ".join(options), words)


def _words(folder: Path, device: str, options: Sequence[str]) -> str | None:
    """Return the first line that Ghostscript prints if it fails; None if it renders the page."""
    # -r20: the trial needs no more pixels than that.
    command = [PROGRAM, "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", f"-sDEVICE={device}", "-r20"]
    answer = subprocess.run(
        processlimits.wrap([*command, *options, "-sOutputFile=page", "canary.pdf"], MEMORY),
        cwd=folder,
        env={**processlimits.environment(dict(os.environ)), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=canary.TIMEOUT,
        check=False,
    )
    if answer.returncode == 0:
        return None
    lines = answer.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:MAX_WORDS] if lines else f"exit code {answer.returncode}"
