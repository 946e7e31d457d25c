"""Limits the time that a slot spends on thumbnails to a share of its rendering time.

A thumbnail is the page rendered again, small. A page that is slow because of its contents, not of its
many pixels, takes nearly as long again. Such pages use up the budget, and then there are no thumbnails
until it has grown again.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

SHARE = 0.12
"""Share of the time that pages take. With sending and writing, thumbnails may cost 15 %."""

CREDIT = 0.25
"""Seconds that may be spent at first: the first thumbnail loads what the others reuse."""

MAX_SIZE = 96 * 1024
"""Bytes of a thumbnail that is sent; an ordinary one has 10 KiB."""


class ThumbnailBudget:
    """The seconds that one slot may spend on thumbnails."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        # Below zero after an expensive thumbnail: pages have to earn that before the next one.
        self._left = CREDIT

    def allows_another(self) -> bool:
        """Return whether the next page may get a thumbnail."""
        return self._is_wanted and self._left > 0

    def earn(self, seconds: float) -> None:
        """Add the share of a page's rendering time."""
        self._left += SHARE * seconds

    def spend(self, seconds: float) -> None:
        """Subtract the time that a thumbnail took."""
        self._left -= seconds

    def give_up(self) -> None:
        """Allow no more thumbnails: a renderer crashed while it made one."""
        self._is_wanted = False
