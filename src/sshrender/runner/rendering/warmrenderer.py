"""Renders page after page with one warm program, which it starts, replaces and ends.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import base64
import os
import time
from typing import Callable, NamedTuple, Optional, Tuple, Union

from sshrender.renderers import ghostscript
from sshrender.renderers.dialogue import Dialogue, PageResult
from sshrender.renderers.encoders import png
from sshrender.renderers.ghostscript import Setup
from sshrender.runner import wire
from sshrender.runner.host import jobfolder, processlimits, scratch
from sshrender.runner.rendering import thumbnailbudget
from sshrender.runner.rendering.diagnosticsearch import DiagnosticWindow, remove_output
from sshrender.runner.rendering.rasterrenderer import Rasters
from sshrender.runner.rendering.recyclewindow import RecycleWindow
from sshrender.runner.rendering.rendererinterface import OneShotRenderer, PageRenderer, RenderedFile
from sshrender.runner.rendering.slotsettings import SlotParts
from sshrender.runner.rendering.warmsession import REASONS, Answer, Session, SessionEnded
from sshrender.runner.slots.taskqueue import Task
from sshrender.storage.primitives import VISIBLE_TIMEOUT, reason_of

QUEUE_AHEAD_BELOW = 0.5
"""Seconds a page: below this the next page is sent to the renderer before this one is finished."""

KILL_GRACE = 0.5
"""Seconds that a cancelled page may still take if pages are that fast. A renderer that is killed has to
be started again, and the pages of its window are interpreted once more (diagnosticsearch.py): 100 pages
of a manual for 1.2 s, at the end of the job perhaps."""

CHUNKS_TIMEOUT = 30.0
"""Seconds for a small blank page, for which all slots wait (rasterfolders.py)."""


class WarmProgram(NamedTuple):
    """A program that is kept warm, and what its pages need (slotrenderers.py).

    ``make_window`` gets a function that starts a further session, whose document is not open.
    ``recipe``: the number of the recipe that it renders; None: it is Ghostscript. ``one_shot`` renders
    the pages that the warm program declines. ``chunks``: for the PNG files of its rasters (RasterFile);
    None: a Ghostscript finds them out. ``copy_name``: the file that a session leaves of a document with
    a password, in its folder for temporary files, before it declines a page.
    """

    dialogue: Dialogue
    setup: Setup
    make_window: Callable[[Callable[[Setup], Session]], Union[DiagnosticWindow, RecycleWindow]]
    rasters: Rasters
    recipe: Optional[int] = None
    one_shot: Optional[OneShotRenderer] = None
    chunks: Optional[bytes] = None
    copy_name: str = ""


class WarmRenderer(PageRenderer):
    """The warm renderer of one slot. See PageRenderer."""

    def __init__(self, program: WarmProgram, parts: SlotParts) -> None:
        self._program = program
        self._settings = parts.settings
        self._tasks = parts.tasks
        self._wire = parts.post
        self._environ = parts.environ
        self._locks = parts.locks
        # Guards what kill() reads: ``ahead``, the session and whether it renders.
        self._lock = parts.lock
        self._may_continue = parts.may_continue
        # Guarded by ``lock``: kill() looks at it from another thread.
        self.ahead: Optional[Task] = None
        self.has_unkillable = False
        # Whether the renderer has been asked for the page ahead; and for the present one.
        self._is_ahead_sent = self._is_sent = False
        self._session: Optional[Session] = None
        # The window may start a second session, for its search.
        self._window = program.make_window(self._new_session)
        self._rasters = program.rasters
        self._is_one_shot = False
        # Guarded by ``lock``: the page that is rendered was cancelled.
        self._is_cancelled = False
        self._budget = thumbnailbudget.ThumbnailBudget(bool(program.setup.thumbnails))
        # Time of the last page; 0 before the first one, so that nothing is queued ahead then.
        self._seconds_per_page = 0.0
        self._thumbnail_seconds = 0.0

    @property
    def has_open_window(self) -> bool:
        """Whether pages were rendered whose diagnostics are not known yet."""
        return not self._window.is_empty or self._window.has_unexplained

    def take_ahead(self) -> None:
        """Make the page that was queued ahead, if any, the one to render. The caller holds the lock."""
        self._is_sent, self._is_ahead_sent, self.ahead = self._is_ahead_sent, False, None

    def spare(self) -> None:
        """Forget that the page was cancelled: it is over. The caller holds the lock."""
        self._is_cancelled = False
        if self._session is not None:
            self._session.spare()

    def kill(self) -> None:
        """See PageRenderer.kill."""
        self._is_cancelled = True
        # The one-shot program works in place of the session, which has answered already.
        if self._is_one_shot and self._program.one_shot is not None:
            self._program.one_shot.kill()
        elif self._session is not None and 0 < self._seconds_per_page < QUEUE_AHEAD_BELOW:
            self._session.kill_unless_done(KILL_GRACE)
        elif self._session is not None:
            self._session.kill()

    def start(self, document: str) -> None:
        """Start a renderer and open the document. Raises SessionEnded."""
        # Checked before each start, because an unkillable renderer still holds the slot's lock.
        self.require_killable()
        settings = self._settings
        suffix = self._program.dialogue.output_suffix
        # A random name and the epoch: no two sessions share a file name, and old epochs' files can be
        # told.
        output = "s%s.e%d.%%d%s" % (os.urandom(8).hex(), settings.epoch, suffix)
        session = self._new_session(
            self._rasters.setup(self._program.setup._replace(document=document, output=output))
        )
        # Before the document is opened: kill() must reach a session that hangs in opening.
        with self._lock:
            self._session = session
            # Cancelled while it had no renderer, or one that was replaced.
            if self._is_cancelled:
                session.kill()
        self._window.open(session)

    def _new_session(self, setup: Setup) -> Session:
        settings = self._settings
        process = settings.process_setup(self._environ, self._locks.descriptors)
        return Session(
            setup,
            process,
            self._program.dialogue,
            settings.password_bytes,
            self._take_thumbnail,
            settings.guard,
        )

    def require_killable(self) -> None:
        """Raise SessionEnded when a renderer was killed and does not end.

        It hangs in the kernel and keeps the slot's lock (signal(7)); no other is started beside it.
        """
        if self.has_unkillable:
            raise SessionEnded(wire.CRASHED, "one that was killed does not end", [])

    def render(self, task: Task) -> RenderedFile:
        """See PageRenderer.render."""
        began = time.monotonic()
        # The page may have been asked for already, while the page before was rendered.
        session, answer = self._ask_for(task)
        result = self._result(answer)
        # Once more with a renderer that has looked up all pages: a page may be in the tree twice
        # (ghostscript.seek_lines).
        if result.is_missing:
            session, answer = self._seek(task)
            result = self._result(answer)
        if result.is_declined:
            return self._render_by_one_shot(session, task, result)
        raster = self._rasters.take(session, result, self._make_chunks)
        # Too large, or cut off: the same page again, with a renderer that writes its file itself.
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
            # Without the raster the name is that of the page's file in ``work/``.
            written=ghostscript.output_name(session.setup._replace(raster=None), result.shown),
            page_size=result.size,
            seconds=seconds - aside,
            cpu=session.cpu_since(),
            # Diagnostics that opening the document causes are not the page's.
            diagnostics=self._window.of_page(self._program.dialogue.warnings(answer.lines)),
            is_rendered=result.is_rendered,
            has_substituted_fonts=result.has_substituted_fonts,
            raster=raster,
        )

    def _result(self, answer: Answer) -> PageResult:
        return self._program.dialogue.page_result(answer.value, answer.lines)

    def _render_by_one_shot(self, session: Session, task: Task, result: PageResult) -> RenderedFile:
        """Render a page that the warm program declined, with a run of its own.

        The page after it may have been queued ahead; no further one is, until the warm program has
        rendered again: two programs of one slot would work at once.
        """
        # 0 queues no page ahead (_queue_ahead).
        self._seconds_per_page = 0.0
        assert self._program.one_shot is not None
        readable = task
        # Its programs get no password: the session has left a copy that needs none.
        if self._settings.password is not None:
            readable = task._replace(file=session.scratch_file(self._program.copy_name))
        with self._lock:
            # The session has answered, so that its end would not end what starts here.
            if self._is_cancelled:
                raise SessionEnded(wire.KILLED, REASONS[wire.KILLED], [])
            self._is_one_shot = True
        try:
            rendered = self._one_shot_raster(session, readable, result)
            if rendered is None:
                rendered = self._program.one_shot.render(readable)
            return rendered._replace(task=task)
        finally:
            with self._lock:
                self._is_one_shot = False

    def _one_shot_raster(
        self, session: Session, task: Task, result: PageResult
    ) -> Optional[RenderedFile]:
        """Have the raster of a page made by a run of its own; None if there is no room for it."""
        if result.place is None or session.setup.raster is None or self._program.one_shot is None:
            return None
        path = ghostscript.output_name(session.setup, result.shown, result.place)
        try:
            rendered = self._program.one_shot.render_raster(task, path)
        except SessionEnded as end:
            # Perhaps the folder is full. If it is the page, that shows once more with its file.
            if end.kind == wire.CRASHED:
                return None
            raise
        raster = self._rasters.take(session, result, self._make_chunks)
        return None if raster is None else rendered._replace(raster=raster)

    def conclude(self, rendered: RenderedFile) -> None:
        """Add a page to the window, and close the window when that is due."""
        # After the page was handed over: what the window does delays no page.
        self._window.add(rendered.task, rendered.seconds)
        if not rendered.is_rendered:
            # Nothing came out. Perhaps the document could not be opened: the next try opens it again.
            self.close_window()
            self.drop()
            remove_output(self._settings.folder, rendered.written)
        # Not while the renderer has the next page: the document is closed after that one.
        elif self._window.is_due() and not self._is_ahead_sent:
            self.close_window()

    def close_window(self) -> None:
        """Report the diagnostics of the pages since the document was opened."""
        session = self._session
        if session is not None and not self._window.is_empty:
            self._close_window(session)
        # Only with the slot's lock, which a slot without a renderer may have released: it is a process.
        if self._window.has_unexplained and self._locks.is_held:
            self._window.explain()

    def _close_window(self, session: Session) -> None:
        try:
            self._window.close(session)
        # Its pages were delivered; what they cause is found by another renderer.
        except SessionEnded:
            self.drop()
            return
        # Between two windows: the document is open, and no page is asked for.
        if self._needs_recycling(session):
            self.drop()

    def drop(self) -> None:
        """End the renderer, if there is one."""
        with self._lock:
            session, self._session = self._session, None
            # A page that was queued ahead is lost with the session; run() renders it again.
            self._is_ahead_sent = False
        # Their summary ended with the session: close_window() has them interpreted again.
        self._window.clear()
        # It hangs in the kernel; the slot takes no more pages (require_killable).
        if session is not None and not session.close():
            self.has_unkillable = True
        # After the end, when nothing writes there any more.
        if session is not None:
            self._rasters.clear(session)

    def _needs_recycling(self, session: Session) -> bool:
        return (
            session.pages_rendered >= self._settings.recycle_pages
            or session.resident() > self._settings.recycle_memory
            # At half of the limit: a page must not be the one that reaches it.
            or session.cpu_used() > processlimits.processor_time() / 2
        )

    def _session_for(self, file: str) -> Session:
        # Another part of a split document.
        if self._session is not None and self._session.setup.document != file:
            self.close_window()
            self.drop()
        if self._session is not None and self._session.is_killed:
            self.drop()  # killed for the page before, whose answer had been read by then
        # Rasters are possible again after pages that were too large.
        if self._session is not None and self._rasters.may_return(self._session, self._is_sent):
            self.close_window()
            self.drop()
        if self._session is None:
            # Waited for before the start: NFS may show a new file late.
            for name in (file,) + self._program.setup.files:
                require_document(self._settings.folder, name)
            self.start(file)
        assert self._session is not None
        return self._session

    def _ask_for(self, task: Task) -> Tuple[Session, Answer]:
        """Render a page. A renderer that dies of an earlier page's thumbnail does not fail this one."""
        # Compared below: a new session has not been asked for the page.
        before, session = self._session, self._session_for(task.file)
        try:
            if not self._is_sent or session is not before:
                self._tell(session, task)
            # Before waiting, so that the renderer has the next page when this one is done.
            self._queue_ahead(session)
            return session, session.answer(self._settings.page_timeout)
        except SessionEnded as end:
            # A thumbnail is of an earlier page, so its crash must not fail this one. A kill must.
            if not session.is_at_thumbnail or end.kind == wire.KILLED:
                raise
        # No more thumbnails in this slot: the next one could crash in the same way.
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
                # The answer has to be read: the document can only be closed when the renderer waits for
                # a command.
                ahead = self._result(session.answer(timeout))
                place = ghostscript.NEAR_BY if ahead.place is None else ahead.place
                name = ghostscript.output_name(session.setup, ahead.shown, place)
                remove_output(self._settings.folder, name)
            self.close_window()
        except SessionEnded as end:
            # A kill is about this page; any other end leaves it to be rendered below.
            if end.kind == wire.KILLED:
                raise
        self.drop()
        # _rasters.setup() gives it no raster for the next pages (PLAIN_PAGES).
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
        process = settings.process_setup(self._environ, self._locks.descriptors, (output.folder,))
        session = Session(setup, process)
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

        It does not if pages are slow, as a page that was asked for cannot be given to an idle host any
        more, nor at the end of a window, when the document is closed.
        """
        # Not before the first page, whose time is unknown.
        is_fast = 0 < self._seconds_per_page < QUEUE_AHEAD_BELOW
        if self.ahead is not None or self._window.ends_with_next() or not is_fast:
            return
        # A slot that has to yield must not have another page under way.
        if not self._may_continue():
            return
        # Only for this file and recipe: another one needs another session.
        task = self._tasks.take_of(session.setup.document, self._program.recipe)
        if task is not None:
            with self._lock:
                self.ahead = task  # before it is sent: a renderer that dies of that must not lose it
            self._tell(session, task)
            # Set when the lines were written: run() then knows that the page needs no second request.
            self._is_ahead_sent = True

    def _take_thumbnail(self, page: int, data: bytes, seconds: float) -> None:
        self._budget.spend(seconds)
        self._thumbnail_seconds += seconds
        if 0 < len(data) <= thumbnailbudget.MAX_SIZE:
            text = base64.b64encode(data).decode("ascii")
            self._wire.post("thumbnail", can_wait=True, page=page, data=text)


def require_document(folder: str, file: str) -> None:
    """Wait until a file is visible here; the coordinator wrote it before it sent its name.

    Raises FileNotFoundError; SessionEnded if this host may not read it, which no other page changes.
    """
    # The coordinator wrote the file before the request, so only the caches of NFS can hide it.
    error = jobfolder.becomes_readable(os.path.join(folder, file), VISIBLE_TIMEOUT)
    if isinstance(error, FileNotFoundError):
        raise FileNotFoundError("%s does not appear in the job's folder" % file)
    if error is not None:
        raise SessionEnded(wire.STORAGE, "cannot read %s: %s" % (file, reason_of(error)), [])
