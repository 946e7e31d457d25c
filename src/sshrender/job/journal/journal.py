"""Append entries to ``journal.jsonl``, and read them: every event of every run of a job.

The journal is the truth: status, history, accounts, dashboard and overview are replays of it.

A line that is not whole does not count: the last one may be cut off by a crash, and one in the middle
may be damaged. A line that a coordinator wrote late, after another one of a higher epoch had written,
does not count either: what that coordinator did is verified again, or had no effect.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.journalformat import SCHEMA, as_line, parse_line, schema_of
from sshrender.storage.files import open_plain, reserve, sync_folder
from sshrender.storage.newfiles import file_mode, set_mode

MAX_LINE = 1 << 20
"""Bytes of one entry. The longest that sshrender writes names each host of an inventory: some KiB."""

MAX_BYTES = 1 << 29
"""Most bytes of a journal: a job of 100,000 pages that each fail twice has 150 MB."""

BLOCK = 1 << 20
"""Bytes that are read at a time."""


MIN_NEWER = 2
"""Lines of a newer version by which it is known: one flipped bit can make one line look like that."""

END = 64 << 10
"""Bytes at the end of a journal in which a writer looks for entries of a newer version."""

RESERVE = 16 << 10
"""Bytes: some minutes of a paused run. Without them, readers would not learn of a pause for a full
disk."""


class OldJournal(OSError):
    """The journal has the format of an earlier version: this one can neither read nor continue it."""

    def __init__(self, path: Path) -> None:
        reason = "written by an earlier version of sshrender; remove the job and render again"
        super().__init__(errno.EPROTONOSUPPORT, reason, str(path))


class NewerJournal(OSError):
    """A newer version has written to the journal: this one does not know the state of the job."""

    def __init__(self, path: Path, schema: int) -> None:
        reason = f"written by a newer version of sshrender: it has schema {schema}, and this one"
        super().__init__(errno.EPROTONOSUPPORT, f"{reason} reads {SCHEMA}", str(path))


class JournalWriter:
    """Appends entries. One thread at a time; ``sync`` makes them durable.

    ``has_reserve``: keep space for the next entries, so that a full disk can be recorded, too.
    Raises OSError; NewerJournal, which is one, if a newer version wrote the last entries.
    """

    def __init__(self, path: Path, *, has_reserve: bool = False) -> None:
        # O_APPEND: a fenced coordinator that writes late does not overwrite lines of its successor. NFS
        # only imitates it (open(2)): a line that is damaged there does not count.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self.path = path
        # Not atomic, and need not be: only the holder of the lease makes it.
        is_new = not path.exists()
        self._descriptor = os.open(path, flags, file_mode(path.parent))
        if is_new:
            set_mode(self._descriptor, file_mode(path.parent))
            # The name of a new file has to survive a crash, or the first entries would be lost with
            # it.
            sync_folder(path.parent)
        self._is_torn = False
        self._has_reserve = has_reserve
        self._reserved_until = 0
        try:
            _refuse_newer_end(self._descriptor, path)
        except OSError:
            os.close(self._descriptor)
            raise
        # Before the first entry: it would be glued to the line that was cut off.
        self._end_torn_line()
        self._reserve()

    def _end_torn_line(self) -> None:
        """End a line that a crash cut off, so that the next entry begins a line of its own."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def append(self, entries: Iterable[JournalEntry]) -> None:
        """Write entries in one go. Raises OSError; the same entries may then be appended again."""
        data = b"".join(map(as_line, entries))
        # After a failed write, part of a line may be at the end: a line end before the next entry
        # makes it a damaged line of its own.
        view = memoryview(b"\n" + data if self._is_torn else data)
        self._is_torn = True
        # write(2) may write less than it was given, as on a full disk.
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._is_torn = False
        self._reserve()

    def _reserve(self) -> None:
        """Keep space after the end of the file, if the file system can do that."""
        if not self._has_reserve:
            return
        size = os.fstat(self._descriptor).st_size
        # Half of the reserve is used up before more is taken: one call for many entries.
        if self._reserved_until - size < RESERVE // 2 and reserve(self._descriptor, size, RESERVE):
            self._reserved_until = size + RESERVE

    def sync(self) -> None:
        """Flush to the storage. Raises OSError."""
        # fdatasync is enough: it flushes the size as well, which is needed to read the data
        # (fdatasync(2)).
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def append(path: Path, entries: Iterable[JournalEntry]) -> None:
    """Append entries to a journal that no coordinator writes now, and flush them. Raises OSError."""
    writer = JournalWriter(path)
    try:
        writer.append(entries)
        writer.sync()
    finally:
        writer.close()


def _refuse_newer_end(descriptor: int, path: Path) -> None:
    """Raise NewerJournal if the last lines are a newer version's; others are not read."""
    size = os.fstat(descriptor).st_size
    lines = os.pread(descriptor, END, max(0, size - END)).split(b"\n")
    schemas = [schema_of(line) or 0 for line in lines]
    newer = [schema for schema in schemas if schema > SCHEMA]
    if len(newer) >= MIN_NEWER or (newer and SCHEMA not in schemas):
        raise NewerJournal(path, newer[-1])


