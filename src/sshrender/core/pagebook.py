"""The pages of a job and the order in which they are handed out.

Pages that never failed go first-come in page order, from a heap; pages that failed before are few,
and are looked through for one that this host may take.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

from sshrender.core.records import Page
from sshrender.core.states import SETTLED, PageState


class PageBook:
    """All pages by number, and who is next."""

    def __init__(self, numbers: Iterable[int], ready: bool) -> None:
        state = PageState.WAITING if ready else PageState.UNREADY
        self.pages = {number: Page(number, state) for number in numbers}
        self._fresh = sorted(self.pages) if ready else []
        self._troubled: list[int] = []
        self.counts = Counter(page.state for page in self.pages.values())

    def __getitem__(self, number: int) -> Page:
        return self.pages[number]

    def move(self, page: Page, state: PageState) -> None:
        """Put a page into another state; a WAITING one is queued again."""
        self.counts[page.state] -= 1
        self.counts[state] += 1
        page.state = state
        if state is PageState.WAITING:
            if page.failures:
                self._troubled.append(page.number)
            else:
                heapq.heappush(self._fresh, page.number)

    def is_settled(self) -> bool:
        """Whether no page is left to wait for."""
        return sum(self.counts[state] for state in SETTLED) == len(self.pages)

    def has_fresh(self) -> bool:
        """Whether a page that never failed is waiting."""
        self._drop_stale()
        return bool(self._fresh)

    def has_waiting(self) -> bool:
        """Whether any page is waiting."""
        return self.counts[PageState.WAITING] > 0

    def troubled(self) -> list[Page]:
        """The waiting pages that failed before, oldest trouble first."""
        self._troubled = [
            number for number in self._troubled if self.pages[number].state is PageState.WAITING
        ]
        return [self.pages[number] for number in self._troubled]

    def take_fresh(self) -> Page | None:
        """The next page that never failed; it stays WAITING until it is moved."""
        self._drop_stale()
        return self.pages[heapq.heappop(self._fresh)] if self._fresh else None

    def _drop_stale(self) -> None:
        while self._fresh and self.pages[self._fresh[0]].state is not PageState.WAITING:
            heapq.heappop(self._fresh)
