"""Read a document in the background: its facts first, then what is asked for of some of its pages.

Everything here waits for a bounded time only, and keeps a bounded amount of what the worker says. A
document that takes qpdf longer, or says more, is treated as one that qpdf cannot read.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sshrender.document import pagelist, workeranswers
from sshrender.document.boxes import Box
from sshrender.document.facts import DocumentFacts, PasswordError
from sshrender.document.readerprocess import ReaderProcess, WorkerFailed
from sshrender.errors import ExitCode, UserError
from sshrender.process import startlimits

FACTS_TIMEOUT = 60.0
"""Seconds until the facts are known."""

ANSWER_TIMEOUT = 30.0
"""Seconds without news after which the process is stopped, while it has something to read. It reads at
the lowest priority, beside renderers that leave it a hundredth of a core."""

COUNT_TIMEOUT = 60.0
"""Seconds until it is known whether the number of pages is sure; after that Ghostscript is asked."""

BOXES_TIMEOUT, FONTS_TIMEOUT = 3600.0, 300.0
"""Seconds for all sizes and for all fonts, however much news there is."""

CPU_TIMEOUT = 600.0
"""Seconds of processor time for everything. All of 100,000 pages take 9 (measured)."""


class _Request(NamedTuple):
    """``kind``: ``boxes`` or ``fonts``, of these pages, in order."""

    kind: str
    pages: Sequence[int]
    timeout: float


class Reading:
    """The facts that a worker finds out about one PDF."""

    def __init__(self) -> None:
        self._worker = ReaderProcess()
        self._changed = threading.Condition()
        self._facts: DocumentFacts | None = None
        self._is_counted: bool | None = None
        self._error: UserError | None = None
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._requested: set[int] = set()
        self._boxes: dict[int, Box | None] = {}
        self._in_order: list[int] = []
        self._fonts: Mapping[int, list[str]] | None = None
        self._are_fonts_wanted = False
        self._warnings = 0
        self._has_ended = False

    def begin(self, path: Path, password: str | None, box: str = "media") -> None:
        """Start to read this document. ``box``: which one gives a page its size; empty: not known.

        Raises UserError: this process may not have the memory for that.
        """
        # Before the process is started: it would fail with less clear words.
        startlimits.require_memory()
        self._worker.ask("read", cpu=CPU_TIMEOUT, path=str(path.absolute()), password=password, box=box)
        threading.Thread(target=self._work, daemon=True, name="document").start()

    def facts(self) -> DocumentFacts:
        """Return the facts, once they are known.

        Raises UserError: the password is missing or wrong (PasswordError), or it is a portfolio.
        """
        with self._changed:
            is_answered = self._changed.wait_for(self._is_answered, FACTS_TIMEOUT)
        if not is_answered:
            # Stopped, so that _work() ends and no later answer changes the facts.
            self._worker.stop()
        if self._error is not None:
            raise self._error
        return self._facts or DocumentFacts(None, False)

    def counts_right(self) -> bool:
        """Return whether Ghostscript finds as many pages as the document claims to have."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_counted is not None or self._has_ended, COUNT_TIMEOUT
            )
            is_counted = self._is_counted is True
        # Both: the count may be right in a document that had to be repaired.
        return is_counted and self.is_sound()

    def is_sound(self) -> bool:
        """Return whether qpdf has read so far without a warning: Ghostscript must then agree with it."""
        with self._changed:
            return self._facts is not None and self._facts.pages is not None and not self._warnings

    def read_pages(self, pages: Sequence[int]) -> None:
        """Start to read the sizes of these pages."""
        with self._changed:
            self._ask_for_boxes([page for page in pages if page not in self._requested])

    def box(self, page: int) -> Box | None:
        """Return the page's (width, height) in points; None when the document has none. Any thread.

        Waits for a page that is still being read; one that was not requested is read now.
        """
        with self._changed:
            self._ask_for_boxes([page] if page not in self._requested else [])
            # Without a time here: _answers() has one for each request, and notifies at its end.
            self._changed.wait_for(lambda: page in self._boxes or self._has_ended)
            return self._boxes.get(page)

    def boxes_from(self, first: int) -> list[tuple[int, Box | None]]:
        """Return the pages that are known by now, with their boxes, but for the ``first`` of them.

        In the order in which they became known. Does not wait. Any thread.
        """
        with self._changed:
            # A copy: the caller works without the lock.
            return [(page, self._boxes[page]) for page in self._in_order[first:]]

    def missing_fonts(self) -> Mapping[int, list[str]] | None:
        """Return the fonts that each page uses and the document lacks; None until that is known.

        Without the pages that could not be read. Does not wait. Any thread.
        """
        with self._changed:
            return self._fonts

    def want_fonts(self, pages: Sequence[int]) -> None:
        """Start to search these pages for missing fonts, in the background. The first call counts."""
        with self._changed:
            if not self._are_fonts_wanted:
                self._are_fonts_wanted = True
                self._requests.put(_Request("fonts", pages, FONTS_TIMEOUT))

    def await_fonts(self, timeout: float) -> None:
        """Wait for missing_fonts, if ``want_fonts`` was called."""
        with self._changed:
            if self._are_fonts_wanted:
                self._changed.wait_for(lambda: self._fonts is not None or self._has_ended, timeout)

    def close(self) -> None:
        """Stop the process that reads."""
        self._requests.put(None)
        self._worker.stop()

    def _is_answered(self) -> bool:
        return self._facts is not None or self._error is not None or self._has_ended

    def _ask_for_boxes(self, pages: Sequence[int]) -> None:
        """Needs the lock."""
        if pages:
            self._requested.update(pages)
            self._requests.put(_Request("boxes", pages, BOXES_TIMEOUT))

    def _work(self) -> None:
        """Take what the worker says, in a thread."""
        try:
            self._read_facts()
            # No facts: an error was answered, and nothing more is read.
            while self._facts is not None and (request := self._requests.get()) is not None:
                if request.kind == "boxes":
                    self._read_boxes(request)
                else:
                    self._read_fonts(request)
        except WorkerFailed:
            with self._changed:
                self._warnings += 1  # answers of a process that crashed are not trusted
            self._worker.stop()
        finally:
            with self._changed:
                self._has_ended = True
                # Empty, not None: what waits is told that nothing is known.
                if self._are_fonts_wanted and self._fonts is None:
                    self._fonts = {}
                self._changed.notify_all()

    def _read_facts(self) -> None:
        """Take the facts. Raises WorkerFailed."""
        until = time.monotonic() + FACTS_TIMEOUT + COUNT_TIMEOUT
        while (answer := self._worker.answer(until - time.monotonic())) is not None:
            with self._changed:
                self._warnings = workeranswers.warnings(answer)
                if "facts" in answer:
                    self._facts = workeranswers.facts(answer)
                elif "error" in answer:
                    # Only a bool counts: the answer may hold anything.
                    kind = PasswordError if answer.get("asks") is True else UserError
                    self._error = kind(ExitCode.DOCUMENT, *workeranswers.error(answer))
                elif "counted" in answer:
                    self._is_counted = answer["counted"] is True
                else:
                    raise WorkerFailed("it answers what was not requested")
                self._changed.notify_all()

    def _read_boxes(self, request: _Request) -> None:
        """Take the boxes of the pages; those that it does not tell have none. Raises WorkerFailed."""
        found = 0
        sizes: dict[Box | None, Box | None] = {}  # most pages have the same: it is kept once
        for answer in self._answers(request):
            with self._changed:
                self._warnings = workeranswers.warnings(answer)
                boxes = workeranswers.boxes(answer, len(request.pages) - found)
                for page, box in zip(request.pages[found:], boxes, strict=False):
                    # setdefault keeps one tuple for all pages of one size.
                    self._boxes[page] = sizes.setdefault(box, box)
                    self._in_order.append(page)
                found += len(boxes)
                self._changed.notify_all()
        with self._changed:
            # Pages without an answer are known to have none.
            self._boxes |= dict.fromkeys(request.pages[found:])
            self._changed.notify_all()

    def _read_fonts(self, request: _Request) -> None:
        """Take the names of missing fonts; what was read until the worker died is what there is."""
        found = workeranswers.Fonts(len(request.pages))
        try:
            for answer in self._answers(request):
                found.add(answer)
        except WorkerFailed:
            self._worker.stop()
        finally:
            with self._changed:
                # Pages behind the last answer are left out: they could not be read.
                self._fonts = dict(zip(request.pages, found.of_pages, strict=False))
                self._changed.notify_all()

    def _answers(self, request: _Request) -> Iterator[dict[str, Any]]:
        """Ask, and yield each answer. Raises WorkerFailed, also for one that takes too long."""
        until = time.monotonic() + request.timeout
        self._worker.add(**{request.kind: pagelist.runs(request.pages)})
        while True:
            # Whichever ends first: silence, or the time for all.
            within = min(ANSWER_TIMEOUT, until - time.monotonic())
            if (answer := self._worker.answer(within)) is None:
                return
            yield answer
