"""Parse page lists: ``1-10,15,20-``, ``odd``, ``even``; ``^3``: not page 3. Pages are counted from 1.

Items are separated by commas. A list that begins with an excluded item selects all pages but the
excluded. ``-5`` is the first five; ``7-3`` is 3 to 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sshrender.errors import ExitCode, UserError

MAX_NAMED = 10_000_000
"""Pages that a list may name, repeated ones counted again: another user's job.json may have any list."""

# The last page belongs to the dash: ``1 3`` is no page, not page 1.
_RANGE = re.compile(r"(?P<first>\d+)?\s*(?:(?P<dash>-)\s*(?P<last>\d+)?)?")


def parse(text: str, total: int) -> list[int]:
    """Return the pages that a list selects from a document of ``total`` pages, sorted, each once.

    Raises UserError for a list that is malformed, names a page that does not exist, or selects none.
    """
    items = [item.strip() for item in text.split(",")]
    chosen: set[int] = set()
    left_out: set[int] = set()
    # Counted before the sets are joined: ``1-9999999,1-9999999`` would take memory for each.
    named = 0
    for item in items:
        pages_of = _item(item.removeprefix("^").strip(), text, total)
        named += len(pages_of)
        if named > MAX_NAMED:
            raise _error(f"the page list {text[:60]!r} names too many pages", total)
        if item.startswith("^"):
            left_out |= pages_of
        else:
            chosen |= pages_of
    # Only exclusions: all other pages.
    if not any(not item.startswith("^") for item in items):
        chosen = set(range(1, total + 1))
    pages = sorted(chosen - left_out)
    if not pages:
        raise _error(f"the page list {text!r} selects no page", total)
    return pages


def check(text: str) -> None:
    """Raise UserError when a list is malformed, whatever the document."""
    for item in text.split(","):
        _bounds(item.strip().removeprefix("^").strip(), text)


def canonical(pages: Iterable[int]) -> str:
    """Return the shortest plain list of these sorted pages: ``1-10,15``."""
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs(pages))


def runs(pages: Iterable[int]) -> list[list[int]]:
    """Return the first and the last page of each run of neighbours among these sorted pages."""
    found: list[list[int]] = []
    for page in pages:
        if found and page == found[-1][1] + 1:
            found[-1][1] = page
        else:
            found.append([page, page])
    return found


def _item(item: str, text: str, total: int) -> set[int]:
    first, last = _bounds(item, text)
    if item in ("odd", "even"):
        return set(range(1 if item == "odd" else 2, total + 1, 2))
    # ``-5`` has no first page, ``5-`` no last one.
    low, high = sorted((first or 1, last or total)) if last else (first or 1, total)
    highest = max(page for page in (first, last, 1) if page is not None)
    if highest > total:
        raise _error(f"page {highest} of the list {text!r} does not exist", total)
    return set(range(low, high + 1))


def _bounds(item: str, text: str) -> tuple[int | None, int | None]:
    if item in ("odd", "even"):
        return None, None
    match = _RANGE.fullmatch(item)
    if match is None or not (match["first"] or match["last"]):
        raise _error(f"{item!r} is no page, range, odd or even, in the page list {text!r}", None)
    try:
        first = int(match["first"]) if match["first"] else None
        last = int(match["last"]) if match["last"] else None
    except ValueError:  # more digits than int() takes
        raise _error(f"a number is too large in the page list {text[:60]!r}", None) from None
    if first == 0 or last == 0:
        raise _error(f"pages are counted from 1, in the page list {text!r}", None)
    if match["dash"] is None:
        # A single page is its own last one.
        return first, first
    return first, last


def _error(what: str, total: int | None) -> UserError:
    size = "" if total is None else f"; the document has {total} page{'s' * (total != 1)}"
    return UserError(
        ExitCode.USAGE, what + size, "--pages takes a list such as 1-10,15,20- or odd or ^3"
    )
