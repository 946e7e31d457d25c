"""Renders page after page with one warm program, which it starts, replaces and ends.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from typing import Callable, Dict, NamedTuple, Optional, Tuple, Union

from sshrender.renderers import ghostscript
from sshrender.renderers.dialogue import Dialogue, PageResult
from sshrender.renderers.encoders import png
from sshrender.renderers.ghostscript import Setup
from sshrender.runner import jobfolder, scratch, thumbnailbudget, wire
from sshrender.runner.diagnosticsearch import DiagnosticWindow, remove_output
from sshrender.runner.pagewindow import PageWindow
from sshrender.runner.rasterrenderer import Rasters
from sshrender.runner.rendererinterface import PageRenderer, RenderedFile
from sshrender.runner.slotlocks import SlotLocks
from sshrender.runner.slotsettings import SlotSettings
from sshrender.runner.taskqueue import Task, TaskQueue
from sshrender.runner.warmsession import Answer, Session, SessionEnded
from sshrender.storage.primitives import VISIBLE_TIMEOUT

QUEUE_AHEAD_BELOW = 0.5
"""Seconds a page: below this the next page is sent to the renderer before this one is finished."""


CHUNKS_TIMEOUT = 30.0
"""Seconds for a small blank page, for which all slots wait (rasterfolders.py)."""


class WarmProgram(NamedTuple):
    """A program that is kept warm, and what its pages need (warmprograms.py).

    ``recipe``: the number of the recipe that it renders; None: it is Ghostscript. ``one_shot`` renders
    the pages that the warm program declines. ``chunks``: for the PNG files of its rasters (RasterFile);
    None: a Ghostscript finds them out.
    """

    dialogue: Dialogue
    setup: Setup
    window: Union[DiagnosticWindow, PageWindow]
    rasters: Rasters
    recipe: Optional[int] = None
    one_shot: Optional[PageRenderer] = None
    chunks: Optional[bytes] = None


class WarmRenderer(PageRenderer):
    """The warm renderer of one slot. See PageRenderer.

    ``lock`` guards what ``kill`` reads: ``ahead``, the session and whether it renders. ``may_continue``
    tells whether the slot is sure to keep its lock for another page.
    """

    def __init__(
        self,
        program: WarmProgram,
        settings: SlotSettings,
        tasks: TaskQueue,
        post: wire.Wire,
        environ: Dict[str, str],
        locks: SlotLocks,
        lock: threading.Lock,
        may_continue: Callable[[], bool],
    ) -> None:
        self._program = program
        self._settings = settings
        self._tasks = tasks
        self._wire = post
        self._environ = environ
        self._locks = locks
        self._lock = lock
        self._may_continue = may_continue
        self.ahead: Optional[Task] = None
        self.has_unkillable = False
        self._is_ahead_sent = self._is_sent = False
        self._session: Optional[Session] = None
        self._window = program.window
        self._rasters = program.rasters
        self._is_one_shot = False
        self._budget = thumbnailbudget.ThumbnailBudget(bool(program.setup.thumbnails))
        self._seconds_per_page = 0.0
        self._thumbnail_seconds = 0.0

    @property
    def has_open_window(self) -> bool:
        """Whether pages were rendered whose diagnostics are not known yet."""
        return not self._window.is_empty

    def take_ahead(self) -> None:
        """Make the page that was queued ahead, if any, the one to render. The caller holds the lock."""
        self._is_sent, self._is_ahead_sent, self.ahead = self._is_ahead_sent, False, None

    def kill(self) -> None:
        """See PageRenderer.kill."""
        if self._is_one_shot and self._program.one_shot is not None:
            self._program.one_shot.kill()
        elif self._session is not None:
            self._session.kill()

    def start(self, document: str) -> None:
        """Start a renderer and open the document. Raises SessionEnded."""
        self.require_killable()
        settings = self._settings
        suffix = self._program.dialogue.output_suffix
        output = "s%s.e%d.%%d%s" % (os.urandom(8).hex(), settings.epoch, suffix)
        session = Session(
            self._rasters.setup(self._program.setup._replace(document=document, output=output)),
            settings.folder,
            "sshrender-" + os.urandom(8).hex(),
            settings.page_memory,
            self._environ,
            settings.password_bytes,
            settings.is_sandboxed,
            self._take_thumbnail,
            settings.guard,
            self._locks.descriptors,
            dialogue=self._program.dialogue,
        )
        with self._lock:
            self._session = session
        self._window.open(session)

    def require_killable(self) -> None:
        """Raise SessionEnded when a renderer was killed and does not end.

        It hangs in the kernel and keeps the slot's lock (signal(7)); no other is started beside it.
        """
        if self.has_unkillable:
            raise SessionEnded(wire.CRASHED, "one that was killed does not end", [])

    def render(self, task: Task) -> RenderedFile:
        """See PageRenderer.render."""
        began = time.monotonic()
        session, answer = self._ask_for(task)
        result = self._result(answer)
        if result.is_missing:
            session, answer = self._seek(task)
            result = self._result(answer)
        if result.is_declined:
            return self._render_by_one_shot(task)
        raster = self._rasters.take(session, result, self._make_chunks)
        if raster is None and session.setup.raster is not None and result.is_to_be_encoded:
            session, answer = self._render_without_raster(session, task)
            result = self._result(answer)
        seconds = time.monotonic() - began
        # Thumbnails of earlier pages that were made meanwhile are not this page's time.
        aside, self._thumbnail_seconds = min(self._thumbnail_seconds, seconds), 0.0
        self._budget.earn(seconds - aside)
        self._seconds_per_page = seconds - aside
        return RenderedFile(
            task=task,
            written=ghostscript.output_name(session.setup._replace(raster=None), result.shown),
            page_size=result.size,
            seconds=seconds - aside,
            cpu=session.cpu_since(),
            diagnostics=self._window.of_page(self._program.dialogue.warnings(answer.lines)),
            is_rendered=result.is_rendered,
            has_substituted_fonts=result.has_substituted_fonts,
            raster=raster,
        )

    def _result(self, answer: Answer) -> PageResult:
        return self._program.dialogue.page_result(answer.value, answer.lines)

    def _render_by_one_shot(self, task: Task) -> RenderedFile:
        """Render a page that the warm program declined, with a run of its own.

        The page after it may have been queued ahead; no further one is, until the warm program has
        rendered again: two programs of one slot would work at once.
        """
        self._seconds_per_page = 0.0
        assert self._program.one_shot is not None
        with self._lock:
            self._is_one_shot = True
        try:
            return self._program.one_shot.render(task)
        finally:
            with self._lock:
                self._is_one_shot = False

    def conclude(self, rendered: RenderedFile) -> None:
        """Add a page to the window, and close the window when that is due."""
        self._window.add(rendered.task, rendered.seconds)
        if not rendered.is_rendered:
            # Nothing came out. Perhaps the document could not be opened: the next try opens it anew.
            self.close_window()
            self.drop()
            remove_output(self._settings.folder, rendered.written)
        elif self._window.is_due():
            self.close_window()

    def close_window(self) -> None:
        """Report the diagnostics of the pages since the document was opened."""
        session = self._session
        if session is None or self._window.is_empty:
            self._window.clear()
            return
        try:
            self._window.close(session)
        except SessionEnded:
            self.drop()
            return
        if self._needs_recycling(session):
            self.drop()

    def drop(self) -> None:
        """End the renderer, if there is one."""
        with self._lock:
            session, self._session = self._session, None
            self._is_ahead_sent = False
        self._window.clear()
        if session is not None and not session.close():
            self.has_unkillable = True
        if session is not None:
            self._rasters.clear(session)

    def _needs_recycling(self, session: Session) -> bool:
        return (
            session.pages_rendered >= self._settings.recycle_pages
            or session.resident() > self._settings.recycle_memory
        )

    def _session_for(self, file: str) -> Session:
        if self._session is not None and self._session.setup.document != file:
            self.close_window()
            self.drop()
        if self._session is not None and self._session.is_killed:
            self.drop()  # killed for the page before, whose answer had been read by then
        if self._session is not None and self._rasters.may_return(self._session, self._is_sent):
            self.close_window()
            self.drop()
        if self._session is None:
            for name in (file,) + self._program.setup.files:
                require_document(self._settings.folder, name)
            self.start(file)
        assert self._session is not None
        return self._session

    def _ask_for(self, task: Task) -> Tuple[Session, Answer]:
        """Render a page. A renderer that dies of an earlier page's thumbnail does not fail this one."""
        before, session = self._session, self._session_for(task.file)
        try:
            if not self._is_sent or session is not before:
                self._tell(session, task)
            self._queue_ahead(session)
            return session, session.answer(self._settings.page_timeout)
        except SessionEnded as end:
            if not session.is_at_thumbnail or end.kind == wire.KILLED:
                raise
        self._budget.give_up()
        self.drop()
        session = self._session_for(task.file)
        self._tell(session, task)
        return session, session.answer(self._settings.page_timeout)

    def _seek(self, task: Task) -> Tuple[Session, Answer]:
        """Render a page that was not found, with a renderer that has looked up all pages before it.

        A new renderer, because the old one may have been asked for the next page already.
        """
        self.drop()
        session = self._session_for(task.file)
        session.seek(task.number, self._settings.page_timeout)
        session.tell(task.number)
        return session, session.answer(self._settings.page_timeout)

    def _render_without_raster(self, session: Session, task: Task) -> Tuple[Session, Answer]:
        """Render a page that is too large as a raster, with a renderer that writes its file itself.

        The pages of the window are not lost: the answer for the page that was asked for ahead is waited
        for, and the document is closed.
        """
        timeout = self._settings.page_timeout
        try:
            if self._is_ahead_sent:
                ahead = self._result(session.answer(timeout))
                place = ghostscript.NEAR_BY if ahead.place is None else ahead.place
                name = ghostscript.output_name(session.setup, ahead.shown, place)
                remove_output(self._settings.folder, name)
            self.close_window()
        except SessionEnded as end:
            if end.kind == wire.KILLED:
                raise
        self.drop()
        session = self._session_for(task.file)
        self._tell(session, task)
        return session, session.answer(timeout)

    def _make_chunks(self, output: ghostscript.RasterOutput) -> Optional[bytes]:
        """Return the chunks that the program writes into a PNG file before its pixels; None: it fails.

        A process of its own finds out those of Ghostscript: what else runs in a renderer could change
        its pages.
        """
        if self._program.chunks is not None:
            return self._program.chunks
        settings = self._settings
        setup = settings.setup._replace(thumbnails="", folder=output.folder, output="chunks.%d")
        session = Session(
            setup,
            settings.folder,
            "sshrender-" + os.urandom(8).hex(),
            settings.page_memory,
            self._environ,
            is_sandboxed=settings.is_sandboxed,
            inherited=self._locks.descriptors,
            writable=(output.folder,),
        )
        try:
            session.write_blank_page(min(settings.page_timeout, CHUNKS_TIMEOUT))
            return png.chunks_before_pixels(scratch.take(ghostscript.output_name(setup, 0)))
        except (SessionEnded, ValueError):
            return None
        finally:
            session.close()

    def _tell(self, session: Session, task: Task) -> None:
        session.tell(task.number, task.page if self._budget.allows_another() else None)

    def _queue_ahead(self, session: Session) -> None:
        """Ask the renderer for the next page, so that it never waits for us between two pages.

        Not where pages are slow: a page that was asked for cannot be given to an idle host any more. Nor
        at the end of a window, where the document is closed.
        """
        is_fast = 0 < self._seconds_per_page < QUEUE_AHEAD_BELOW
        if self.ahead is not None or self._window.ends_with_next() or not is_fast:
            return
        if not self._may_continue():
            return
        task = self._tasks.take_of(session.setup.document, self._program.recipe)
        if task is not None:
            with self._lock:
                self.ahead = task  # before it is sent: a renderer that dies of that must not lose it
            self._tell(session, task)
            self._is_ahead_sent = True

    def _take_thumbnail(self, page: int, data: bytes, seconds: float) -> None:
        self._budget.spend(seconds)
        self._thumbnail_seconds += seconds
        if 0 < len(data) <= thumbnailbudget.MAX_SIZE:
            text = base64.b64encode(data).decode("ascii")
            self._wire.post("thumbnail", can_wait=True, page=page, data=text)


def require_document(folder: str, file: str) -> None:
    """Wait until a file is visible here; the coordinator wrote it before it sent its name.

    Raises FileNotFoundError.
    """
    if not jobfolder.becomes_visible(os.path.join(folder, file), VISIBLE_TIMEOUT):
        raise FileNotFoundError("%s does not appear in the job's folder" % file)
