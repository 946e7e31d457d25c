"""Check what document/readerworker.py answers: it has read a document that may be hostile.

Each parser checks the form of an answer and limits how much of it is kept. It raises WorkerFailed for
anything that the worker's program would not answer.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from sshrender.document.boxes import MAX_SIDE, Box
from sshrender.document.facts import MAX_PAGES, DocumentFacts
from sshrender.document.fonts import MAX_A_PAGE, MAX_NAME
from sshrender.document.readerprocess import WorkerFailed
from sshrender.utf8 import writable

MAX_TEXT = 1000
"""Characters of a sentence, which may quote the document."""

MAX_FONTS, MAX_FONT_USES = 1000, 1_000_000
"""Fonts of a document, and their uses on pages, that are kept: 100 MiB of names at most in the worker's
answers, 16 MiB here."""


def warnings(answer: dict[str, Any]) -> int:
    """Return how often qpdf or pypdf warned."""
    return _whole(answer.get("warnings"), 1 << 62)


def facts(answer: dict[str, Any]) -> DocumentFacts:
    """Return the facts."""
    try:
        # ValueError: another number of fields.
        pages, needs_password, revision = answer["facts"]
    except (TypeError, ValueError):
        raise _odd("facts") from None
    if not isinstance(needs_password, bool):
        raise _odd("facts")
    return DocumentFacts(
        None if pages is None else _whole(pages, MAX_PAGES), needs_password, _whole(revision, 99)
    )


def error(answer: dict[str, Any]) -> tuple[str, str]:
    """Return what is wrong, and the hint."""
    value = answer["error"]
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(x, str) for x in value):
        raise _odd("error")
    return writable(value[0][:MAX_TEXT]), writable(value[1][:MAX_TEXT])


def boxes(answer: dict[str, Any], most: int) -> list[Box | None]:
    """Return the sizes of further pages, at most ``most`` of them."""
    value = answer["boxes"]
    if not isinstance(value, list) or len(value) > most:
        raise _odd("boxes")
    return [None if each is None else _box(each) for each in value]


def _box(value: Any) -> Box:
    if not isinstance(value, list) or len(value) != 2:
        raise _odd("boxes")
    for side in value:
        is_number = isinstance(side, float | int) and not isinstance(side, bool)
        # isfinite first: json.loads accepts NaN and Infinity.
        if not is_number or not math.isfinite(side) or not 0 < side <= MAX_SIDE:
            raise _odd("boxes")
    return float(value[0]), float(value[1])


def ready(answer: dict[str, Any], asked: Collection[int]) -> tuple[int, ...]:
    """Return the pages whose part is ready."""
    value = answer.get("ready")
    if not isinstance(value, list) or not all(type(page) is int and page in asked for page in value):
        raise _odd("ready")
    return tuple(value)


class Fonts:
    """The names of missing fonts, page by page; each name is kept once."""

    def __init__(self, pages: int) -> None:
        self.of_pages: list[list[str]] = []
        self._pages = pages
        self._names: dict[str, str] = {}
        self._uses = 0

    def add(self, answer: dict[str, Any]) -> None:
        """Add further pages. Raises WorkerFailed, also if there is more than is kept."""
        value = answer.get("fonts")
        if not isinstance(value, list) or len(self.of_pages) + len(value) > self._pages:
            raise _odd("fonts")
        for names in value:
            self.of_pages.append(self._page(names))

    def _page(self, names: Any) -> list[str]:
        if not isinstance(names, list) or len(names) > MAX_A_PAGE:
            raise _odd("fonts")
        self._uses += len(names)
        found = [self._name(name) for name in names]
        if len(self._names) > MAX_FONTS or self._uses > MAX_FONT_USES:
            raise WorkerFailed("the document has more fonts than are kept")
        return found

    def _name(self, name: Any) -> str:
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise _odd("fonts")
        return self._names.setdefault(name, writable(name))


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise _odd("a number")
    return value


def _odd(what: str) -> WorkerFailed:
    return WorkerFailed(f"it answers with an unknown form of {what}")
