"""How many pages a document has: what Ghostscript will find in it, whoever is asked.

A document's own /Count may lie, either way, and pypdf repairs other documents than Ghostscript does.
Where pypdf read all of it soundly and found as many pages as it says, the two agree; else Ghostscript
is asked, which takes a moment longer.
"""

from __future__ import annotations

from collections.abc import Callable

from sshrender.document.facts import DocumentFacts
from sshrender.document.reading import Reading
from sshrender.errors import UserError


def look(reading: Reading, inspect: Callable[[], int], has_password: bool) -> DocumentFacts:
    """The facts. Raises UserError: the password is missing or wrong."""
    try:
        return reading.facts()
    except UserError as error:
        if has_password:
            raise
        # Ghostscript ignores an encryption that makes no sense, and needs no password then.
        if not _ask(inspect):
            raise error from None
        return DocumentFacts(None, False)


def count(reading: Reading, seen: DocumentFacts, inspect: Callable[[], int]) -> int:
    """The number of pages; 0 when there is none. Raises UserError: nobody can tell."""
    if seen.pages is None:
        return inspect()
    if reading.counts_right():
        return seen.pages
    found = _ask(inspect)
    return seen.pages if found is None else found


def _ask(inspect: Callable[[], int]) -> int | None:
    """None when nobody can be asked."""
    try:
        return inspect()
    except UserError:
        return None
