"""``journal.jsonl``: every event of every run, appended. The truth that everything else folds.

A line is whole or it does not count: the last one may be torn by a crash, and one in the middle may
be damaged; both are skipped and counted. Nor does a line count that a coordinator has written late, when
another one, of a higher epoch, had written there: what it did is verified again, or was of no effect.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sshrender.files import file_mode, open_plain, sync_folder

SCHEMA = 1


def timestamp(seconds: float) -> str:
    """Wall-clock seconds as ``2026-01-31T12:00:00.123Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


class JournalWriter:
    """Appends lines. One thread at a time; ``sync`` makes them durable."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        is_new = not path.exists()
        self._descriptor = os.open(path, flags, file_mode(path.parent))
        if is_new:
            sync_folder(path.parent)
        self._is_torn = False
        self._mend_torn_line()

    def _mend_torn_line(self) -> None:
        """End a line that a crash cut off, so that the next one stands alone."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def append(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write entries in one go. Raises OSError; the same entries may then be appended again."""
        data = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        view = memoryview(b"\n" + data if self._is_torn else data)
        self._is_torn = True
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._is_torn = False

    def sync(self) -> None:
        """Flush to the storage. Raises OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def entry(type_: str, at: float, /, **fields: Any) -> dict[str, Any]:
    """One journal entry of a moment in wall-clock seconds."""
    return {"schema": SCHEMA, "time": timestamp(at), "type": type_, **fields}


class JournalTail:
    """Follows a journal that somebody else writes, perhaps on another machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._epochs = _Epochs()

    def new(self) -> list[dict[str, Any]]:
        """Every whole entry since the last call; nothing where there is no journal. Raises OSError."""
        try:
            with open_plain(self._path) as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        entries = [entry for line in whole.splitlines() if (entry := _parse(line)) is not None]
        return [entry for entry in entries if self._epochs.admits(entry)]


class _Epochs:
    """Which entries are of the newest epoch so far, or of none (requests made without a coordinator)."""

    def __init__(self) -> None:
        self._newest = 0

    def admits(self, entry: dict[str, Any]) -> bool:
        """Whether this entry, which comes next, counts."""
        epoch = entry.get("epoch")
        if type(epoch) is not int:
            return True
        is_late = epoch < self._newest
        self._newest = max(self._newest, epoch)
        return not is_late


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole entry of a known schema, or None."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_entry = isinstance(fields, dict) and fields.get("schema") == SCHEMA and "type" in fields
    return fields if is_entry else None


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole entry of a known schema, in order; nothing when there is no journal."""
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return
    epochs = _Epochs()
    with file:
        for line in file:
            entry = _parse(line)
            if entry is not None and epochs.admits(entry):
                yield entry
