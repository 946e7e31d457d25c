"""The pages of a job and the order in which they are handed out.

Pages that any host may draw go in page order, from a heap; pages that are particular about it (they
failed somewhere, or are pinned) are few, and are looked through for one that a host may take.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable

from sshrender.core.records import Page
from sshrender.core.states import FINISHED, PageState

_TO_BE_SENT = frozenset({PageState.UNREADY, PageState.WAITING})


class PageQueue:
    """All pages by number, and who is next. ``part``: pages that travel in one file; 0: all."""

    def __init__(self, numbers: Iterable[int], ready: bool, pages_per_part: int = 0) -> None:
        self._pages_per_part = pages_per_part
        state = PageState.WAITING if ready else PageState.UNREADY
        self.pages = {number: Page(number, state) for number in numbers}
        self._unconstrained = sorted(self.pages) if ready else []
        self._constrained: list[int] = []
        self.counts = Counter(page.state for page in self.pages.values())
        self.cost_to_send = float(len(self.pages))
        """What nobody has yet, in pages of A4."""

    def __getitem__(self, number: int) -> Page:
        return self.pages[number]

    def move(self, page: Page, state: PageState) -> None:
        """Put a page into another state; a WAITING one is queued again."""
        self.counts[page.state] -= 1
        self.counts[state] += 1
        self.cost_to_send += page.cost * ((state in _TO_BE_SENT) - (page.state in _TO_BE_SENT))
        page.state = state
        if state is PageState.WAITING:
            if page.is_constrained:
                self._constrained.append(page.number)
            else:
                heapq.heappush(self._unconstrained, page.number)

    def pin(self, page: Page, hosts: frozenset[str]) -> None:
        """From now on only these hosts may draw it."""
        page.pinned_to = hosts
        if page.state is PageState.WAITING:
            self.move(page, PageState.WAITING)

    def set_cost(self, page: Page, cost: float) -> None:
        """How much there is to draw on it has become known. Only for pages that nobody has."""
        if page.state in _TO_BE_SENT:
            self.cost_to_send += cost - page.cost
            page.cost = cost

    def is_finished(self) -> bool:
        """Whether no page is left to wait for."""
        return sum(self.counts[state] for state in FINISHED) == len(self.pages)

    def has_unconstrained(self) -> bool:
        """Whether a page is waiting that any host may draw."""
        self._drop_stale()
        return bool(self._unconstrained)

    def has_waiting(self) -> bool:
        """Whether any page is waiting."""
        return self.counts[PageState.WAITING] > 0

    def constrained(self) -> list[Page]:
        """The waiting pages that not every host may draw, oldest trouble first."""
        kept = dict.fromkeys(
            number for number in self._constrained if self.pages[number].state is PageState.WAITING
        )
        self._constrained = list(kept)
        return [self.pages[number] for number in self._constrained]

    def next_unconstrained(self) -> Page | None:
        """The next page that any host may draw; the same one until it is moved."""
        self._drop_stale()
        return self.pages[self._unconstrained[0]] if self._unconstrained else None

    def part_of(self, page: Page) -> int:
        """Which of the document's parts a host without a SAN is staged_parts for this page."""
        return (page.number - 1) // self._pages_per_part if self._pages_per_part else 0

    def next_in_part(self, part: int) -> Page | None:
        """The first page of a part that any host may draw."""
        if not self._pages_per_part:
            return self.next_unconstrained()
        for number in range(part * self._pages_per_part + 1, (part + 1) * self._pages_per_part + 1):
            page = self.pages.get(number)
            if page is not None and self._is_unconstrained(page):
                return page
        return None

    def next_in_unstaged_part(self, taken: Collection[int], from_end: bool) -> Page | None:
        """The first page of a part that nobody has been staged_parts."""
        if not self._pages_per_part or not self._unconstrained:
            return None
        parts = range((max(self.pages) - 1) // self._pages_per_part + 1)
        for part in reversed(parts) if from_end else parts:
            if part not in taken and (page := self.next_in_part(part)) is not None:
                return page
        return None

    def _drop_stale(self) -> None:
        while self._unconstrained and not self._is_unconstrained(self.pages[self._unconstrained[0]]):
            heapq.heappop(self._unconstrained)

    @staticmethod
    def _is_unconstrained(page: Page) -> bool:
        return page.state is PageState.WAITING and not page.is_constrained
