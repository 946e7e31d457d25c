"""Claim an output folder for a job, so that pages of two documents or settings never lie in one folder.

A folder belongs to a document and the settings that decide how its pages look, not to one job: another
job with other pages of the same may add them. A folder that holds pages of something else is refused, or
replaced where the user said so (``--overwrite``). Replacing takes two steps, each of which is one new
record (outputrecord.py): the claim, which removes nothing; and, once the first new page is about to be
delivered, the removal of all old pages. A process that is killed in between is continued by any later
run of the job, and until then the folder holds old pages alone.

A job that is queued, held or running keeps its folder. Where that cannot be seen, because its shared
folder is another one, it loses the folder, notices that with its next page, and stops.
"""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path

from sshrender.errors import ExitCode, UserError
from sshrender.job import outputrecord, publish
from sshrender.job.outputrecord import Contents, Record
from sshrender.job.outputrules import Delivery, file_at, next_record, require_free

_TRIES = 5
"""Times that a claim is tried again because another process was faster."""


class OutputLost(Exception):
    """The output folder belongs to another job now."""


def check(delivery: Delivery) -> None:
    """Raise NeedsUser if the job may not have its output folder; change nothing. Raises OSError."""
    if not delivery.is_own_folder:
        next_record(delivery, outputrecord.look(delivery.output))


def take(delivery: Delivery) -> OutputClaim:
    """Claim the output folder, and create it if needed. No page is removed yet.

    Raises NeedsUser, another UserError or OSError.
    """
    if delivery.is_own_folder:
        return OutputClaim()
    output = Path(os.path.realpath(delivery.output))
    output.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        found = outputrecord.look(output)
        record = next_record(delivery, found)
        number = found.number
        if record is not None:
            number += 1
            if not outputrecord.append(output, number, record):
                continue
            found = outputrecord.look(output)
        if found.number == number and found.record is not None:
            outputrecord.remove(output, found.older)
            return OutputClaim(output, number, found.record, delivery)
    raise UserError(
        ExitCode.STORAGE,
        f"{delivery.output} is being claimed by other processes",
        f"ls -a {shlex.quote(str(delivery.output))} shows its records; try again",
    )


class OutputClaim:
    """The output folder of a run: delivers pages into it as long as it is the job's.

    Without arguments: a folder that needs no claim. May be used by several threads.
    """

    def __init__(
        self,
        folder: Path | None = None,
        number: int = 0,
        record: Record | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        self._folder = folder
        self._number = number
        self._record = record
        self._delivery = delivery
        self._lock = threading.Lock()

    def deliver(self, page: int, target: Path, sha256: str) -> bool:
        """Deliver a page as publish.deliver does. Before the first one old pages are removed.

        Raises OutputLost if the folder is another job's; nothing of ours stays there then. Raises as
        publish.deliver, too.
        """
        self.begin()
        is_copy = publish.deliver(page, target, sha256)
        try:
            self.require()
        except OutputLost:
            # Between the check and the delivery another job may have removed old pages: not this one.
            seen = publish.identity(Path(os.path.realpath(target)))
            if publish.is_delivered(page, target):
                publish.remove(Path(os.path.realpath(target)), seen)
            raise
        return is_copy

    def begin(self) -> None:
        """Remove what the job replaces, if anything is left of it. Raises OutputLost or OSError."""
        with self._lock:
            self._require()
            while self._record is not None and self._record.replaces is not None:
                self._clear(self._record.replaces)

    def require(self) -> None:
        """Raise OutputLost if the folder is another job's by now, or OSError."""
        with self._lock:
            self._require()

    def note_assembled(self, name: str) -> None:
        """Record that the job makes a file of this name, so that ``--overwrite`` can replace it.

        Raises NeedsUser if another file has the name; OutputLost or OSError.
        """
        self.begin()
        if self._folder is None or self._record is None or self._delivery is None:
            return
        require_free(self._delivery, name, self._record)
        with self._lock:
            while self._record is not None and name not in self._record.owner.assembled:
                owner = self._record.owner
                made = owner.model_copy(update={"assembled": (*owner.assembled, name)})
                self._advance(self._record.model_copy(update={"owner": made}))

    def _require(self) -> None:
        """Make sure that the record which this run goes by is the newest. Needs the lock."""
        if self._folder is None or self._is_there():
            return
        assert self._record is not None
        found = outputrecord.look(self._folder)
        if found.record is not None and found.record.owner.is_same(self._record.owner):
            self._number, self._record = found.number, found.record
            return
        if found.number:
            raise OutputLost
        # A user has removed the records, perhaps with the pages. A folder that is gone is an OSError.
        self._number = 0
        self._advance(self._record)

    def _is_there(self) -> bool:
        """Whether the record is there: another job removes it with its claim.

        It is opened: NFS asks the server then, even where it has the name in its cache (close-to-open).
        """
        assert self._folder is not None
        path = outputrecord.path_of(self._folder, self._number)
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except FileNotFoundError:
            return False
        return True

    def _clear(self, old: Contents) -> None:
        """Remove the files of the old contents, and record that. Needs the lock. Raises OSError.

        Another job of the same document may do the same, and deliver its first page before this one has
        finished: files are told apart by what they were before the record was looked at again.
        """
        assert self._folder is not None
        assert self._record is not None
        found = outputrecord.look(self._folder)
        names = old.files_in(found.names) + self._record.owner.files_in(found.names)
        names += filter(outputrecord.is_left, found.names)
        seen = {name: file_at(self._folder / name) for name in dict.fromkeys(names)}
        self._require()
        if self._record.replaces is None:
            return
        for name, identity in seen.items():
            publish.remove(self._folder / name, identity)
        self._advance(Record(owner=self._record.owner))

    def _advance(self, record: Record) -> None:
        """Replace the record; the newest is another one where another process was faster."""
        assert self._folder is not None
        if outputrecord.append(self._folder, self._number + 1, record):
            older, self._number, self._record = self._number, self._number + 1, record
            outputrecord.remove(self._folder, [older] if older else [])
            return
        found = outputrecord.look(self._folder)
        assert self._record is not None
        if found.record is None or not found.record.owner.is_same(self._record.owner):
            raise OutputLost
        self._number, self._record = found.number, found.record
