"""Determines how many pages Ghostscript will find in a document.

A document's own /Count may be too low or too high, and qpdf repairs documents differently from
Ghostscript. If qpdf opened the document without repairs, and the kids of its page tree's root have as
many pages together as /Count says, Ghostscript finds as many: it adds up the same kids (measured with
10.00). Otherwise Ghostscript counts, which takes a moment longer.
"""

from __future__ import annotations

from collections.abc import Callable

from sshrender.document.facts import DocumentFacts, PasswordError
from sshrender.document.reading import Reading
from sshrender.errors import UserError


def read_facts(reading: Reading, count_pages: Callable[[], int], has_password: bool) -> DocumentFacts:
    """Return the document's facts. Raises UserError: a wrong or missing password, or a portfolio."""
    try:
        return reading.facts()
    except PasswordError as error:
        if has_password:
            raise
        # Ghostscript ignores an invalid encryption dictionary, and needs no password then.
        # No pages, or nothing that can count them: the password is missing after all.
        if not _count_or_none(count_pages):
            raise error from None
        return DocumentFacts(None, False)


def page_count(reading: Reading, facts: DocumentFacts, count_pages: Callable[[], int]) -> int:
    """Return the number of pages, 0 if there is none. Raises UserError if no Ghostscript can count."""
    if facts.pages is None:
        return count_pages()
    if reading.counts_right():
        return facts.pages
    found = _count_or_none(count_pages)
    return facts.pages if found is None else found


def _count_or_none(count_pages: Callable[[], int]) -> int | None:
    """Return the number of pages; None if no Ghostscript can count them."""
    try:
        return count_pages()
    except UserError:
        return None
