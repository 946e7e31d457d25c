"""Put the history of a page or a host into words, event by event, as the journal has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, assert_never

from sshrender.core.fingerprint import in_words
from sshrender.job.journal import journalentries as je
from sshrender.job.journal.journalformat import as_fields
from sshrender.job.queue.requestoperations import Operation, operation_of
from sshrender.views.plain import describe
from sshrender.views.text import clean, count, duration, on_pages

_OF_ALL_HOSTS = (je.RunStarted, je.RunEnded, je.StorageFailed, je.StorageRecovered)
"""Entries that belong into the history of every host."""

_VERBOSE = 2


def of_page(entries: Iterable[je.JournalEntry], page: int) -> list[je.JournalEntry]:
    """Return the entries that concern a page: sent, failed, returned, delivered, suspect, withdrawn."""
    # page_of() knows all entries with a page; fonts are reported for page lists.
    return [entry for entry in entries if je.page_of(entry) == page or _lacks_fonts(entry, page)]


def _lacks_fonts(entry: je.JournalEntry, page: int) -> bool:
    if not isinstance(entry, je.FontsMissing):
        return False
    return any(_is_in(page, pages) for pages in entry.fonts.values())


def _is_in(page: int, pages: str) -> bool:
    """Whether a canonical page list (``1-3,7``) has a page."""
    bounds = (run.partition("-") for run in pages.split(","))
    return any(int(first) <= page <= int(last or first) for first, _, last in bounds)


def of_host(entries: Iterable[je.JournalEntry], host: str) -> list[je.JournalEntry]:
    """Return the entries that concern a host, with those that concern all hosts between them.

    An empty list if no entry concerns this host in particular.
    """
    found = [
        entry for entry in entries if isinstance(entry, _OF_ALL_HOSTS) or host in je.hosts_of(entry)
    ]
    # Entries about all hosts alone do not make a history of this one.
    return found if any(not isinstance(entry, _OF_ALL_HOSTS) for entry in found) else []


def lines(entries: Iterable[je.JournalEntry]) -> Iterator[str]:
    """Yield each entry with its time of day, and the date when that changes."""
    date = ""
    for entry in entries:
        words = tell(entry)
        if words is None:
            continue
        # The date is printed once for each day, so lines stay short.
        day, clock = _when(entry)
        if day != date:
            date = day
            yield day
        yield f"  {clock}  {words}"


def tell(entry: je.JournalEntry) -> str | None:
    """Return an entry in words; None for one that says nothing to a user."""
    # Words of its own for what the progress lines leave out; for the rest their words.
    words = _of_run(entry)
    return words if words is not None else describe(entry, _VERBOSE)


def _of_run(entry: je.JournalEntry) -> str | None:
    match entry:
        case je.RunStarted():
            where = f" on {clean(entry.coordinator)}" if entry.coordinator else ""
            return f"run {entry.epoch} started{where}"
        case je.RunEnded():
            reason = f", {clean(entry.reason)}" if entry.reason else ""
            return f"run ended: {entry.state}{reason}"
        case je.RequestHandled():
            return _request(entry)
        case je.RequestsRefused():
            return "requests that were not signed with the owner's key were removed"
        case je.ThumbnailsLost():
            return f"{count(entry.count, 'thumbnail')} could not be written: {clean(entry.reason)}"
        case je.FolderNotSynced():
            return f"the storage cannot flush the names of pages: {clean(entry.reason)}"
        case je.ReferenceChosen():
            hosts = "1 host agrees" if entry.agreed == 1 else f"{entry.agreed} hosts agree"
            return f"test page: {hosts} ({clean(in_words(entry.ghostscript))}); others must match"
        case je.FontsMissing():
            named = ", ".join(on_pages(font, pages) for font, pages in entry.fonts.items())
            fonts = "font" if len(entry.fonts) == 1 else "fonts"
            return f"{fonts} not in the PDF, replaced: {clean(named)}"
        case je.PageEntry():
            return _of_page(entry)
        case _:
            return None


def _of_page(entry: je.PageEntry) -> str | None:
    match entry:
        # The first sending of a page says nothing; a second one beside it does.
        case je.PageSent() if entry.because:
            return f"page {entry.page} also sent to {clean(entry.host)}: {clean(entry.because)}"
        case je.PageReturned():
            return f"page {entry.page} taken back from {clean(entry.host)}: {clean(entry.reason)}"
        case je.AttemptDropped():
            return f"page {entry.page} on {clean(entry.host)} stopped: {clean(entry.reason)}"
        case je.PageDelivered() if entry.diagnostics:
            said = clean("; ".join(entry.diagnostics))
            return f"page {entry.page} delivered from {clean(entry.host)}, suspect: {said}"
        case je.DocumentReopening():
            host = clean(entry.host)
            if entry.is_over:
                return f"host {host} has opened the document again after page {entry.page}"
            return (
                f"host {host} opens the document again after page {entry.page}, to learn what"
                f" Ghostscript reports of it; opening took {duration(entry.seconds)} before"
            )
        case je.PageWithdrawn():
            host, reason = clean(entry.host or "its host"), clean(entry.reason)
            return f"page {entry.page} of {host} removed, to be rendered again: {reason}"
        case je.PageFailed():
            attempts = count(entry.attempts, "attempt")
            return f"page {entry.page} failed after {attempts}: {clean(entry.reason)}"
        case je.PageFellBack():
            to, reason = clean(entry.to), clean(entry.reason)
            return f"page {entry.page} is rendered by {to} from now on: {reason}"
        case _:
            return None


def time_of_day(entry: je.JournalEntry) -> str:
    """Return ``12:00:00``, in the time zone of this machine."""
    return _when(entry)[1][:8]


def _when(entry: je.JournalEntry) -> tuple[str, str]:
    """Return date and time of day, in the time zone of this machine."""
    moment = entry.moment.astimezone()
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S.%f")[:-3]


def _request(entry: je.RequestHandled) -> str:
    note = f": {clean(entry.note)}" if entry.note else ""
    late = ", too late: the run had ended" if entry.is_late else ""
    return f"{clean(entry.by)} requested: {_what(entry)}{note}{late}"


def _what(entry: je.RequestHandled) -> str:  # noqa: C901 - one case for each operation
    operation = operation_of(entry.op)
    match operation:
        case None:
            # An entry of a later version of the program: its own name is the best word.
            return clean(entry.op)  # of a later version
        case Operation.HOLD:
            return "hold"
        case Operation.RELEASE:
            return "release"
        case Operation.CANCEL:
            return "cancel"
        case Operation.RESUBMIT:
            return "queue again"
        case Operation.ALTER:
            return f"change {clean(_changes(entry))}"
        case Operation.REMARK:
            return "note why it waits"
        case Operation.DRAIN:
            return f"drain {clean(entry.host)}"
        case Operation.UNDRAIN:
            return f"undrain {clean(entry.host)}"
        case Operation.RETRY:
            return f"retry page {entry.page}"
        case Operation.MOVE:
            return f"render page {entry.page} on {clean(entry.host)}"
        case _:
            assert_never(operation)


def _changes(entry: je.RequestHandled) -> str:
    """Return changes of attributes as ``priority 7, limit none``."""
    return ", ".join(
        f"{key} {'none' if value is None else value}" for key, value in entry.changes.items()
    )


def as_json(entries: Iterable[je.JournalEntry]) -> list[dict[str, Any]]:
    """Return the entries as in the journal, each with its words."""
    return [{**as_fields(entry), "words": tell(entry)} for entry in entries]
