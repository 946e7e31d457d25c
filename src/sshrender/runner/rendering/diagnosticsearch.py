"""Finds the page that causes a diagnostic of Ghostscript, if the diagnostic names none.

Ghostscript prints some diagnostics only when the document is closed, without a page number. Therefore
the document is closed and opened again after a *window* of pages, which costs a few milliseconds. While
all is well, windows grow: 1, 4, 16 pages.

When the summary of a window holds diagnostics that do not come from opening the document alone, one of
its pages caused them. A window of one page names it. The pages of a larger window are interpreted again,
in groups that become smaller, by another Ghostscript whose device makes no pixels; and the next window
is a single page. All these pages were reported long before: a page is delivered first and called
suspect later.

Diagnostics come from interpreting a page, not from its pixels: for 55 odd documents they are the same
(measured, Ghostscript 10.00), and a page of a manual takes an eighth of its time. What no page causes
there is searched for once more as the pages were rendered.

A renderer may end before its summary was read: a page after those of the window crashes it, takes too
long or is cancelled. The pages of such a window are *unexplained*, and are interpreted again as well.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from sshrender.renderers import diagnostics, ghostscript
from sshrender.runner import wire
from sshrender.runner.rendering.warmsession import Answer, Session, SessionEnded
from sshrender.runner.slots.taskqueue import Task

MAX_SIZE = 16
"""Pages of a window: as many are interpreted again for one diagnostic, for 0.3 s of a manual (measured).
With 64 it was 1.2 s, at the end of the job perhaps."""

MAX_SLOW_SIZE = 256
"""Pages of a window if the document opens slowly."""

GROWTH = 4
"""Also the number of groups in which the pages of a window are searched."""

# nullpage: the page is interpreted and no pixel is made (Devices.htm).
NO_PIXELS, NO_PIXELS_DPI = "nullpage", "72"
"""The device of the search, and its resolution."""

MIN_ROOM = 64 * 1024
"""Bytes: a file system with less free space is full for a page."""

ANNOUNCED_FROM = 1.0
"""Seconds: if opening the document takes less, users do not notice that it is opened again."""

CLEAN_WINDOW_FACTOR, DIRTY_WINDOW_FACTOR = 100.0, 2.0
"""A window stays open until rendering has taken this many times what opening the document takes, so that
large documents, which open slowly, are opened rarely."""


QUICK_OPENING = 0.5
"""Seconds, the start of Ghostscript included: if opening takes no longer, the first two windows end when
they have their one and four pages. What a title page causes is named then without the search of all
pages that the factor above would add to its window (a manual: 1.3 s of CPU for 120 pages)."""


_Found = List[Tuple[Task, List[str]]]
"""Pages, with the diagnostics that each of them causes."""


class DiagnosticWindow:
    """The pages that one warm renderer has rendered since the document was opened."""

    def __init__(
        self,
        post: wire.Wire,
        folder: str,
        page_timeout: float,
        start: Callable[[ghostscript.Setup], Session],
    ) -> None:
        """Make one. ``start`` starts a further session, whose document is not open."""
        self._start = start
        self._wire = post
        self._folder = folder
        self._page_timeout = page_timeout
        # The pages since the document was opened, in the order in which they were rendered.
        self._tasks: List[Task] = []
        # Windows whose summary is lost: how the document was rendered, and its pages.
        self._unexplained: List[Tuple[ghostscript.Setup, List[Task]]] = []
        self._setup: Optional[ghostscript.Setup] = None
        # A window starts with one page and grows while its summaries are clean.
        self._size = 1
        self._seconds = 0.0
        self._open_seconds = 0.0
        self._is_dirty = False
        # By document file, because parts of one document have different diagnostics when they are only
        # opened.
        self._baseline: Dict[str, List[str]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no page has been rendered since the document was opened."""
        return not self._tasks

    @property
    def has_unexplained(self) -> bool:
        """Whether there are pages whose renderer has ended before its summary was read."""
        return bool(self._unexplained)

    def open(self, session: Session) -> None:
        """Open the session's document. Raises SessionEnded."""
        began = time.monotonic()
        self._setup = session.setup
        session.open(self._page_timeout)
        self._open_seconds = time.monotonic() - began
        self._seconds = 0.0

    def add(self, task: Task, seconds: float) -> None:
        """Record that a page has been rendered."""
        self._tasks.append(task)
        self._seconds += seconds

    def of_page(self, lines: List[str]) -> List[str]:
        """Return those diagnostics that Ghostscript printed while it rendered a page: they are its."""
        return lines

    def ends_with_next(self) -> bool:
        """Return whether the page that is rendered now may be the last of the window."""
        # It will take what the pages before it took. One that takes longer ends the window a page later.
        pages = len(self._tasks)
        expected = self._seconds / pages if pages else 0.0
        return self._is_due_with(pages + 1, self._seconds + expected)

    def is_due(self) -> bool:
        """Return whether the window must be closed."""
        return self._is_due_with(len(self._tasks), self._seconds)

    def _is_due_with(self, pages: int, seconds: float) -> bool:
        """Return whether a window of this many pages and seconds must be closed."""
        if pages < self._size:
            return False
        if self._size < MAX_SIZE and not self._is_dirty and self._open_seconds <= QUICK_OPENING:
            return True
        factor = DIRTY_WINDOW_FACTOR if self._is_dirty else CLEAN_WINDOW_FACTOR
        return seconds >= factor * self._open_seconds or pages >= MAX_SLOW_SIZE

    def clear(self) -> None:
        """Put the pages aside: the renderer that had them is gone, and with it their summary."""
        if self._tasks and self._setup is not None:
            self._unexplained.append((self._setup, self._tasks))
        self._tasks = []

    def close(self, session: Session) -> None:
        """Close the document, report suspect pages, and open it again. Raises SessionEnded."""
        tasks = self._tasks
        with self._announced(tasks[-1]):
            # If the session ends here, clear() puts the pages aside.
            lines = self._summary(session)
            self.open(session)
            self._is_dirty = bool(lines)
            if lines:
                self._attribute(session, tasks, lines)
        self._tasks = []
        # After diagnostics one page at a time, so that the next one is found without a search.
        self._size = 1 if self._is_dirty else min(GROWTH * self._size, MAX_SIZE)

    def explain(self) -> None:
        """Report suspect pages among those whose summary is lost. Each is interpreted once more only.

        Diagnostics that need pixels are not found: no summary says that there is anything to look for.
        """
        unexplained, self._unexplained = self._unexplained, []
        for setup, tasks in unexplained:
            for task, caused in self._interpret_again(setup, tasks):
                self._report(task, caused)

    @contextlib.contextmanager
    def _announced(self, task: Task) -> Iterator[None]:
        """Tell the user that the slot renders nothing meanwhile, if that takes long enough to see."""
        seconds = self._open_seconds
        if seconds < ANNOUNCED_FROM:
            yield
            return
        fields: Dict[str, Any] = {
            "attempt": task.attempt,
            "page": task.page,
            "seconds": round(seconds, 3),
        }
        self._wire.post("reopening", is_over=False, **fields)
        try:
            yield
        finally:
            self._wire.post("reopening", is_over=True, **fields)

    def _summary(self, session: Session) -> List[str]:
        return diagnostics.warnings(session.close_document(self._page_timeout).lines)

    def _attribute(self, session: Session, tasks: List[Task], lines: List[str]) -> None:
        # Diagnostics of opening alone belong to no page.
        new = self._beyond_baseline(session, lines)
        self._is_dirty = bool(new)
        if not new:
            return
        # One page: it is the cause, and nothing has to be repeated.
        if len(tasks) == 1:
            self._report(tasks[0], new)
            return
        found = self._interpret_again(session.setup, tasks)
        # Some diagnostics do not come without pixels, so these pages are rendered once more.
        if not {line for _, caused in found for line in caused} >= set(new):
            found = self._render_all_again(session, tasks)
        for task, caused in found:
            self._report(task, caused)

    def _interpret_again(self, setup: ghostscript.Setup, tasks: List[Task]) -> _Found:
        """Return the pages that cause diagnostics without pixels, too."""
        # No profile, thumbnails or rasters: the session of the search makes no file.
        setup = setup._replace(
            device=NO_PIXELS, dpi=NO_PIXELS_DPI, thumbnails="", profile=None, raster=None
        )
        try:
            search = self._start(setup)
        except OSError:  # no process can be started beside the renderer
            return []
        # No files can be made that it needs: it has ended before it began.
        except SessionEnded:
            return []
        try:
            search.open(self._page_timeout)
            self._learn_baseline(search)
            return self._search(search, tasks, [])
        # The renderer of the search may crash or be ended; then the pages are rendered instead.
        except SessionEnded:
            return []
        finally:
            search.close()

    def _search(self, search: Session, tasks: List[Task], known: List[str]) -> _Found:
        """Return the pages of several that cause diagnostics. ``known``: what they cause together."""
        found: _Found = []
        # Rounded up, so that no more than GROWTH groups come out.
        size = -(-len(tasks) // GROWTH)
        for first in range(0, len(tasks), size):
            group = tasks[first : first + size]
            # No group before the last one caused them, so the last one did, and need not be repeated.
            is_only_one_left = known and not found and group[-1] is tasks[-1]
            lines = known if is_only_one_left else self._of_group(search, group)
            if lines and len(group) == 1:
                found.append((group[0], lines))
            elif lines:
                found += self._search(search, group, lines)
        return found

    def _of_group(self, search: Session, group: List[Task]) -> List[str]:
        for task in group:
            self._repeat(search, task)
        lines = self._summary(search)
        search.open(self._page_timeout)
        return [line for line in lines if line not in self._baseline[search.setup.document]]

    def _render_all_again(self, session: Session, tasks: List[Task]) -> _Found:
        """Return the pages that cause diagnostics when they are rendered again, each alone."""
        found: _Found = []
        for task in tasks:
            of_page = self._beyond_baseline(session, self._render_again(session, task))
            if of_page:
                found.append((task, of_page))
        return found

    def _beyond_baseline(self, session: Session, lines: List[str]) -> List[str]:
        """Return the lines that do not appear when the document is only opened and closed."""
        self._learn_baseline(session)
        return [line for line in lines if line not in self._baseline[session.setup.document]]

    def _learn_baseline(self, session: Session) -> None:
        file = session.setup.document
        if file in self._baseline:
            return
        # The document was just opened, so this summary is that of opening alone.
        self._baseline[file] = self._summary(session)
        session.open(self._page_timeout)
        if self._baseline[file]:
            self._wire.post("noted", diagnostics=self._baseline[file])

    def _render_again(self, session: Session, task: Task) -> List[str]:
        answer = ghostscript.parse_page_answer(self._repeat(session, task).value)
        # The page was rendered once more, so its file must go: the first one was delivered.
        name = ghostscript.output_name(session.setup, answer.shown, answer.place)
        # TOO_LARGE: no file was written, whatever room there is.
        has_room = answer.place == ghostscript.TOO_LARGE or _has_room_for(self._folder, name)
        remove_output(self._folder, name)
        lines = self._summary(session)
        self.open(session)
        # If Ghostscript could not write a page, its reports do not concern the page.
        return lines if has_room else []

    def _repeat(self, session: Session, task: Task) -> Answer:
        session.tell(task.number)
        return session.answer(self._page_timeout)

    def _report(self, task: Task, lines: List[str]) -> None:
        self._wire.post("suspected", attempt=task.attempt, page=task.page, diagnostics=lines)


def _has_room_for(folder: str, name: str) -> bool:
    """Return whether a page was written, into a folder that is not full by then."""
    try:
        # A raster has an absolute name, elsewhere.
        path = os.path.join(folder, name)
        status = os.statvfs(os.path.dirname(path))
        is_written = os.path.getsize(path) > 0
    except OSError:
        return False
    return is_written and status.f_bavail * status.f_frsize >= MIN_ROOM


def remove_output(folder: str, name: str) -> None:
    """Remove the file of a page that was rendered again or never came out.

    A file that cannot be removed stays: the report of the page says what is wrong with the storage, and
    the next coordinator clears ``work/`` (coordinator/pagerestoration.py).
    """
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, name))
