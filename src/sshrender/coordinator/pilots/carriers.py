"""Chooses how the runner of a pilot is reached: over files, or over a command of the engine."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.transports.batch import pipelink
from sshrender.transports.batch.arrayfolder import PilotNote
from sshrender.transports.batch.filelink import FileTransport

_ELEMENT = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
"""``12`` of Slurm, ``12.3`` of HTCondor: it becomes a word of a command, and a node has reported it."""


def carrier(
    setup: PoolSetup, files: FileTransport, note: PilotNote, element: str
) -> FileTransport | pipelink.PipeTransport:
    """Return how to reach the runner of a pilot. ``element``: its id for the engine's command."""
    engine = setup.engine
    cores = min(setup.cores, note.cores or setup.cores)
    # Only Slurm attaches without being told to: HTCondor sends the streams through its daemons.
    is_wanted = setup.carrier == "pipe" or (setup.carrier == "auto" and engine.name == "slurm")
    is_known = _ELEMENT.fullmatch(element) is not None
    if not is_wanted or not is_known or engine.attached(element, cores, ()) is None:
        return files

    def attached(words: Sequence[str]) -> Sequence[str]:
        return engine.attached(element, cores, words) or ()

    variables = pipelink.variables(note.token, note.memory)
    falls_back = setup.carrier == "auto"
    return pipelink.PipeTransport(files, attached, variables, setup.via, falls_back=falls_back)