class _Reader:
    """Reads whole lines from where the last call ended, in blocks, whatever the file holds.

    A line of more than MAX_LINE bytes is skipped and never kept. A hole of a sparse file is not
    read: it can only be part of a damaged line.
    """

    def __init__(self) -> None:
        self._at = 0
        self._rest = b""
        self._is_too_long = False
        self.read = 0
        """Bytes that have been read."""

    def lines(self, file: BinaryIO) -> list[bytes] | None:
        """Return the lines that end in the next block; None at the end of the file. Raises OSError."""
        descriptor = file.fileno()
        try:
            # pread below does not use the offset that lseek sets.
            data_at = os.lseek(descriptor, self._at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on (lseek(2))
                return None
            if error.errno != errno.EINVAL:  # a file system without SEEK_DATA
                raise
            data_at = self._at
        if data_at > self._at:
            # The hole begins within a line, which is damaged then: what follows up to the next line
            # end belongs to it.
            self._rest, self._is_too_long = b"", True
            self._at = data_at
        block = os.pread(descriptor, BLOCK, self._at)
        if not block:
            return None
        self._at += len(block)
        self.read += len(block)
        return self._split(block)

    def _split(self, block: bytes) -> list[bytes]:
        # The last piece has no line end yet; it is empty if the block ends with one.
        *ended, rest = block.split(b"\n")
        if ended:
            ended[0] = self._rest + ended[0]
            if self._is_too_long:
                # The end of a line that was too long.
                del ended[0]
            self._rest, self._is_too_long = rest, False
        elif not self._is_too_long:
            self._rest += rest
        if len(self._rest) > MAX_LINE:
            self._rest, self._is_too_long = b"", True
        return [line for line in ended if len(line) <= MAX_LINE]

    @property
    def offset(self) -> int:
        """The start of the line that has not ended yet: the bytes of all lines before it."""
        # The line is kept in ``_rest``, unless it was too long: then its bytes count as read.
        return self._at - len(self._rest)

    def last(self) -> bytes:
        """Return the bytes after the last end of a line."""
        return self._rest


class JournalTail:
    """Follows a journal that another process writes, perhaps on another machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = _Reader()
        self._filter = _Filter(path)

    @property
    def offset(self) -> int:
        """The bytes of the journal whose entries were returned: every reader counts them alike."""
        return self._reader.offset

    def new(self) -> list[JournalEntry]:
        """Return the entries since the last call, at least one if there is one; none without a journal.

        Raises OSError; OldJournal or NewerJournal, which are some. Entries before those of a newer
        version are returned first.
        """
        self._filter.refuse_newer()
        try:
            file = open_plain(self._path)
        except FileNotFoundError:
            return []
        with file:
            # One block at a time until there is an entry: a caller shows something of a large journal
            # early.
            while (lines := self._reader.lines(file)) is not None:
                if entries := self._filter.entries(lines):
                    return entries
                self._filter.refuse_newer()
                _refuse_too_large(self._path, self._reader, MAX_BYTES)
        self._filter.refuse_other()
        return []


def _refuse_too_large(path: Path, reader: _Reader, max_bytes: int) -> None:
    if reader.read > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))


class _Filter:
    """Turns the lines of a journal, in order, into the entries that count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest = 0
        self._has_entries = False
        self._has_old_lines = False
        self._newer: list[int] = []

    def entries(self, lines: Iterable[bytes]) -> list[JournalEntry]:
        """Return the sound entries that are not late; none after those of a newer version."""
        found = []
        for line in lines:
            entry = self._entry(line)
            if len(self._newer) >= MIN_NEWER:
                break
            if entry is not None and self._counts(entry):
                found.append(entry)
        return found

    def refuse_newer(self) -> None:
        """Raise NewerJournal if a newer version has written lines: what follows cannot be known."""
        if len(self._newer) >= MIN_NEWER:
            raise NewerJournal(self._path, self._newer[-1])

    def refuse_other(self) -> None:
        """Raise OldJournal or NewerJournal if all lines so far are of another schema, or damaged.

        Beside a sound entry, one line of another schema is damage like any other.
        """
        if self._newer and not self._has_entries:
            raise NewerJournal(self._path, self._newer[-1])
        if self._has_old_lines and not self._has_entries:
            raise OldJournal(self._path)

    def _entry(self, line: bytes) -> JournalEntry | None:
        entry = parse_line(line)
        if entry is not None:
            self._has_entries = True
            return entry
        schema = schema_of(line) or 0
        if schema > SCHEMA:
            self._newer.append(schema)
        elif not self._has_entries:
            self._has_old_lines = self._has_old_lines or 0 < schema < SCHEMA
        return None

    def _counts(self, entry: JournalEntry) -> bool:
        """Whether it is of the newest epoch so far, or of none: handled without a coordinator."""
        # Entries of requests that were handled without a coordinator have no epoch, and always count.
        if entry.epoch is None:
            return True
        is_late = entry.epoch < self._newest
        self._newest = max(self._newest, entry.epoch)
        return not is_late


def require_current(path: Path) -> None:
    """Raise OldJournal or NewerJournal for a journal of another version: nothing may be appended to it.

    An old one could be read from then on, and the job would have lost its history. Raises OSError.
    """
    # The first call reads until there is a sound entry, or raises.
    JournalTail(path).new()
    # A newer version may have continued the job.
    with contextlib.suppress(FileNotFoundError), open_plain(path) as file:
        _refuse_newer_end(file.fileno(), path)


def read_journal(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[JournalEntry]:
    """Yield every sound entry, in order; nothing when there is no journal.

    Raises OSError; EFBIG if there are more than ``max_bytes``, holes of a sparse file not counted;
    OldJournal or NewerJournal, which are some, for a journal of another version.
    """
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return
    reader, counted = _Reader(), _Filter(path)
    with file:
        while (lines := reader.lines(file)) is not None:
            _refuse_too_large(path, reader, max_bytes)
            yield from counted.entries(lines)
            counted.refuse_newer()
    # The last line may lack its end: with a whole object in it, it counts.
    yield from counted.entries([reader.last()])
    counted.refuse_newer()
    counted.refuse_other()
