"""Define the entries of a job's journal, one frozen dataclass for each type.

The annotation of a field names the check that its value has to pass when it is read (journalchecks.py).
A field without a default is required: an entry that lacks it, or holds something else in it, is damaged.
A field with a default is left at its default then. journalformat.py reads and writes entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar

from sshrender.job.journal.journalchecks import (
    Bytes,
    Changes,
    Count,
    FileName,
    Flag,
    Fonts,
    Loads,
    Number,
    Text,
    Texts,
    check_bytes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """The fields of every entry. ``time``: UTC, as ``2026-01-31T12:00:00.123Z``.

    ``epoch``: of the coordinator that wrote it; None if a request was handled without a coordinator. A
    writer leaves both out: JournalRecorder sets them with ``stamped``.
    """

    # ClassVars: fields of the class, not of the dataclass, so that no entry stores them.
    type: ClassVar[str] = ""
    """The name in the file."""

    required: ClassVar[frozenset[str]] = frozenset()
    """Fields with a default that an entry of a journal needs anyway."""

    time: Text = ""
    epoch: Annotated[int | None, check_bytes] = None

    @property
    def moment(self) -> datetime:
        """Its time."""
        return datetime.fromisoformat(self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEntry(JournalEntry):
    """An entry that concerns one page."""

    page: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEntry(PageEntry):
    """An entry that concerns one attempt: of this page, on this host."""

    host: Text
    attempt: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(JournalEntry):
    """A coordinator began a run of ``pages`` pages, with these hosts in its inventory."""

    type: ClassVar[str] = "run_started"
    # JournalRecorder sets it after the entry was made, hence its default. A run without one cannot be
    # told from its predecessor.
    required: ClassVar[frozenset[str]] = frozenset({"epoch"})
    coordinator: Text = ""
    output: Text = ""
    pages: Count = 0
    hosts: Texts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(JournalEntry):
    """A run ended. ``state``: one of the states that ``render --json`` prints."""

    type: ClassVar[str] = "run_ended"
    state: Text
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected(JournalEntry):
    """A host completed the handshake. ``memory`` in bytes; ``load``: other people's runnable threads.

    ``canary`` and ``fonts``: digests of its test page and of its fonts (core/fingerprint.py). ``node``:
    the node of a pilot of a batch system.
    """

    type: ClassVar[str] = "host_connected"
    host: Text
    cores: Count
    ghostscript: Text
    python: Text
    slots: Count = 0
    memory: Bytes = 0
    load: Number = 0.0
    boot_id: Text = ""
    node: Text = ""
    canary: Text = ""
    fonts: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStateChanged(JournalEntry):
    """A host is in this state from now on (core/states.py)."""

    type: ClassVar[str] = "host_state"
    host: Text
    state: Text
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsSampled(JournalEntry):
    """Threads per core by host: other people's and our own."""

    type: ClassVar[str] = "hosts_sampled"
    loads: Loads


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSent(AttemptEntry):
    """An attempt was sent. ``because``: the reason, if another host renders the page already."""

    type: ClassVar[str] = "page_sent"
    because: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReturned(AttemptEntry):
    """The page waits again, without a failure."""

    type: ClassVar[str] = "page_returned"
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDropped(AttemptEntry):
    """An attempt ended because the page does not need it. ``is_hedged``: another host was faster."""

    type: ClassVar[str] = "attempt_dropped"
    reason: Text
    is_hedged: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(AttemptEntry):
    """An attempt failed. ``kind``: a FailureKind (core/states.py)."""

    type: ClassVar[str] = "attempt_failed"
    kind: Text
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDelivered(PageEntry):
    """A page was verified, published and delivered. ``seconds`` and ``cpu`` (seconds) of its renderer.

    ``host`` and ``attempt`` are empty if a coordinator adopted a page that another one had published
    just before it died.
    """

    type: ClassVar[str] = "page_delivered"
    host: Text
    # Empty for a page that was adopted: no attempt of this coordinator made it.
    attempt: Text = ""
    file: FileName
    bytes: Bytes
    sha256: Text
    width: Count
    height: Count
    ghostscript: Text
    renderer: Text = "ghostscript"
    renderer_version: Text = ""
    seconds: Number
    cpu: Number = 0.0
    attempts: Count
    diagnostics: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWithdrawn(PageEntry):
    """A delivered page was removed, because its host was outvoted; it is rendered again."""

    type: ClassVar[str] = "page_withdrawn"
    host: Text
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSuspected(PageEntry):
    """Ghostscript reported these problems of a page after it was delivered."""

    type: ClassVar[str] = "page_suspected"
    diagnostics: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFailed(PageEntry):
    """A page failed for good, after ``attempts`` attempts on these hosts."""

    type: ClassVar[str] = "page_failed"
    kind: Text
    reason: Text
    attempts: Count
    hosts: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWaits(PageEntry):
    """A rendered page waits for this reason, and is tried again for at most ``waits`` seconds."""

    type: ClassVar[str] = "page_waits"
    reason: Text
    waits: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFellBack(PageEntry):
    """Another renderer, the recipe ``to``, renders the page from now on."""

    type: ClassVar[str] = "page_fell_back"
    to: Text
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDiagnosed(JournalEntry):
    """Ghostscript reported these problems of the document as a whole."""

    type: ClassVar[str] = "document_diagnosed"
    host: Text = ""
    diagnostics: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReopening(PageEntry):
    """A slot of a host opens the document again after this page, and renders nothing meanwhile.

    Ghostscript reports some problems of a page only when the document is closed. ``seconds``: how long
    opening it took before. ``is_over``: the document is open again.
    """

    type: ClassVar[str] = "document_reopening"
    host: Text
    seconds: Number
    is_over: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class FontsMissing(JournalEntry):
    """Fonts that are not in the document, each with the pages that use it, as in ``1-3,7``."""

    type: ClassVar[str] = "fonts_missing"
    fonts: Fonts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceChosen(JournalEntry):
    """``agreed`` hosts have this fingerprint; from now on other hosts must have it, too."""

    type: ClassVar[str] = "reference_chosen"
    agreed: Count
    ghostscript: Text
    canary: Text
    fonts: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFailed(JournalEntry):
    """The storage failed; the run pauses, and waits ``waits`` seconds for it before it ends."""

    type: ClassVar[str] = "storage_failed"
    reason: Text
    waits: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageRecovered(JournalEntry):
    """The storage works again; the run continues."""

    type: ClassVar[str] = "storage_recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSuspected(JournalEntry):
    """Pages cannot be written though the storage works: none is sent for ``waits`` seconds.

    ``host``: the one that could not write; empty if it was the coordinator's machine.
    """

    type: ClassVar[str] = "storage_suspected"
    reason: Text
    waits: Number
    host: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsAwaited(JournalEntry):
    """No host is usable; the run waits ``waits`` seconds for one before it ends.

    0: it does not wait any more, or without a limit.
    """

    type: ClassVar[str] = "hosts_awaited"
    waits: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFailed(JournalEntry):
    """The document could not be split; pages without a part are rendered from the whole document."""

    type: ClassVar[str] = "split_failed"
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderNotSynced(JournalEntry):
    """A folder cannot be flushed: the names of pages may be lost if the machine crashes."""

    type: ClassVar[str] = "folder_not_synced"
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailsLost(JournalEntry):
    """``count`` thumbnails could not be written."""

    type: ClassVar[str] = "thumbnails_lost"
    count: Count
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsRefused(JournalEntry):
    """``count`` files in ``requests/`` were not requests of the job's owner, and were removed."""

    type: ClassVar[str] = "requests_refused"
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHandled(JournalEntry):
    """A request was handled (requests.py). ``is_late``: the run that it was meant for had ended."""

    type: ClassVar[str] = "requested"
    op: Text
    by: Text
    host: Text
    page: Count
    note: Text
    is_late: Flag
    changes: Changes = field(default_factory=dict)
    id: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotsRequested(JournalEntry):
    """An array of ``count`` pilots, from index ``first``, is about to be submitted under this name.

    ``array``: its id, which a replay adds when the batch system has given it.
    """

    type: ClassVar[str] = "pilots_requested"
    pool: Text
    name: FileName
    count: Count
    first: Count = 0
    array: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotsSubmitted(JournalEntry):
    """The batch system has accepted an array; ``array``: its id, empty if the answer was lost."""

    type: ClassVar[str] = "pilots_submitted"
    pool: Text
    name: FileName
    array: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotsEnded(JournalEntry):
    """No pilot of an array waits or runs any more. ``reason``: why it was refused, if it was."""

    type: ClassVar[str] = "pilots_ended"
    pool: Text
    name: FileName
    reason: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReported(JournalEntry):
    """Pilots of a pool: how many wait and run, why they wait, and when one is expected to start."""

    type: ClassVar[str] = "pool_reported"
    pool: Text
    waiting: Count
    running: Count
    reason: Text = ""
    start: Text = ""


