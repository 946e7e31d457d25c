"""The pages of a job and the order in which they are sent.

Unconstrained pages, which any host may render, are sent in page order, from a heap. Constrained pages,
which failed somewhere or are pinned, are searched for one that suits a host (constrainedpages.py). Parts
of the document are counted for hosts that get them copied (pageparts.py).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable

from sshrender.core.constrainedpages import ConstrainedPages, Constraint
from sshrender.core.pageparts import PageParts
from sshrender.core.records import Page
from sshrender.core.states import FINISHED, PageState

_TO_BE_SENT = frozenset({PageState.UNREADY, PageState.WAITING})


class PageQueue:
    """All pages by number, and which is next.

    ``pages_per_part``: pages in each part of the document that is copied to hosts without a SAN; 0: the
    whole document is one part.
    """

    def __init__(self, numbers: Iterable[int], ready: bool, pages_per_part: int = 0) -> None:
        state = PageState.WAITING if ready else PageState.UNREADY
        self.pages = {number: Page(number, state) for number in numbers}
        self.constrained = ConstrainedPages()
        """The waiting pages that not every host may render."""
        self.parts = PageParts(pages_per_part)
        # A sorted list is a heap.
        self._unconstrained = sorted(self.pages) if ready else []
        self._unconstrained_count = len(self._unconstrained)
        for number in self._unconstrained:
            self.parts.count_waiting(number, 1)
        self.counts = Counter({state: len(self.pages)})
        self.finished_count = 0
        """Pages in a final state."""
        self.cost_to_send = float(len(self.pages))
        """The cost of all pages that no host has yet."""

    def __getitem__(self, number: int) -> Page:
        return self.pages[number]

    def move(self, page: Page, state: PageState) -> None:
        """Put a page into another state; WAITING queues it again, by its constraint as it is now."""
        before = page.state
        # Also called with the same state: the constraint may have changed, and the queue below has to
        # follow.
        if before is not state:
            self.counts[before] -= 1
            self.counts[state] += 1
            self.finished_count += (state in FINISHED) - (before in FINISHED)
            self.cost_to_send += page.cost * ((state in _TO_BE_SENT) - (before in _TO_BE_SENT))
            page.state = state
        # Read before the constrained pages change: it depends on them.
        was_unconstrained = before is PageState.WAITING and page.number not in self.constrained
        is_unconstrained = False
        if state is not PageState.WAITING:
            self.constrained.discard(page.number)
        elif page.is_constrained:
            self.constrained.add(page)
        else:
            is_unconstrained = True
            self.constrained.discard(page.number)
            # The heap is not searched for an older entry of the page: it is dropped when read.
            heapq.heappush(self._unconstrained, page.number)
        change = is_unconstrained - was_unconstrained
        if change:
            self._unconstrained_count += change
            self.parts.count_waiting(page.number, change)

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
        return self.finished_count == len(self.pages)

    def has_unconstrained(self) -> bool:
        """Return whether an unconstrained page is waiting."""
        return self._unconstrained_count > 0

    def has_waiting(self) -> bool:
        """Return whether any page is waiting."""
        return self.counts[PageState.WAITING] > 0

    def next_constrained(self, suits: Callable[[Constraint], bool]) -> Page | None:
        """Return the constrained page that waits longest, of those that suit; None without one."""
        number = self.constrained.first(suits) if self.constrained else None
        return None if number is None else self.pages[number]

    def next_unconstrained(self) -> Page | None:
        """Return the next unconstrained page, the same one until it is moved; None without one."""
        self._drop_stale()
        return self.pages[self._unconstrained[0]] if self._unconstrained else None

    def next_in_part(self, part: int) -> Page | None:
        """Return the first waiting unconstrained page of a part; None without one."""
        if not self.parts.size:
            return self.next_unconstrained()
        if not self.parts.has_waiting(part):
            return None
        pages = (self.pages.get(number) for number in self.parts.numbers(part))
        return next((page for page in pages if page and self._is_unconstrained(page)), None)

    def next_in_untouched_part(self, from_end: bool) -> Page | None:
        """Return the first waiting unconstrained page of a part that no host has; None without one."""
        part = self.parts.untouched(from_end)
        return None if part is None else self.next_in_part(part)

    def _drop_stale(self) -> None:
        """Remove stale pages from the head of the heap.

        They were sent or constrained after they had been pushed.
        """
        # Each entry is removed once; pages that wait again are pushed again.
        while self._unconstrained and not self._is_unconstrained(self.pages[self._unconstrained[0]]):
            heapq.heappop(self._unconstrained)

    def _is_unconstrained(self, page: Page) -> bool:
        return page.state is PageState.WAITING and page.number not in self.constrained
