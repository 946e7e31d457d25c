"""``journal.jsonl``: every event of every run, appended. The truth that everything else folds.

A line is whole or it does not count: the last one may be torn by a crash, and one in the middle may
be damaged; both are skipped and counted. Nor does a line count that a coordinator has written late, when
another one, of a higher epoch, had written there: what it did is verified again, or was of no effect.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sshrender.job.journalentries import SCHEMA, checked, without_surrogates
from sshrender.storage.files import file_mode, open_plain, sync_folder

MAX_LINE = 1 << 20
"""Bytes of one entry. The longest that sshrender writes names each host of an inventory: some KiB."""

MAX_BYTES = 1 << 29
"""Of a journal: a job of 100,000 pages that each fail twice has 150 MB."""

BLOCK = 1 << 20


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


class _Reader:
    """Reads whole lines from where the last call ended, in blocks, whatever the file holds.

    A line of more than MAX_LINE bytes is passed over and never kept. A hole of a sparse file is not
    read: it can only be part of a damaged line.
    """

    def __init__(self) -> None:
        self._at = 0
        self._rest = b""
        self._is_too_long = False
        self.read = 0
        """Bytes that were read so far."""

    def lines(self, file: BinaryIO) -> list[bytes] | None:
        """The lines that end in the next block; None at the end of the file. Raises OSError."""
        descriptor = file.fileno()
        try:
            data_at = os.lseek(descriptor, self._at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on (lseek(2))
                return None
            if error.errno != errno.EINVAL:  # a file system without SEEK_DATA
                raise
            data_at = self._at
        if data_at > self._at:
            self._rest, self._is_too_long = b"", True
            self._at = data_at
        block = os.pread(descriptor, BLOCK, self._at)
        if not block:
            return None
        self._at += len(block)
        self.read += len(block)
        return self._split(block)

    def _split(self, block: bytes) -> list[bytes]:
        *ended, rest = block.split(b"\n")
        if ended:
            ended[0] = self._rest + ended[0]
            if self._is_too_long:
                del ended[0]
            self._rest, self._is_too_long = rest, False
        elif not self._is_too_long:
            self._rest += rest
        if len(self._rest) > MAX_LINE:
            self._rest, self._is_too_long = b"", True
        return [line for line in ended if len(line) <= MAX_LINE]

    def last(self) -> bytes:
        """What stands after the last end of a line."""
        return self._rest


class JournalTail:
    """Follows a journal that another process writes, perhaps on another machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = _Reader()
        self._epochs = _Epochs()

    def new(self) -> list[dict[str, Any]]:
        """Entries since the last call, at least one if there is one; none without a journal.

        Raises OSError.
        """
        try:
            file = open_plain(self._path)
        except FileNotFoundError:
            return []
        with file:
            while (lines := self._reader.lines(file)) is not None:
                entries = [entry for line in lines if (entry := _parse(line)) is not None]
                admitted = [entry for entry in entries if self._epochs.admits(entry)]
                if admitted:
                    return admitted
                _refuse_too_large(self._path, self._reader, MAX_BYTES)
        return []


def _refuse_too_large(path: Path, reader: _Reader, max_bytes: int) -> None:
    if reader.read > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))


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
    """An entry as the replays get it (journalentries.py), or None."""
    try:
        # json.loads would guess at UTF-16 and let surrogates pass in bytes.
        fields = json.loads(line.decode())
        if b"\\ud" in line or b"\\uD" in line:
            fields = without_surrogates(fields)
        return checked(fields)
    except (ValueError, RecursionError):
        return None


def read_journal(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[dict[str, Any]]:
    """Every sound entry, in order; nothing when there is no journal.

    Raises OSError; EFBIG where there are more than ``max_bytes``, holes of a sparse file not counted.
    """
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return
    reader, epochs = _Reader(), _Epochs()
    with file:
        while (lines := reader.lines(file)) is not None:
            _refuse_too_large(path, reader, max_bytes)
            entries = [entry for line in lines if (entry := _parse(line)) is not None]
            yield from (entry for entry in entries if epochs.admits(entry))
    last = _parse(reader.last())
    if last is not None and epochs.admits(last):
        yield last
