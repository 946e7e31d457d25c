"""The window of a warm renderer that prints the diagnostics of a page with the page.

Nothing has to be searched, unlike with Ghostscript (diagnosticsearch.py): a window only says when the
renderer may be replaced, because no page may be queued ahead then.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import List, Optional

from sshrender.renderers.dialogue import Dialogue
from sshrender.runner import wire
from sshrender.runner.rendering.warmsession import Session
from sshrender.runner.slots.taskqueue import Task

MAX_SIZE = 64
"""Pages of a window: more than of Ghostscript's (diagnosticsearch.py), because none is searched."""


class RecycleWindow:
    """The pages that one warm renderer has rendered since its last check; as DiagnosticWindow.

    ``recycle_memory``: bytes from which the window ends early. ``pages``: how many the coordinator knows
    of the document; None: of a part of it.
    """

    def __init__(
        self,
        post: wire.Wire,
        dialogue: Dialogue,
        page_timeout: float,
        recycle_memory: int,
        pages: Optional[int] = None,
    ) -> None:
        self._wire = post
        self._dialogue = dialogue
        self._page_timeout = page_timeout
        self._recycle_memory = recycle_memory
        self._known_pages = pages
        self._session: Optional[Session] = None
        self._pages = 0
        self._baseline: List[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether no page has been rendered since the last check."""
        return self._pages == 0

    def open(self, session: Session) -> None:
        """Open the session's document, and note what the program says about it. Raises SessionEnded."""
        answer = session.open(self._page_timeout)
        lines = self._dialogue.warnings(answer.lines) + self._missed_pages(answer.value)
        new = [line for line in lines if line not in self._baseline]
        if new:
            self._wire.post("noted", diagnostics=new)
        self._baseline += new
        self._session, self._pages = session, 0

    def _missed_pages(self, value: str) -> List[str]:
        """Return a line if the program finds more pages than the job can have."""
        # Ghostscript or qpdf has counted, and a broken page tree is repaired in different ways. Fewer
        # pages show by themselves: those that are missing fail.
        if self._known_pages is None or not value.isdigit() or int(value) <= self._known_pages:
            return []
        counts = (self._dialogue.name, int(value), self._known_pages)
        return ["%s finds %d pages in the document, and this job knows of %d" % counts]

    @property
    def has_unexplained(self) -> bool:
        """Whether diagnostics are missing: never, because each page brings its own."""
        return False

    def explain(self) -> None:
        """Do nothing, as DiagnosticWindow if nothing is missing."""

    def add(self, task: Task, seconds: float) -> None:  # noqa: ARG002 - as DiagnosticWindow
        """Record that a page has been rendered."""
        self._pages += 1

    def of_page(self, lines: List[str]) -> List[str]:
        """Return the diagnostics that are not of opening the document: it may be opened for a page."""
        return [line for line in lines if line not in self._baseline]

    def ends_with_next(self) -> bool:
        """Return whether the page that is rendered now may be the last of the window."""
        return self._pages + 1 >= MAX_SIZE or self._is_large()

    def is_due(self) -> bool:
        """Return whether it is time to replace the renderer, if it needs that."""
        return self._pages >= MAX_SIZE or self._is_large()

    def clear(self) -> None:
        """Forget the pages: the renderer that had them is gone."""
        self._session, self._pages = None, 0

    def close(self, session: Session) -> None:  # noqa: ARG002 - as DiagnosticWindow
        """End the window."""
        self._pages = 0

    def _is_large(self) -> bool:
        return self._session is not None and self._session.resident() > self._recycle_memory
