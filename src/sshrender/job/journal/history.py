"""Replay the results of a job's earlier runs, and compare them with the files that exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sshrender.job.journal import journalentries as je
from sshrender.job.journal.replay import replay


@dataclass(slots=True)
class PageRecord:
    """One published page, as the manifest lists it. Seconds of rendering, dimensions in pixels."""

    page: int
    file: str
    bytes: int
    sha256: str
    width: int
    height: int
    host: str = ""
    ghostscript: str = ""
    seconds: float = 0.0
    attempts: int = 1
    diagnostics: tuple[str, ...] = ()
    renderer: str = "ghostscript"
    renderer_version: str = ""

    @classmethod
    def of(cls, entry: je.PageDelivered) -> PageRecord:
        """Return the record of a page that was delivered."""
        # __slots__ are the names of the fields: the record has the same names as the entry.
        return cls(**{name: getattr(entry, name) for name in cls.__slots__})

    def as_fields(self) -> dict[str, Any]:
        """Return its fields by name (dataclasses.asdict copies deeply: slow in a large job)."""
        return {name: getattr(self, name) for name in self.__slots__}

    def as_entry(self, attempt: str = "", cpu: float = 0.0) -> je.PageDelivered:
        """Return the journal entry of its delivery. ``cpu``: seconds of its renderer."""
        return je.PageDelivered(attempt=attempt, cpu=cpu, **self.as_fields())

    @property
    def is_suspect(self) -> bool:
        """Whether Ghostscript reported a problem."""
        return bool(self.diagnostics)


@dataclass(slots=True)
class History:
    """``pages``: delivered pages, by number; ``notes``: Ghostscript's reports about the document.

    ``fonts``: the page lists of those that it uses and lacks. ``reference``: the fingerprint that hosts
    have to have (``ghostscript``, ``canary`` and ``fonts``, as in core/fingerprint.py), and ``hosts``:
    what each has. ``fingerprints``: what the host of a page had when it rendered it. ``withdrawn``:
    pages whose file is not to be adopted, because their host was outvoted, and the digest of what was
    delivered, if it is known.
    """

    pages: dict[int, PageRecord] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fonts: dict[str, str] = field(default_factory=dict)
    reference: dict[str, str] | None = None
    hosts: dict[str, dict[str, str]] = field(default_factory=dict)
    fingerprints: dict[int, dict[str, str]] = field(default_factory=dict)
    withdrawn: dict[int, str] = field(default_factory=dict)
    pilots: dict[str, je.PilotsRequested] = field(default_factory=dict)
    """Arrays of pilots that may still wait or run, by name."""

    def withdraw(self, page: int) -> None:
        """Remove a page: it is rendered again."""
        record = self.pages.pop(page, None)
        self.fingerprints.pop(page, None)
        # The digest tells which delivered file may be removed. Of a second withdrawal it may be
        # unknown: the known one stays.
        self.withdrawn[page] = record.sha256 if record is not None else self.withdrawn.get(page, "")

    def take(self, entry: je.JournalEntry) -> None:
        """Apply the next entry."""
        match entry:
            case je.PageDelivered():
                self._deliver(PageRecord.of(entry))
            case je.PageWithdrawn(page=page):
                self.withdraw(page)
            case je.PageSuspected(page=page, diagnostics=lines):
                # Only of a page that is there: one that is not delivered has no record to complete.
                if page in self.pages:
                    self.pages[page].diagnostics += lines
            case je.FontsMissing(fonts=fonts):
                self.fonts = dict(fonts)
            case je.ReferenceChosen():
                self.reference = _fingerprint(entry)
            case je.HostConnected(host=host):
                self.hosts[host] = _fingerprint(entry)
            case je.DocumentDiagnosed(diagnostics=lines):
                # The newest list replaces the older: each reports the document as a whole.
                self.notes = list(lines)
            case _:
                self._take_pilots(entry)

    def _take_pilots(self, entry: je.JournalEntry) -> None:
        match entry:
            case je.PilotsRequested(name=name):
                self.pilots[name] = entry
            case je.PilotsSubmitted(name=name, array=array):
                if name in self.pilots:
                    self.pilots[name] = replace(self.pilots[name], array=array)
            case je.PilotsEnded(name=name):
                self.pilots.pop(name, None)
            case _:
                pass

    def _deliver(self, record: PageRecord) -> None:
        self.pages[record.page] = record
        self.withdrawn.pop(record.page, None)
        # The fingerprint at that time, not the last one: an upgraded host makes other page images
        # later.
        if record.host in self.hosts:
            self.fingerprints[record.page] = self.hosts[record.host]


def _fingerprint(entry: je.ReferenceChosen | je.HostConnected) -> dict[str, str]:
    return {"ghostscript": entry.ghostscript, "canary": entry.canary, "fonts": entry.fonts}


def of(entries: Iterable[je.JournalEntry]) -> History:
    """Return the history of a job with this journal."""
    history = History()
    replay(entries, history)
    return history


def sizes(folder: Path) -> dict[str, int]:
    """Return the files of a folder and their sizes, in one pass.

    A shared folder is listed, never asked name by name: NFS caches that a name was not there.
    """
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.is_file(follow_symlinks=False)
        }


def keep_present(history: History, present: dict[str, int], file_of: Callable[[int], str]) -> None:
    """Remove pages whose file is gone, another page's, or of another size than when it was verified."""
    history.pages = {
        number: record
        for number, record in history.pages.items()
        # The name changes with the number of digits and the extension: a page under another name is
        # not taken.
        if record.file == file_of(number) and present.get(record.file) == record.bytes
    }
