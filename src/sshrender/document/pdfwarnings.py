"""Count pypdf's warnings while it reads a document.

It warns when it repairs a document. What it then says of a page's size is not proof against
Ghostscript's reading of it.
"""

from __future__ import annotations

import logging


class PdfWarnings(logging.Handler):
    """Counts pypdf's warnings, and keeps them off the user's terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, _record: logging.LogRecord) -> None:
        """Count a warning."""
        self.count += 1


def listen() -> PdfWarnings:
    """Return a new counter of the warnings from now on; earlier counters keep what they counted."""
    logger = logging.getLogger("pypdf")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    heard = PdfWarnings()
    logger.addHandler(heard)
    return heard
