"""Compute statistics of a job from its journal: bytes, pages a second, CPU time, retries, slowest pages.

Pure: entries in, numbers out. ``render --stats``, ``status JOB --stats`` and ``--json`` all show these.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sshrender.core.states import CHARGE_OF, Charge
from sshrender.job.journal import journalentries as je
from sshrender.views.text import clean, count, duration, size

MAX_SLOWEST = 5
"""Pages that are listed as the slowest."""

_CHARGED = frozenset(
    kind.value for kind, charge in CHARGE_OF.items() if charge in (Charge.PAGE, Charge.HOST)
)
"""Failures that count: the others follow from a pause, a request or a lack of memory."""


class JobStats:
    """The statistics of a job, over all its runs. ``pages``: those of the job. See Replay."""

    def __init__(self, pages: Collection[int]) -> None:
        self._pages = pages
        self._delivered: dict[int, je.PageDelivered] = {}
        self._sent: set[int] = set()
        self._attempts = self._retries = self._failed = self._rendered = 0
        self._cpu = self._render_seconds = 0.0
        self._hedges = self._hedges_won = 0
        self._hedged: dict[int, set[str]] = {}
        self._runs = 0
        self._seconds = 0.0
        self._began = self._last = 0.0

    def take(self, entry: je.JournalEntry) -> None:
        """See Replay.take. An entry of a page that is not the job's is ignored."""
        if isinstance(entry, je.RunStarted):
            # A run without RunEnded has crashed; it ends when the next one begins.
            self._end_run()
            self._began = self._last = entry.moment.timestamp()
        elif isinstance(entry, je.PageEntry) and entry.page in self._pages:
            self._take_of_page(entry)

    def _take_of_page(self, entry: je.PageEntry) -> None:
        # It may come when the document is closed, and is not a sign of work.
        if not isinstance(entry, je.PageSuspected):  # which may come long after the last page
            self._last = max(self._last, entry.moment.timestamp())
        match entry:
            case je.PageSent():
                self._page_sent(entry)
            case je.AttemptFailed(kind=kind) if kind in _CHARGED:
                self._failed += 1
            case je.PageDelivered():
                self._page_delivered(entry)
            case je.PageWithdrawn():
                self._delivered.pop(entry.page, None)
            case _:
                pass

    def _page_sent(self, entry: je.PageSent) -> None:
        self._attempts += 1
        # Only hedged attempts have a reason to be sent beside another one.
        if entry.because:
            self._hedges += 1
            self._hedged.setdefault(entry.page, set()).add(entry.attempt)
        else:
            # A page that was sent before without a hedge has failed or come back.
            self._retries += entry.page in self._sent
        self._sent.add(entry.page)

    def _page_delivered(self, entry: je.PageDelivered) -> None:
        self._delivered[entry.page] = entry
        if not entry.host:
            return  # adopted after a crash: what it took is not known
        self._rendered += 1
        self._cpu += entry.cpu
        self._render_seconds += entry.seconds
        self._hedges_won += entry.attempt in self._hedged.get(entry.page, ())

    def _end_run(self) -> None:
        """Add the run that ends to the total. One that sent or delivered no page took no time."""
        if self._last > self._began:
            self._seconds += self._last - self._began
            self._runs += 1
        self._began = self._last = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name. Call it after the last entry.

        ``seconds``: from the start of each run to its last page event. ``retries``: how often a page was
        sent again after it had failed or come back. ``hedges``: how often a page was also sent to a
        second host; ``hedges_won``: how often that one was faster.
        """
        self._end_run()
        found = self._delivered.values()
        # Equal times: the page with the lower number first.
        slowest = heapq.nlargest(MAX_SLOWEST, found, key=lambda each: (each.seconds, -each.page))
        rate = self._rendered / self._seconds if self._seconds else None
        return {
            "runs": self._runs,
            "seconds": round(self._seconds, 3),
            "pages": len(found),
            "bytes": sum(each.bytes for each in found),
            "pages_per_second": None if rate is None else round(rate, 3),
            "cpu_seconds": round(self._cpu, 3),
            "render_seconds": round(self._render_seconds, 3),
            "attempts": self._attempts,
            "failed_attempts": self._failed,
            "retries": self._retries,
            "hedges": self._hedges,
            "hedges_won": self._hedges_won,
            "slowest_pages": [
                {"page": each.page, "seconds": round(each.seconds, 3), "host": each.host}
                for each in slowest
                # Adopted pages have no host and no time.
                if each.host
            ],
        }


def of(entries: Iterable[je.JournalEntry], pages: Collection[int]) -> dict[str, Any]:
    """Return the statistics of a job with this journal."""
    stats = JobStats(pages)
    for entry in entries:
        stats.take(entry)
    return stats.as_json()


def lines(stats: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statistics in words: output, speed, processor time, problems, slowest pages."""
    pages = stats["pages"]
    each = f", {size(round(stats['bytes'] / pages))} each" if pages else ""
    yield f"  bytes     {size(stats['bytes'])} in {count(pages, 'page')}{each}"
    speed = stats["pages_per_second"]
    if speed is not None:
        words = f"{speed:.1f} pages/s" if speed >= 1 else f"{speed * 60:.1f} pages/min"
        yield f"  speed     {words}, {duration(stats['seconds'])} in {count(stats['runs'], 'run')}"
    per_page = f", {1000 * stats['cpu_seconds'] / pages:.0f} ms a page" if pages else ""
    yield (
        f"  CPU time  {stats['cpu_seconds']:.1f} s{per_page};"
        f" renderers worked for {stats['render_seconds']:.1f} s"
    )
    hedges = f"{stats['hedges']} on a second host, {stats['hedges_won']} of them faster"
    yield (
        f"  attempts  {stats['attempts']}: {stats['failed_attempts']} failed,"
        f" {count(stats['retries'], 'retry', 'retries')}, {hedges}"
    )
    if stats["slowest_pages"]:
        named = (
            f"page {page['page']} {page['seconds']:.2f} s on {clean(page['host'])}"
            for page in stats["slowest_pages"]
        )
        yield "  slowest   " + ", ".join(named)
