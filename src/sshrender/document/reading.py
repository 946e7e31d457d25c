"""Read a document in the background: its facts first, then each page's size as it becomes known.

Everything here waits for a bounded time only, and keeps a bounded amount of what the worker says. A
document that takes pypdf longer, or says more, is treated as one that pypdf cannot read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sshrender.document import readlimits, workeranswers
from sshrender.document.boxes import Box
from sshrender.document.facts import DocumentFacts, PasswordError
from sshrender.document.readerprocess import ReaderProcess, WorkerFailed
from sshrender.errors import ExitCode, UserError

FACTS_TIMEOUT = 60.0
"""Seconds until the facts are known."""

BOXES_TIMEOUT = 10.0
"""Seconds without news after which the process is stopped."""

COUNT_TIMEOUT = 60.0
"""Seconds that counting the pages may take; after that Ghostscript is asked, and the reading goes on.
100,000 pages take 10 to 14 (measured)."""

LOOK_TIMEOUT, FONTS_TIMEOUT = 300.0, 300.0
"""Seconds for all sizes and for all fonts, however much news there is."""


class Reading:
    """What a worker finds out about one PDF."""

    def __init__(self) -> None:
        self._worker = ReaderProcess()
        self._changed = threading.Condition()
        self._facts: DocumentFacts | None = None
        self._error: UserError | None = None
        self._boxes: list[Box | None] = []
        self._fonts: list[list[str]] | None = None
        self._are_fonts_wanted = False
        self._font_worker: ReaderProcess | None = None
        self._path = ""
        self._password: str | None = None
        self._complaints = 0
        self._is_walked = self._has_ended = False

    def begin(self, path: Path, password: str | None, box: str = "media") -> None:
        """Start to read this document. ``box``: which one gives a page its size; empty: not known.

        Raises UserError: this process may not have the memory for that.
        """
        readlimits.require_memory()
        self._path, self._password = str(path.absolute()), password
        self._worker.ask("look", within=LOOK_TIMEOUT, path=self._path, password=password, box=box)
        threading.Thread(target=self._listen, daemon=True, name="document").start()

    def facts(self) -> DocumentFacts:
        """Return the facts, once they are known. Raises UserError: the password is missing or wrong."""
        with self._changed:
            is_answered = self._changed.wait_for(self._is_answered, FACTS_TIMEOUT)
        if not is_answered:
            self._worker.stop()
        if self._error is not None:
            raise self._error
        return self._facts or DocumentFacts(None, False)

    def box(self, page: int) -> Box | None:
        """Return the page's (width, height) in points; None when the document has none. Any thread."""
        with self._changed:
            self._await(lambda: len(self._boxes) >= page or self._is_walked)
            return self._boxes[page - 1] if page <= len(self._boxes) else None

    def boxes_from(self, first: int) -> list[Box | None]:
        """Return the boxes that are known by now, from this page on; does not wait. Any thread."""
        with self._changed:
            return self._boxes[first - 1 :]

    def is_sound(self) -> bool:
        """Whether pypdf has read so far without a warning: Ghostscript must then agree with it."""
        with self._changed:
            return self._facts is not None and self._facts.pages is not None and not self._complaints

    def counts_right(self) -> bool:
        """Whether the document has as many pages as it claims: all of it was read without a warning."""
        with self._changed:
            self._await(lambda: self._is_walked, time.monotonic() + COUNT_TIMEOUT)
            if not self._is_walked:
                return False
        return self.is_sound() and self._facts is not None and len(self._boxes) == self._facts.pages

    def missing_fonts(self) -> list[list[str]] | None:
        """Return for each page the fonts that it uses and the document lacks; None until that is known.

        Shorter than the document where it could not be read to its end. Does not wait. Any thread.
        """
        with self._changed:
            return self._fonts

    def want_fonts(self) -> None:
        """Start to search for missing fonts: the document is read once more, in the background."""
        with self._changed:
            is_new, self._are_fonts_wanted = not self._are_fonts_wanted, True
        if is_new:
            threading.Thread(target=self._read_fonts, daemon=True, name="fonts").start()

    def await_fonts(self, timeout: float) -> None:
        """Wait for missing_fonts, if ``want_fonts`` was called."""
        with self._changed:
            if self._are_fonts_wanted:
                self._changed.wait_for(lambda: self._fonts is not None, timeout)

    def _read_fonts(self) -> None:
        """Search for missing fonts, in a thread."""
        found = workeranswers.Fonts(self._facts.pages or 0 if self._facts is not None else 0)
        try:
            worker = self._font_worker = ReaderProcess()
            worker.ask("fonts", within=FONTS_TIMEOUT, path=self._path, password=self._password)
            for answer in worker.answers():
                found.add(answer)
        except WorkerFailed:
            worker.stop()
        except OSError:  # a limit leaves no room for the process
            pass
        finally:  # what was read until it died is what there is
            with self._changed:
                self._fonts = found.of_pages
                self._changed.notify_all()

    def _await(self, is_met: Callable[[], bool], until: float = float("inf")) -> None:
        """Wait while the worker makes progress; one that makes none is stopped. Needs the lock."""
        while not is_met() and not self._has_ended and time.monotonic() < until:
            known = len(self._boxes)
            if not self._changed.wait(BOXES_TIMEOUT) and len(self._boxes) == known:
                self._worker.stop()
                self._complaints += 1
                self._has_ended = True

    def close(self) -> None:
        """Stop the processes that read."""
        self._worker.stop()
        if self._font_worker is not None:
            self._font_worker.stop()

    def _is_answered(self) -> bool:
        return self._facts is not None or self._error is not None or self._has_ended

    def _listen(self) -> None:
        try:
            for answer in self._worker.answers():
                with self._changed:
                    self._take_in(answer)
                    self._changed.notify_all()
        except WorkerFailed:
            self._worker.stop()
            with self._changed:
                self._complaints += 1  # answers of a process that crashed are not trusted
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _take_in(self, answer: dict[str, Any]) -> None:
        """Keep an answer. Raises WorkerFailed."""
        self._complaints = workeranswers.complaints(answer)
        if "facts" in answer:
            self._facts = workeranswers.facts(answer)
        elif "error" in answer:
            kind = PasswordError if answer.get("asks") is True else UserError
            self._error = kind(ExitCode.DOCUMENT, *workeranswers.error(answer))
        elif "walked" in answer:
            self._is_walked = True
        elif "boxes" in answer:
            claimed = 0 if self._facts is None else self._facts.pages or 0
            self._boxes += workeranswers.boxes(answer, claimed - len(self._boxes))
