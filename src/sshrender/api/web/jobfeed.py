"""Follows one job for many watchers: its journal is read once, and each watcher gets what is new to it.

A message carries the byte of the journal up to which it counts. A watcher that names the byte of its
last message gets all that has changed since, from any machine that reads the journal.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.api.jobs import on_san, require_readable
from sshrender.api.web.compressedblocks import Block
from sshrender.coordinator import overviewwriter
from sshrender.document import pagelist
from sshrender.errors import ExitCode, UserError
from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.journal import JournalTail
from sshrender.job.lease import Observer
from sshrender.job.output import thumbnails
from sshrender.job.output.outputrules import Delivery
from sshrender.job.spec import load_spec
from sshrender.job.status import jobstatus
from sshrender.renderers.devices import DEVICES
from sshrender.storage.files import require_listing
from sshrender.views import jobproblems, overview
from sshrender.views.jobmodel import DONE, SENT, SUSPECT, JobModel

MAX_RECORDS = 500
"""Pages of one message: some 200 KB. A watcher that lags behind gets several messages."""

STALE_SECONDS = 30.0
"""Seconds for which a sheet without a delivered page is kept: NFS may show an old listing for 60."""

_PAGE_FILE = re.compile(r"page-(\d{1,9})\.[a-z0-9]+")
"""The names of pages (job/output/publish.py)."""

TERMINAL = ("done", "partial", "failed", "cancelled")


class PageFile(NamedTuple):
    """A delivered page, for a download."""

    page: int
    path: Path
    size: int
    sha256: str


class JobFeed:
    """One job. The methods may block; one thread calls them at a time. They raise UserError, OSError."""

    def __init__(self, san: Path, name: str) -> None:
        folder = JobFolder(san / name)
        spec = on_san(san, lambda: load_spec(folder))
        if spec is None:
            require_readable(san)
            raise UserError(ExitCode.USAGE, f"there is no job {name}", "sshrender status")
        self.name = name
        self.folder, self.spec = folder, spec
        self._san = san
        self._tail = JournalTail(folder.journal)
        self._observer = Observer(folder.lease)
        self._follower = jobstatus.Follower(spec)
        # The list of pages never changes during a job, so it is read once.
        self._model = JobModel(sorted(self._follower.report(folder, None).requested))
        # By page: the byte of the journal after which its record was last different.
        self._changed_at: dict[int, int] = {}
        # Before the journal is read, which takes seconds: whether a user may see the job.
        self._attributes = self._read_attributes()
        self._stamp: object = None
        self._spec_stamp: object = None
        self.report = self._follower.report(folder, None)
        """The report as of the last update."""
        self.offset = 0
        """The bytes of the journal that were read."""
        self.checksums: dict[str, int] = {}
        """CRC-32 of pages by SHA-256, for archives: a page is read once for all of them."""
        # The key under which it was made, and the sheet itself.
        self._sheet: tuple[object, float, Block] | None = None
        self._bytes = 0

    @property
    def owner(self) -> str:
        """The user that submitted the job."""
        return self._attributes.owner

    def read_owner(self) -> str:
        """Return the same as it is in the shared folder now."""
        return self._read_attributes().owner

    def _read_attributes(self) -> Attributes:
        return on_san(self._san, lambda: jobattributes.load_or_none(self.folder)) or Attributes()

    @property
    def pages(self) -> int:
        """The number of pages that the job has."""
        return len(self._model.pages)

    @property
    def is_finished(self) -> bool:
        """Whether the job is in a terminal state."""
        return self.report.state in TERMINAL

    @property
    def part_read(self) -> float:
        """The part of the journal that was read, from 0 to 1, while ``update`` is at work."""
        return min(1.0, self._tail.offset / max(1, self._bytes))

    def update(self) -> bool:
        """Read what is new; return whether anything has changed."""
        return on_san(self._san, self._update)

    def _update(self) -> bool:
        if not self._is_there():
            raise UserError(ExitCode.USAGE, "this job was removed", "sshrender status")
        with contextlib.suppress(FileNotFoundError):
            self._bytes = self.folder.journal.stat().st_size
        has_new = False
        # new() returns a bounded number of entries, so it is called until there are none.
        while entries := self._tail.new():
            has_new = True
            for entry in entries:
                self._model.take(entry)
                self._follower.take(entry)
        # After the loop: the offset counts only what the model has taken.
        self.offset = self._tail.offset
        # A page that was only sent is reported as work in progress; its record would change nothing.
        for number in self._model.changed:
            if self._model.pages[number].state != SENT or number in self._changed_at:
                self._changed_at[number] = self.offset
        self._model.changed.clear()
        claim = self._observer.holder()
        found = jobattributes.load_or_none(self.folder) or Attributes()
        # Besides the journal, the lease and the attributes change the state of a job.
        stamp = (claim is None, found)
        if has_new or stamp != self._stamp:
            self._attributes, self._stamp = found, stamp
            self.report = self._follower.report(self.folder, claim, found)
            return True
        return False

    def _is_there(self) -> bool:
        """Return whether the folder still is that of this job. Raises UserError if all are gone."""
        try:
            status = self.folder.spec.stat()
        except (FileNotFoundError, NotADirectoryError):
            # It may be removed while it is watched; or all of them are gone, with the file server.
            require_listing(self._san)
            return False
        stamp = status.st_ino, status.st_mtime_ns
        if stamp != self._spec_stamp:
            # The same document with the same settings has the same name, as a new job, too.
            found = load_spec(self.folder)
            if found is None or found.id != self.spec.id:
                return False
            self._spec_stamp = stamp
        return True

    def message(self, since: int) -> dict[str, Any]:
        """Return what has changed since this byte of the journal; ``offset``: ask from there next."""
        # Sorted by byte, so the part that is sent is the oldest.
        changed = sorted((at, number) for number, at in self._changed_at.items() if at > since)
        chosen = changed[:MAX_RECORDS]
        offset = self.offset
        if len(changed) > MAX_RECORDS:
            # All that changed with the same byte belong together: the next message begins after it.
            last = chosen[-1][0]
            chosen = [each for each in changed if each[0] <= last]
            offset = last
        return {
            "offset": offset,
            **self.status(),
            "pages": self._records(number for _, number in chosen),
        }

    def _records(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        return [overviewwriter.page_of(self._model.pages[number]) for number in numbers]

    def status(self) -> dict[str, Any]:
        """Return the state of the job, without its pages."""
        report, model = self.report, self._model
        # The later of both clocks: the journal's times are of another machine.
        now = max(model.now, time.time())
        is_running = report.state == "running"
        waits = model.none_usable if is_running else ""
        return {
            "state": report.state,
            "reason": report.reason or waits,
            "counts": overviewwriter.counts_of(report),
            "left": model.left(now) if is_running else None,
            "speed": model.rate.per_second(now) if is_running and not waits else None,
            "seconds": round(model.times.seconds(), 1),
            "is_coordinated": bool(report.coordinator),
            "work": sorted(
                {each.page for host in model.hosts.values() for each in host.flights.values()}
            ),
            "hosts": overviewwriter.hosts_of(report, model),
            "updated": report.updated,
            "runs": report.runs,
        }

    def sheet(self) -> dict[str, Any]:
        """Return what the overview shows; ``offset``: the byte of the journal up to which it counts."""
        made = on_san(self._san, lambda: overviewwriter.sheet_of(self.folder, self.report, self._model))
        # Without the output folder: a web user must not see paths of the machine.
        return {**made, "output": "", "offset": self.offset}

    def encoded_sheet(self) -> Block:
        """Return the sheet as JSON that may stand in an HTML document; made once for each state."""
        # The offset alone is not enough: a lease that ends changes the sheet without a journal entry.
        key, now = (self.offset, self._stamp), time.monotonic()
        if self._sheet is None or self._sheet[0] != key or now > self._sheet[1]:
            made = self.sheet()
            until = now + STALE_SECONDS if self._lacks_pages(made) else math.inf
            self._sheet = key, until, Block(overview.as_data(made).encode("utf-8", "replace"))
        return self._sheet[2]

    def _lacks_pages(self, sheet: dict[str, Any]) -> bool:
        """Return whether a sheet lacks a delivered page: its folder was listed before that was there."""
        shown = (each["state"] for each in sheet["pages"])
        delivered = (DONE, SUSPECT)
        return any(
            row.state in delivered and state not in delivered
            for row, state in zip(self._model.pages.values(), shown, strict=True)
        )

    def files(self, selection: str = "") -> list[PageFile]:
        """Return the delivered pages in their order. ``selection``: a page list, empty for all.

        Raises UserError for a wrong list.
        """
        chosen = set(pagelist.parse(selection, self.spec.document.pages)) if selection else None
        delivered = (
            self.file(number)
            for number in sorted(self._follower.records)
            if chosen is None or number in chosen
        )
        return [each for each in delivered if each is not None]

    def file(self, number: int) -> PageFile | None:
        """Return a delivered page; None if it is not delivered."""
        record = self._follower.record(number)
        # The journal may name anything: a name with a backslash, which begins a folder on Windows, or
        # one name for two pages.
        if record is None or not _is_page(record.file, number):
            return None
        return PageFile(number, self.folder.pages / record.file, record.bytes, record.sha256)

    def file_named(self, name: str) -> PageFile | None:
        """Return the delivered page whose file, or thumbnail, has this name; None if there is none."""
        found = _PAGE_FILE.fullmatch(name)
        page = None if found is None else self.file(int(found[1]))
        return page if page is not None and page.path.stem == Path(name).stem else None

    def thumbnail(self, number: int) -> Path | None:
        """Return the path of a page's thumbnail, if the page is delivered."""
        row = self._model.pages.get(number)
        if row is None or not _is_page(row.file or "", number):
            return None
        return thumbnails.find(self.folder, row.file)

    @property
    def assembled(self) -> Path | None:
        """The path of the file of all pages, which may not exist yet; None if none is wanted."""
        kind = str(self._attributes.wishes.get("assemble") or "")
        if not kind:
            return None
        delivery = Delivery(self.folder.pages, self.spec, self.folder, assemble=kind)
        return self.folder.pages / delivery.assembled

    @property
    def format(self) -> str:
        """The format of the page files, as png or tiff (renderers/devices.py); empty: unknown."""
        recipes = [recipe.format for recipe in self.spec.settings.recipes if not recipe.is_built_in]
        device = DEVICES.get(self.spec.settings.device)
        return recipes[0] if recipes else "" if device is None else device.format

    def problems(self) -> list[dict[str, Any]]:
        """Return the problems of the job in words, each with its remedy."""
        row = {**self.report.as_json(), "unsigned": None}
        found = jobproblems.of(row, self.report.requested, self.report.missing, list(self._model.log))
        return [each.as_json() for each in found]


def _is_page(name: str, number: int) -> bool:
    """Return whether a page of this number may have a file of this name."""
    found = _PAGE_FILE.fullmatch(name)
    return found is not None and int(found[1]) == number
