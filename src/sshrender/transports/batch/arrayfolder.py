"""The folder of one array of pilots: created before its submission, with the reports of its pilots.

``state`` says ``open`` until the array is over; then it is a tombstone. ``INDEX.pilot`` holds what the
holder of an element appends; ``INDEX.eEPOCH.NUMBER.down`` and ``.up`` are the pairs of its connections.
The folder is closed to other users. All files are made before the submission, because an NFS client that
looks for a name before it exists may not see it for a minute.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshrender.runner import pilotlines
from sshrender.storage.files import write_whole
from sshrender.transports.batch.filelink import make_pair

STATE = "state"
OPEN, FINISHED = "open\n", "over\n"

SCRIPT = "script"

# Lines are signed, but the names of nodes and texts of errors are the node's own.
MAX_TEXT = 300
"""Characters of a text of a note that are kept."""


@dataclass(frozen=True, slots=True)
class PilotNote:
    """The report of a holder. ``token`` names one start of its element; ``left``: seconds to its end.

    ``job``: the engine's number of it, if a command of the engine can attach to it.
    """

    index: int
    token: str
    kind: str
    node: str = ""
    reason: str = ""
    cores: int = 0
    memory: int = 0
    left: float = 0.0
    job: str = ""


@dataclass
class ArrayFolder:
    """The folder of one array. ``key``: of the lines in its files."""

    # One reader per element: it remembers how far its file was read.
    path: Path
    key: bytes
    _readers: dict[int, pilotlines.LineReader] = field(default_factory=dict)

    def create(self, indexes: Iterable[int], epoch: int) -> None:
        """Make the folder and the files of these elements. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        # No parents and no exist_ok: two coordinators never share the folder of an array.
        self.path.mkdir(mode=0o700)
        for index in indexes:
            # O_EXCL and 0600: a file that another user has put there is an error and is never written
            # to.
            os.close(os.open(self._notes(index), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            make_pair(self.path / f"{index}.e{epoch}.1")
        # Last: a holder that sees ``open`` finds all the files of its element.
        self._write_state(OPEN)

    def write_script(self, text: str) -> Path:
        """Write the script for an engine that reads it from a file. Raises OSError."""
        path = self.path / SCRIPT
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            # The node's NFS client reads the script from the server, so it has to be there before the
            # submission.
            os.fsync(file.fileno())
        return path

    def bury(self) -> None:
        """Leave a tombstone: no pilot of this array works from now on. Never raises."""
        # A link in its place would lead to another folder.
        if self.path.is_symlink():
            return
        with contextlib.suppress(OSError):
            self._write_state(FINISHED)

    def remove(self) -> None:
        """Remove the folder. A folder that is gone is a tombstone, too. Never raises."""
        # First: what cannot be removed must not be found open.
        self.bury()
        shutil.rmtree(self.path, ignore_errors=True)

    def notes(self, indexes: Iterable[int]) -> Iterator[PilotNote]:
        """Yield the new reports of the holders of these elements since the last call. Never raises.

        What cannot be read yet is read by a later call.
        """
        for index in indexes:
            reader = self._readers.get(index)
            if reader is None:
                reader = pilotlines.LineReader(str(self._notes(index)), self.key)
                self._readers[index] = reader
            try:
                lines = reader.read_new()
            # A line that is cut or not yet whole is read again later, and the other elements are not
            # delayed.
            except (OSError, pilotlines.BadLine):
                continue
            for line in lines:
                note = _note(index, line)
                if note is not None:
                    yield note

    def _notes(self, index: int) -> Path:
        return self.path / f"{index}.pilot"

    def _write_state(self, text: str) -> None:
        """Replace the state as a whole: a holder reads it at any moment."""
        write_whole(self.path / STATE, text.encode("ascii"))


def _note(index: int, line: bytes) -> PilotNote | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, Mapping):
        return None
    return PilotNote(
        index=index,
        token=_text(fields, "token"),
        kind=_text(fields, "type"),
        node=_text(fields, "node"),
        reason=_text(fields, "reason"),
        # 1024 cores, as for any host (transports/messages.py).
        cores=min(1024, int(_number(fields, "cores"))),
        memory=int(_number(fields, "memory")),
        left=_number(fields, "left"),
        job=_text(fields, "job"),
    )


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    kept = value[:MAX_TEXT] if isinstance(value, str) else ""
    # isprintable() also removes newlines and escape sequences, because views show these texts.
    return "".join(character for character in kept if character.isprintable())


def _number(fields: Mapping[str, Any], key: str) -> float:
    value = fields.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    if isinstance(value, float) and math.isnan(value):
        return 0.0
    # Bounded before it becomes a float: JSON has integers of any length, and float() refuses long ones.
    return float(min(max(0, value), 10**15))
