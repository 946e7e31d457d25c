"""Which pages are drawn a second time, small: as many as a bounded share of the drawing pays for.

A page that is slow for what is in it, not for its many pixels, is nearly as slow when it is drawn
small. Such pages use up what is left to spend, and then there are no thumbnails until it has grown.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

SHARE = 0.12
"""Of the time that pages take: thumbnails may cost 15 % in all, and what follows them costs too."""

CREDIT = 0.25
"""Seconds that may be spent before anything was drawn: the first thumbnail loads what others reuse."""

MAX_SIZE = 96 * 1024
"""Bytes of a thumbnail that is worth sending: an ordinary one has 10 KiB."""


class ThumbnailBudget:
    """What one slot may spend, in seconds."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._left = CREDIT

    def allows_another(self) -> bool:
        """Whether the next page may be drawn twice."""
        return self._is_wanted and self._left > 0

    def earn(self, seconds: float) -> None:
        """A page was drawn."""
        self._left += SHARE * seconds

    def spend(self, seconds: float) -> None:
        """A thumbnail was drawn."""
        self._left -= seconds

    def give_up(self) -> None:
        """Thumbnails do harm here: a renderer died of one."""
        self._is_wanted = False
