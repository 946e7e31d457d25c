"""The pages of a job and the order in which they are sent.

Unconstrained pages, which any host may render, are sent in page order, from a heap. Constrained pages,
which failed somewhere or are pinned, are few, and are searched for one that suits a host.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable

from sshrender.core.records import Page
from sshrender.core.states import FINISHED, PageState

_TO_BE_SENT = frozenset({PageState.UNREADY, PageState.WAITING})


class PageQueue:
    """All pages by number, and which is next.

    ``pages_per_part``: pages in each part of the document that is copied to hosts without a SAN; 0: the
    whole document is one part.
    """

    def __init__(self, numbers: Iterable[int], ready: bool, pages_per_part: int = 0) -> None:
        self._pages_per_part = pages_per_part
        state = PageState.WAITING if ready else PageState.UNREADY
        self.pages = {number: Page(number, state) for number in numbers}
        self._unconstrained = sorted(self.pages) if ready else []
        self._constrained: list[int] = []
        self.counts = Counter(page.state for page in self.pages.values())
        self.cost_to_send = float(len(self.pages))
        """The cost of all pages that no host has yet."""

    def __getitem__(self, number: int) -> Page:
        return self.pages[number]

    def move(self, page: Page, state: PageState) -> None:
        """Put a page into another state; WAITING queues it again."""
        self.counts[page.state] -= 1
        self.counts[state] += 1
        self.cost_to_send += page.cost * ((state in _TO_BE_SENT) - (page.state in _TO_BE_SENT))
        page.state = state
        if state is PageState.WAITING:
            # Neither list is searched for older entries of the page: they are dropped when read.
            if page.is_constrained:
                self._constrained.append(page.number)
            else:
                heapq.heappush(self._unconstrained, page.number)

    def pin(self, page: Page, hosts: frozenset[str]) -> None:
        """Allow only these hosts to render the page."""
        page.pinned_to = hosts
        if page.state is PageState.WAITING:
            self.move(page, PageState.WAITING)

    def set_cost(self, page: Page, cost: float) -> None:
        """Set the cost of a page, unless a host has it: sums of costs in flight must stay consistent."""
        if page.state in _TO_BE_SENT:
            self.cost_to_send += cost - page.cost
            page.cost = cost

    def is_finished(self) -> bool:
        """Return whether every page is in a final state."""
        return sum(self.counts[state] for state in FINISHED) == len(self.pages)

    def has_unconstrained(self) -> bool:
        """Return whether an unconstrained page is waiting."""
        self._drop_stale()
        return bool(self._unconstrained)

    def has_waiting(self) -> bool:
        """Return whether any page is waiting."""
        return self.counts[PageState.WAITING] > 0

    def constrained(self) -> list[Page]:
        """Return the waiting constrained pages, in the order in which they became so."""
        kept = dict.fromkeys(  # without duplicates, in order
            number for number in self._constrained if self.pages[number].state is PageState.WAITING
        )
        self._constrained = list(kept)
        return [self.pages[number] for number in self._constrained]

    def next_unconstrained(self) -> Page | None:
        """Return the next unconstrained page, the same one until it is moved; None without one."""
        self._drop_stale()
        return self.pages[self._unconstrained[0]] if self._unconstrained else None

    def part_of(self, page: Page) -> int:
        """Return the number of the part that holds the page."""
        return (page.number - 1) // self._pages_per_part if self._pages_per_part else 0

    def next_in_part(self, part: int) -> Page | None:
        """Return the first waiting unconstrained page of a part; None without one."""
        if not self._pages_per_part:
            return self.next_unconstrained()
        for number in range(part * self._pages_per_part + 1, (part + 1) * self._pages_per_part + 1):
            page = self.pages.get(number)
            if page is not None and self._is_unconstrained(page):
                return page
        return None

    def next_in_unstaged_part(self, taken: Collection[int], from_end: bool) -> Page | None:
        """Return the first waiting unconstrained page of a part that is not in ``taken``."""
        if not self._pages_per_part or not self._unconstrained:
            return None
        parts = range((max(self.pages) - 1) // self._pages_per_part + 1)
        for part in reversed(parts) if from_end else parts:
            if part not in taken and (page := self.next_in_part(part)) is not None:
                return page
        return None

    def _drop_stale(self) -> None:
        """Remove stale pages from the head of the heap.

        They were sent or constrained after they had been pushed.
        """
        while self._unconstrained and not self._is_unconstrained(self.pages[self._unconstrained[0]]):
            heapq.heappop(self._unconstrained)

    @staticmethod
    def _is_unconstrained(page: Page) -> bool:
        return page.state is PageState.WAITING and not page.is_constrained
