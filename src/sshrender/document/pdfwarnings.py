"""Whether pypdf had to guess: it warns when it repairs a document, and what it then says of a page's
size is no proof against Ghostscript's reading of it."""

from __future__ import annotations

import logging


class PdfWarnings(logging.Handler):
    """Counts pypdf's warnings, and keeps them from the user's terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, _record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1


def listen() -> PdfWarnings:
    """Listen from now on; what earlier listeners have counted stays theirs."""
    logger = logging.getLogger("pypdf")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    heard = PdfWarnings()
    logger.addHandler(heard)
    return heard