def waits_in_queue(pools: Iterable[PoolReported]) -> str:
    """Return that pilots wait in the queue of a batch system, while none of any pool runs, and why."""
    pools = list(pools)
    waiting = sum(pool.waiting for pool in pools)
    if not waiting or any(pool.running for pool in pools):
        return ""
    reason = next((pool.reason for pool in pools if pool.reason), "")
    start = min((pool.start for pool in pools if pool.start), default="")
    why = [reason] if reason else []
    why += [f"expected to start {start}"] if start else []
    return f"{waiting} waiting in the queue" + (f": {'; '.join(why)}" if why else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEntry(JournalEntry):
    """An entry of a type that this version does not know, perhaps of a later one."""

    name: Text
    fields: Mapping[str, Any] = field(default_factory=dict)


TYPES: Mapping[str, type[JournalEntry]] = {
    each.type: each
    for each in (
        RunStarted,
        RunEnded,
        HostConnected,
        HostStateChanged,
        HostsSampled,
        PageSent,
        PageReturned,
        AttemptDropped,
        AttemptFailed,
        PageDelivered,
        PageWithdrawn,
        PageSuspected,
        PageFailed,
        PageWaits,
        PageFellBack,
        DocumentDiagnosed,
        DocumentReopening,
        FontsMissing,
        ReferenceChosen,
        StorageFailed,
        StorageSuspected,
        HostsAwaited,
        StorageRecovered,
        SplitFailed,
        FolderNotSynced,
        ThumbnailsLost,
        RequestsRefused,
        RequestHandled,
        PilotsRequested,
        PilotsSubmitted,
        PilotsEnded,
        PoolReported,
    )
}
"""Every type that the coordinator writes, by its name in the file."""


def page_of(entry: JournalEntry) -> int | None:
    """Return the page that an entry concerns; None if it concerns none. A request for none has 0."""
    match entry:
        case PageEntry() | RequestHandled():
            return entry.page
        case UnknownEntry():
            # fields holds checked values (journalformat.py, _IN_UNKNOWN).
            page: int | None = entry.fields.get("page")
            return page
        case _:
            return None


def hosts_of(entry: JournalEntry) -> tuple[str, ...]:
    """Return the hosts that an entry concerns."""
    fields = entry.fields if isinstance(entry, UnknownEntry) else None
    host = getattr(entry, "host", "") if fields is None else fields.get("host", "")
    hosts = getattr(entry, "hosts", ()) if fields is None else fields.get("hosts", ())
    return (host, *hosts) if host else tuple(hosts)
