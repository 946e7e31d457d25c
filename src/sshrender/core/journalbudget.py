"""How many lines of the journal one host may cause besides its pages. Pure.

A page that is sent, delivered, or charged with a failure is work that the job asked for, and is bounded
by the job's pages. So is one that comes back because it was called back. What remains (states that
change, other pages that come back, late diagnostics) a host could repeat without end, so it has a
budget: some at once, more with each second and each verified page.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_LINES = 4000.0
"""At once: a host of 64 slots that is lost takes a thousand pages along in one moment."""

PER_SECOND = 5.0
PER_PAGE = 4.0


@dataclass(slots=True)
class JournalBudget:
    """``left``: lines at the moment ``at``, in seconds on the scheduler's clock."""

    left: float = MAX_LINES
    at: float = 0.0

    def spend(self, now: float) -> None:
        """The host caused a line."""
        self._earn(PER_SECOND * max(0.0, now - self.at))
        self.at = max(now, self.at)
        self.left -= 1.0

    def earn_page(self) -> None:
        """The host delivered a page."""
        self._earn(PER_PAGE)

    @property
    def is_exhausted(self) -> bool:
        """Whether it has caused more than it may."""
        return self.left < 0.0

    def _earn(self, lines: float) -> None:
        self.left = min(MAX_LINES, self.left + lines)
