"""Limits how many journal entries one host may cause besides those of its pages. Pure.

Entries about pages that are sent, delivered, charged or returned on request are bounded by the job's
pages. The others (changed states, unrequested returns, late diagnostics) a host could repeat without
end, so it has a budget: some at once, more with each second and each verified page.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_ENTRIES = 4000.0
"""Entries at once: when a host of 64 slots is lost, a thousand pages return to the queue in one
moment."""

PER_SECOND = 5.0
PER_PAGE = 4.0


@dataclass(slots=True)
class JournalBudget:
    """The budget of one host. ``left``: entries at the time ``at`` on the scheduler's clock."""

    left: float = MAX_ENTRIES
    at: float = 0.0

    def spend(self, now: float) -> None:
        """Count one entry that the host caused."""
        self._earn(PER_SECOND * max(0.0, now - self.at))
        self.at = max(now, self.at)
        self.left -= 1.0

    def earn_page(self) -> None:
        """Extend the budget for a page that the host delivered."""
        self._earn(PER_PAGE)

    @property
    def is_exhausted(self) -> bool:
        """Return whether the host caused more entries than it may."""
        return self.left < 0.0

    def _earn(self, lines: float) -> None:
        self.left = min(MAX_ENTRIES, self.left + lines)
