"""Claim an output folder for a job, so that pages of two documents or settings are never in one folder.

A folder belongs to a document and the settings that decide how its pages look, not to one job: another
job with other pages of the same may add them. A folder that holds pages of something else is refused, or
replaced if the user said so (``--overwrite``). Replacing takes two steps, each of which is one new
record (outputrecord.py): the claim, which removes nothing; and, once the first new page is about to be
delivered, the removal of all old pages. A process that is killed in between is continued by any later
run of the job, and until then the folder holds old pages alone.

A job that is queued, held or running keeps its folder. If that cannot be seen, because its shared folder
is another one, it loses the folder, notices that with its next page, and stops.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sshrender.errors import ExitCode, UserError
from sshrender.job.output import outputrecord, outputrecordfiles, publish
from sshrender.job.output.outputrecord import Contents, Found, Record
from sshrender.job.output.outputrecordfiles import Stored
from sshrender.job.output.outputrules import Delivery, file_at, next_record, require_free

_TRIES = 5
"""Times that a claim is tried again because another process was faster."""


class OutputLost(Exception):
    """The output folder belongs to another job now."""


def check(delivery: Delivery) -> None:
    """Raise NeedsUser if the job may not have its output folder; change nothing. Raises OSError."""
    # A job's own folder needs no claim: no other job delivers there.
    if not delivery.is_own_folder:
        next_record(delivery, outputrecord.inspect(delivery.output))


def take(delivery: Delivery) -> OutputClaim:
    """Claim the output folder, and create it if needed. No page is removed yet.

    Raises NeedsUser, another UserError or OSError.
    """
    if delivery.is_own_folder:
        return OutputClaim()
    # realpath: two names of one folder have the same record.
    output = Path(os.path.realpath(delivery.output))
    output.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        found = outputrecord.inspect(output)
        record = next_record(delivery, found)
        if record is not None:
            number = found.newest.number if found.newest is not None else 0
            # None: another process was faster. Its record is looked at in the next turn.
            if outputrecordfiles.create(output, number + 1, record.encode()) is None:
                continue
            found = outputrecord.inspect(output)
        in_force = found.record
        # False also if another process has claimed it after create(): then the loop continues.
        if found.newest and in_force and in_force.owner.is_same(delivery.contents):
            outputrecordfiles.remove(output, found.older)
            return OutputClaim(output, found.newest, in_force, delivery)
    raise UserError(
        ExitCode.STORAGE,
        f"{delivery.output} is being claimed by other processes",
        "run the same command again",
    )


class OutputClaim:
    """The output folder of a run: delivers pages into it as long as it is the job's.

    Without arguments: a folder that needs no claim. May be used by several threads.
    """

    def __init__(
        self,
        folder: Path | None = None,
        stored: Stored | None = None,
        record: Record | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        self._folder = folder
        self._stored = stored
        self._record = record
        self._delivery = delivery
        self._lock = threading.Lock()
        self.is_made_again = False
        """Whether the folder is another one than at the start: it lacks the pages from before."""

    def deliver(self, page: int, target: Path, sha256: str) -> bool:
        """Deliver a page as publish.deliver does. Before the first one old pages are removed.

        Raises OutputLost if the folder is another job's; nothing of ours stays there then. Raises as
        publish.deliver, too.
        """
        self.begin()
        # Between begin() and this, the folder may be given away: hence require() afterwards.
        is_copy = publish.deliver(page, target, sha256)
        try:
            self.require()
        except OutputLost:
            # Between the check and the delivery another job may have removed old pages: not this one.
            path = self._folder / target.name if self._folder is not None else target
            seen = publish.identity(path)
            # Only this page: the new owner may have delivered one of the same name.
            if publish.is_delivered(page, path):
                publish.remove(path, seen)
            raise
        return is_copy

    def begin(self) -> None:
        """Remove the rest of the pages that the job replaces. Raises OutputLost or OSError."""
        with self._lock:
            self._require()
            # while: after _clear() another process's record may be in force.
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
            # while: _advance() may follow another record, which lacks the name.
            while self._record is not None and name not in self._record.owner.assembled:
                owner = self._record.owner
                made = owner.model_copy(update={"assembled": (*owner.assembled, name)})
                self._advance(self._record.model_copy(update={"owner": made}))

    def _require(self) -> None:
        """Make sure that the record which this run goes by is the newest. Needs the lock."""
        if self._folder is None or self._stored is None or self._record is None:
            return
        # The usual case, once for each page: one open and one getxattr.
        if outputrecordfiles.is_there(self._folder, self._stored):
            return
        found = outputrecord.inspect(self._folder)
        if found.newest is not None:
            self._follow(found)
            return
        # A user has made the folder again. One that is gone is an OSError.
        self._stored, self.is_made_again = None, True
        self._advance(self._record)

    def _follow(self, found: Found) -> None:
        """Go by the newest record. Raises OutputLost if it is another document's."""
        assert self._record is not None
        if found.record is None or not found.record.owner.is_same(self._record.owner):
            raise OutputLost
        self._stored, self._record = found.newest, found.record

    def _clear(self, old: Contents) -> None:
        """Remove the files of the old contents, and record that. Needs the lock. Raises OSError.

        Another job of the same document may do the same, and deliver its first page before this one has
        finished: files are told apart by what they were before the record was looked at again.
        """
        assert self._folder is not None
        assert self._record is not None
        found = outputrecord.inspect(self._folder)
        names = old.files_in(found.names) + self._record.owner.files_in(found.names)
        names += filter(outputrecord.is_left, found.names)
        # Before _require(): what was there while the record still said so.
        seen = {name: file_at(self._folder / name) for name in dict.fromkeys(names)}
        self._require()
        if self._record.replaces is None:
            return
        # Only what was seen: publish.remove leaves a file that has taken the name since.
        for name, identity in seen.items():
            publish.remove(self._folder / name, identity)
        self._advance(Record(owner=self._record.owner))

    def _advance(self, record: Record) -> None:
        """Replace the record; the newest is another one if another process was faster."""
        assert self._folder is not None
        # The number after the own: if another process has taken it, its record decides.
        number = self._stored.number if self._stored is not None else 0
        stored = outputrecordfiles.create(self._folder, number + 1, record.encode())
        if stored is None:
            self._follow(outputrecord.inspect(self._folder))
            return
        older, self._stored, self._record = self._stored, stored, record
        # After the new one is there: at each moment there is one.
        outputrecordfiles.remove(self._folder, [older] if older is not None else [])
