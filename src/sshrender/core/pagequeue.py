"""The pages of a job and the order in which they are handed out.

Pages that any host may draw go in page order, from a heap; pages that are particular about it (they
failed somewhere, or are pinned) are few, and are looked through for one that a host may take.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable

from sshrender.core.records import Page
from sshrender.core.states import SETTLED, PageState

_TO_BE_SENT = frozenset({PageState.UNREADY, PageState.WAITING})


class PageQueue:
    """All pages by number, and who is next. ``bundle``: pages that travel in one file; 0: all."""

    def __init__(self, numbers: Iterable[int], ready: bool, bundle: int = 0) -> None:
        self._bundle = bundle
        state = PageState.WAITING if ready else PageState.UNREADY
        self.pages = {number: Page(number, state) for number in numbers}
        self._fresh = sorted(self.pages) if ready else []
        self._constrained: list[int] = []
        self.counts = Counter(page.state for page in self.pages.values())
        self.work_to_send = float(len(self.pages))
        """What nobody has yet, in pages of A4."""

    def __getitem__(self, number: int) -> Page:
        return self.pages[number]

    def move(self, page: Page, state: PageState) -> None:
        """Put a page into another state; a WAITING one is queued again."""
        self.counts[page.state] -= 1
        self.counts[state] += 1
        self.work_to_send += page.work * ((state in _TO_BE_SENT) - (page.state in _TO_BE_SENT))
        page.state = state
        if state is PageState.WAITING:
            if page.is_constrained:
                self._constrained.append(page.number)
            else:
                heapq.heappush(self._fresh, page.number)

    def pin(self, page: Page, hosts: frozenset[str]) -> None:
        """From now on only these hosts may draw it."""
        page.only = hosts
        if page.state is PageState.WAITING:
            self.move(page, PageState.WAITING)

    def weigh(self, page: Page, work: float) -> None:
        """How much there is to draw on it has become known. Only for pages that nobody has."""
        if page.state in _TO_BE_SENT:
            self.work_to_send += work - page.work
            page.work = work

    def is_finished(self) -> bool:
        """Whether no page is left to wait for."""
        return sum(self.counts[state] for state in SETTLED) == len(self.pages)

    def has_fresh(self) -> bool:
        """Whether a page is waiting that any host may draw."""
        self._drop_stale()
        return bool(self._fresh)

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

    def next_fresh(self) -> Page | None:
        """The next page that any host may draw; the same one until it is moved."""
        self._drop_stale()
        return self.pages[self._fresh[0]] if self._fresh else None

    def bundle_of(self, page: Page) -> int:
        """Which of the document's parts a host without a SAN is fed for this page."""
        return (page.number - 1) // self._bundle if self._bundle else 0

    def next_fresh_in(self, bundle: int) -> Page | None:
        """The first page of a part that any host may draw."""
        if not self._bundle:
            return self.next_fresh()
        for number in range(bundle * self._bundle + 1, (bundle + 1) * self._bundle + 1):
            page = self.pages.get(number)
            if page is not None and self._is_fresh(page):
                return page
        return None

    def next_fresh_outside(self, taken: Collection[int], from_end: bool) -> Page | None:
        """The first page of a part that nobody has been fed."""
        if not self._bundle or not self._fresh:
            return None
        bundles = range((max(self.pages) - 1) // self._bundle + 1)
        for bundle in reversed(bundles) if from_end else bundles:
            if bundle not in taken and (page := self.next_fresh_in(bundle)) is not None:
                return page
        return None

    def _drop_stale(self) -> None:
        while self._fresh and not self._is_fresh(self.pages[self._fresh[0]]):
            heapq.heappop(self._fresh)

    @staticmethod
    def _is_fresh(page: Page) -> bool:
        return page.state is PageState.WAITING and not page.is_constrained
