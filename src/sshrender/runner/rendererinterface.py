"""What a slot expects of every renderer, and the result that each renderer returns for a page.

A renderer makes the file of a page and reports the program's diagnostics. Naming, syncing and
hashing the file is the finalizer's work (finalizer.py), so that it is done in one way for all of them.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import abc
from typing import List, NamedTuple, Optional, Tuple

from sshrender.runner.taskqueue import Task


class RenderedFile(NamedTuple):
    """The result of a renderer for one page.

    ``written``: the name of the file as the renderer made it, in the job's folder. ``page_size``: in
    points, where it is known. ``seconds`` of wall time, ``cpu`` in seconds. ``diagnostics``: the
    renderer's warnings. ``is_rendered``: false when no file came out.
    """

    task: Task
    written: str
    page_size: Optional[Tuple[float, float]]
    seconds: float
    cpu: float
    diagnostics: List[str]
    is_rendered: bool = True
    has_substituted_fonts: bool = False


class PageRenderer(abc.ABC):
    """Renders pages for one slot. Only ``kill`` may be called from another thread."""

    @abc.abstractmethod
    def render(self, task: Task) -> RenderedFile:
        """Render one page. Raises SessionEnded (warmsession.py) when the program fails or is ended."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End the program that renders now, if there is one. The caller holds the slot's lock."""

    @abc.abstractmethod
    def conclude(self, rendered: RenderedFile) -> None:
        """Do what may wait until a page has been handed over to the finalizer."""
