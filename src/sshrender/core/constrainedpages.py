"""The waiting pages that not every host may render, in groups of pages with the same constraint.

Pages that failed on the same hosts, or are pinned to the same hosts, suit the same hosts. So a host is
compared with each group, not with each page: a document on which every page fails once has as many
groups as hosts, however many pages it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sshrender.core.records import Host, Page


class Constraint(NamedTuple):
    """The properties of a page that decide which hosts suit it."""

    pinned_to: frozenset[str] | None
    """The only hosts that may render it; None: all."""
    failed_on: frozenset[str]
    """Hosts that get it only if there is no other way (``Page.failed_on``)."""
    renderer: int
    """The index of the recipe that renders it."""

    @classmethod
    def of(cls, page: Page) -> Constraint:
        """Return the constraint of a page as it is now."""
        return cls(page.pinned_to, page.failed_hosts(), page.renderer)

    def allows(self, host: Host) -> bool:
        """Return whether the host may render such a page at all, as far as is known."""
        is_pinned_elsewhere = self.pinned_to is not None and host.name not in self.pinned_to
        # Before the handshake it is unknown what the host can run: then it may be able to.
        return not is_pinned_elsewhere and (host.renderers is None or self.renderer in host.renderers)


class ConstrainedPages:
    """Waiting constrained pages by constraint. The page that has waited longest goes first."""

    def __init__(self) -> None:
        self._groups: dict[Constraint, dict[int, int]] = {}
        self._constraints: dict[int, Constraint] = {}
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._constraints)

    def __contains__(self, number: int) -> bool:
        return number in self._constraints

    def add(self, page: Page) -> None:
        """Add a page, or take in that its constraint has changed."""
        constraint = Constraint.of(page)
        # A page whose constraint is unchanged keeps its place; with a new one it goes to the end.
        if self._constraints.get(page.number) != constraint:
            self.discard(page.number)
            self._constraints[page.number] = constraint
            self._groups.setdefault(constraint, {})[page.number] = next(self._order)

    def discard(self, number: int) -> None:
        """Remove a page, if it is there."""
        constraint = self._constraints.pop(number, None)
        if constraint is not None:
            group = self._groups[constraint]
            del group[number]
            # An empty group would be compared with hosts for the rest of the run.
            if not group:
                del self._groups[constraint]

    def constraints(self) -> Iterable[Constraint]:
        """Return the constraints that pages wait with."""
        return self._groups

    def count(self, suits: Callable[[Constraint], bool]) -> int:
        """Return how many pages wait with a constraint that suits."""
        return sum(len(group) for each, group in self._groups.items() if suits(each))

    def first(self, suits: Callable[[Constraint], bool]) -> int | None:
        """Return the page that has waited longest, of those whose constraint suits; None without one."""
        # A group is in the order of waiting, so that its first page stands for all of it.
        heads = (next(iter(group.items())) for each, group in self._groups.items() if suits(each))
        return min(heads, key=lambda head: head[1], default=(None, 0))[0]
