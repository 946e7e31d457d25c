"""One slot of a host: a thread that draws page after page with a warm Ghostscript.

Attributing what Ghostscript says. Some complaints are printed only when the document is closed and
name no page. So the document is closed and opened again after a *window* of pages (1, 4, 16, 64 pages
while all is well), which costs a few milliseconds. When a window's summary has complaints that the
document does not earn by being opened alone, and the window held one page, they are that page's;
when it held more, its pages are drawn again, one by one, to find whose they are, and the next
window is a single page. The pictures were reported long before: a page is delivered first and
called suspect later.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from sshrender.renderers import diagnostics, ghostscript
from sshrender.renderers import recipe as recipes
from sshrender.renderers.recipe import Recipe
from sshrender.runner import jobfolder, memory, scratch, slotlocks, thumbnailbudget, wire
from sshrender.runner.finalizer import Finalizer, RenderedFile
from sshrender.runner.oneshot import OneShot, ProcessLimits
from sshrender.runner.taskqueue import Task, TaskQueue
from sshrender.runner.warmsession import Answer, Session, SessionEnded
from sshrender.storage import primitives

IDLE_PAUSE = 0.2
AHEAD_BELOW = 0.5
"""Seconds a page: below this the next page is told before this one is drawn."""

MAX_WINDOW = 64
GROWTH = 4
CLEAN_WINDOW_FACTOR, DIRTY_WINDOW_FACTOR = 10.0, 2.0
"""A window stays open until drawing has taken this many times what opening the document takes."""


class Plan(NamedTuple):
    """What a slot draws with, as the coordinator asked for it.

    ``is_eager``: start a renderer before the first page comes, because the host is idle. ``recipes``:
    other ways to draw a page, by their numbers in the job. ``seats``: slots of this host, for all jobs,
    and ``place``: this job among them. ``epoch``: of the coordinator; part of each name in ``work/``.
    """

    setup: ghostscript.Setup
    folder: str
    password: Optional[str]
    page_timeout: float
    page_memory: int
    recycle_pages: int
    recycle_memory: int
    is_eager: bool
    guard: memory.Guard
    seats: int
    place: slotlocks.JobShare
    recipes: Tuple[Optional[Recipe], ...] = ()
    is_sandboxed: bool = False
    epoch: int = 0


class Slot(threading.Thread):
    """Takes tasks from the host's queue until that ends."""

    def __init__(
        self,
        plan: Plan,
        tasks: TaskQueue,
        post: wire.Wire,
        environ: Dict[str, str],
        number: int = 0,
    ) -> None:
        super().__init__(daemon=True, name="slot")
        self._number = number
        self._plan = plan
        self._tasks = tasks
        self._wire = post
        self._environ = environ
        self._finalizer = Finalizer(post, plan.folder, tasks, plan.epoch)
        self._lock = threading.Lock()
        self._session: Optional[Session] = None
        self._attempt: Optional[str] = None
        self._one_shot: Optional[OneShot] = None
        self._ahead: Optional[Task] = None
        self._is_told = False
        self._called_off: Optional[str] = None
        self._pace = 0.0
        self._window: List[Task] = []
        self._window_size = 1
        self._window_seconds = 0.0
        self._open_seconds = 0.0
        self._is_dirty = False
        self._budget = thumbnailbudget.ThumbnailBudget(bool(plan.setup.thumbnails))
        self._aside = 0.0
        self._rest = memory.Backoff()
        self._seats = slotlocks.SlotLocks(plan.seats, plan.place)
        self._has_unkillable = False
        self._baseline: Dict[str, List[str]] = {}

    def run(self) -> None:
        """The thread. Whatever goes wrong in it is this host's failure and is said, not lost."""
        self._finalizer.start()
        try:
            self._warm_up()
            while self._ahead is not None or not self._tasks.has_ended():
                self._refuse_unkillable()
                task = self._ahead or self._take()
                if task is not None:
                    self._draw(task)
                    self._get_up()
                elif self._window:
                    self._close_window()
            self._close_window()
        except SessionEnded as end:
            self._wire.post("trouble", reason="no renderer: %s" % end.reason)
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            self._wire.post("trouble", reason="%s: %s" % (type(error).__name__, error))
        finally:
            self._drop_session()
            self._seats.release()
            self._finalizer.finish()

    def kill(self, attempt: str) -> None:
        """Call off an attempt that this slot draws or will draw next; others are not its business."""
        with self._lock:
            if self._ahead is not None and attempt == self._ahead.attempt:
                self._called_off = attempt
            elif attempt == self._attempt and self._one_shot is not None:
                self._one_shot.kill()
            elif attempt == self._attempt and self._session is not None:
                self._session.kill()

    def _is_there(self, document: str) -> bool:
        """A document that is being split may have no parts yet."""
        return os.path.exists(os.path.join(self._plan.folder, document))

    def _warm_up(self) -> None:
        """Before the first page has come, where it hinders nobody."""
        is_wanted = self._plan.is_eager and self._is_allowed()
        if is_wanted and self._is_there(self._plan.setup.document) and self._seats.acquire():
            self._start_session(self._plan.setup.document)

    def _is_allowed(self) -> bool:
        """Whether the job may have this slot too."""
        return self._plan.place.allows(self._number)

    def _get_up(self) -> None:
        """Between two pages, if the next one was not told yet: others may wait for the seat."""
        if self._ahead is None and (self._seats.must_yield() or not self._is_allowed()):
            self._leave_seat()

    def _rest_from_work(self) -> None:
        """There is nothing to draw: a warm renderer is kept where nobody wants its seat."""
        if not self._seats.is_held or self._seats.has_waiters():
            self._leave_seat()

    def _leave_seat(self) -> None:
        """No renderer without a seat."""
        self._close_window()
        self._drop_session()
        self._seats.release()

    def _take(self) -> Optional[Task]:
        if not self._tasks.has_waiting():
            self._finalizer.hurry()
        if not self._rest.is_over() or not self._is_allowed():
            self._leave_seat()
            time.sleep(IDLE_PAUSE)
            return None
        self._tasks.wait(IDLE_PAUSE)
        if not self._tasks.has_waiting():
            self._rest_from_work()
            return None
        if not self._seats.acquire():
            time.sleep(slotlocks.POLL_INTERVAL)
            return None
        return self._tasks.take_now()

    def _draw(self, task: Task) -> None:
        with self._lock:
            is_told, self._is_told, self._ahead = self._is_told, False, None
            self._attempt = task.attempt
        self._wire.post("started", can_wait=True, attempt=task.attempt, page=task.page)
        began = time.monotonic()
        try:
            if task.attempt == self._called_off:
                raise SessionEnded(wire.KILLED, "was called off", [])
            recipe = None if task.recipe is None else self._plan.recipes[task.recipe]
            if recipe is not None:
                self._close_window()
                self._drop_session()  # beside a recipe's program it would be one too many
                self._finalizer.submit(self._run_recipe(task, recipe))
                return
            drawn = self._render_once(task, began, is_told)
        except SessionEnded as end:
            self._fail(task, end, time.monotonic() - began)
            return
        finally:
            with self._lock:
                self._attempt = self._one_shot = None
        self._finalizer.submit(drawn)
        self._pace = drawn.seconds
        self._window.append(task)
        self._window_seconds += drawn.seconds
        if not drawn.is_rendered:
            # Nothing came out. Perhaps the document could not be opened: the next try opens it anew.
            self._close_window()
            self._drop_session()
            self._remove(drawn.written)
        else:
            self._close_window_when_due()

    def _render_once(self, task: Task, began: float, is_told: bool = False) -> RenderedFile:
        session, answer = self._ask_for(task, is_told)
        shown, size = ghostscript.parse_page_answer(answer.value)
        if size is None and diagnostics.was_not_found(answer.lines):
            session, answer = self._seek(task)
            shown, size = ghostscript.parse_page_answer(answer.value)
        seconds = time.monotonic() - began
        aside, self._aside = min(self._aside, seconds), 0.0
        self._budget.earn(seconds - aside)
        return RenderedFile(
            task=task,
            written="%s/%s" % (session.setup.folder, session.setup.output % (shown + 1)),
            page_size=size,
            seconds=seconds - aside,
            cpu=session.cpu_since(),
            complaints=diagnostics.complaints(answer.lines),
            is_rendered=size is not None and not diagnostics.was_not_drawn(answer.lines),
            has_substituted_fonts=diagnostics.has_substituted_fonts(answer.lines),
        )

    def _run_recipe(self, task: Task, recipe: Recipe) -> RenderedFile:
        """Raises SessionEnded."""
        self._await_document(task.file)
        folder = scratch.make()
        if folder is None:
            raise SessionEnded(wire.CRASHED, "there is no room for temporary files", [])
        stem = "work/s%s.e%d" % (os.urandom(8).hex(), self._plan.epoch)
        written = "%s.%s" % (stem, recipe.extension)
        began = time.monotonic()
        try:
            page = self._one_shot_for(task, recipe, folder, stem)
            with self._lock:
                self._one_shot = page
            ran = page.run()
        except SessionEnded:
            self._remove(written)
            raise
        finally:
            scratch.remove(folder)
        return RenderedFile(
            task=task,
            written=written,
            page_size=None,
            seconds=time.monotonic() - began,
            cpu=ran.cpu,
            complaints=recipes.complaints(recipe, ran.lines),
        )

    def _one_shot_for(self, task: Task, recipe: Recipe, folder: str, stem: str) -> OneShot:
        plan = self._plan
        fields = {
            "document": task.file,
            "page": str(task.number),
            "number": str(task.page),
            "dpi": plan.setup.dpi,
            "device": plan.setup.device,
            "output": "%s.%s" % (stem, recipe.extension),
            "stem": stem,
            "scratch": folder,
            "password_file": os.path.join(folder, "password"),
        }
        if plan.password is not None and recipe.uses("password_file"):
            scratch.write(fields["password_file"], plan.password)
        return OneShot(
            recipe,
            fields,
            plan.folder,
            task.file,
            self._environ,
            ProcessLimits(plan.page_memory, plan.page_timeout),
            plan.guard,
            plan.is_sandboxed,
            self._seats.descriptors,
        )

    def _ask_for(self, task: Task, is_told: bool) -> Tuple[Session, Answer]:
        """Draw a page. A renderer that dies of the thumbnail before it is not this page's failure."""
        before, session = self._session, self._session_for(task.file)
        try:
            if not is_told or session is not before:
                self._tell(session, task)
            self._tell_next(session)
            return session, session.answer(self._plan.page_timeout)
        except SessionEnded as end:
            if not session.is_at_thumbnail or end.kind == wire.KILLED:
                raise
        self._budget.give_up()
        self._drop_session()
        session = self._session_for(task.file)
        self._tell(session, task)
        return session, session.answer(self._plan.page_timeout)

    def _tell(self, session: Session, task: Task) -> None:
        session.tell(task.number, task.page if self._budget.allows_another() else None)

    def _take_thumbnail(self, page: int, data: bytes, seconds: float) -> None:
        self._budget.spend(seconds)
        self._aside += seconds
        if 0 < len(data) <= thumbnailbudget.MAX_SIZE:
            text = base64.b64encode(data).decode("ascii")
            self._wire.post("thumbnail", can_wait=True, page=page, data=text)

    def _seek(self, task: Task) -> Tuple[Session, Answer]:
        """Draw a page that was not found with a renderer that has seen all the pages before it.

        A new one, because the old one may have been told the next page already.
        """
        self._drop_session()
        session = self._session_for(task.file)
        session.seek(task.number, self._plan.page_timeout)
        session.tell(task.number)
        return session, session.answer(self._plan.page_timeout)

    def _tell_next(self, session: Session) -> None:
        """Tell the renderer the page after this one, so that it never waits for us in between.

        Not where pages are slow: what has been told cannot be given to an idle host any more. Nor
        before the end of a window, where the document is closed.
        """
        is_last = len(self._window) + 1 >= self._window_size
        if self._ahead is not None or is_last or not 0 < self._pace < AHEAD_BELOW:
            return
        if self._seats.must_yield() or not self._is_allowed():
            return
        task = self._tasks.take_of(session.setup.document)
        if task is not None:
            with self._lock:
                self._ahead = task  # a renderer that dies of the telling must not take it along
            self._tell(session, task)
            self._is_told = True

    def _fail(self, task: Task, end: SessionEnded, seconds: float) -> None:
        self._drop_session()
        if end.kind == wire.LOW_MEMORY:
            self._rest.begin()
        complaints = diagnostics.complaints(end.lines)
        reason = end.reason + (": " + complaints[-1] if complaints else "")
        self._wire.post(
            "failed",
            attempt=task.attempt,
            page=task.page,
            kind=end.kind,
            reason=reason,
            seconds=round(seconds, 4),
            cpu=0.0,
            diagnostics=complaints,
        )

    def _session_for(self, file: str) -> Session:
        if self._session is not None and self._session.setup.document != file:
            self._close_window()
            self._drop_session()
        if self._session is not None and self._session.is_killed:
            self._drop_session()  # for the page before, whose answer had been read by then
        if self._session is None:
            self._await_document(file)
            self._start_session(file)
        assert self._session is not None
        return self._session

    def _await_document(self, file: str) -> None:
        """Raises FileNotFoundError: it is not here, though it was written before we were told of it."""
        path = os.path.join(self._plan.folder, file)
        if not jobfolder.becomes_visible(path, primitives.VISIBLE_TIMEOUT):
            raise FileNotFoundError("%s does not appear in the job's folder" % file)

    def _start_session(self, file: str) -> None:
        """Raises SessionEnded."""
        self._refuse_unkillable()
        plan = self._plan
        session = Session(
            plan.setup._replace(document=file, output="s%s.e%d.%%d" % (os.urandom(8).hex(), plan.epoch)),
            plan.folder,
            "sshrender-" + os.urandom(8).hex(),
            plan.page_memory,
            self._environ,
            plan.password,
            plan.is_sandboxed,
            self._take_thumbnail,
            plan.guard,
            self._seats.descriptors,
        )
        with self._lock:
            self._session = session
        self._open()

    def _open(self) -> None:
        assert self._session is not None
        began = time.monotonic()
        self._session.open(self._plan.page_timeout)
        self._open_seconds = time.monotonic() - began
        self._window_seconds = 0.0

    def _drop_session(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            self._is_told = False
        self._window = []
        if session is not None and not session.close():
            self._has_unkillable = True

    def _refuse_unkillable(self) -> None:
        """A renderer that was killed and does not end keeps its seat: there is none beside it.

        Raises SessionEnded.
        """
        if self._has_unkillable:
            raise SessionEnded(wire.CRASHED, "one that was killed does not end", [])

    def _remove(self, written: str) -> None:
        """Remove what a renderer began for a page that never came out.

        What cannot be removed stays: the page's own report says what is wrong with the storage, and the
        next coordinator clears ``work/`` (resumption.py).
        """
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._plan.folder, written))

    def _close_window_when_due(self) -> None:
        patience = DIRTY_WINDOW_FACTOR if self._is_dirty else CLEAN_WINDOW_FACTOR
        if len(self._window) < self._window_size:
            return
        if self._window_seconds >= patience * self._open_seconds or len(self._window) >= 4 * MAX_WINDOW:
            self._close_window()

    def _close_window(self) -> None:
        """Close the document, find whose its complaints are, open it again."""
        session, window = self._session, self._window
        self._window = []
        if session is None or not window:
            return
        try:
            complaints = self._summary(session)
            self._open()
            self._is_dirty = bool(complaints)
            if complaints:
                self._attribute(session, window, complaints)
        except SessionEnded:
            self._drop_session()
            return
        self._window_size = 1 if self._is_dirty else min(GROWTH * self._window_size, MAX_WINDOW)
        if self._needs_recycling(session):
            self._drop_session()

    def _summary(self, session: Session) -> List[str]:
        return diagnostics.complaints(session.close_document(self._plan.page_timeout).lines)

    def _attribute(self, session: Session, window: List[Task], complaints: List[str]) -> None:
        new = self._beyond_baseline(session, complaints)
        self._is_dirty = bool(new)
        if not new:
            return
        if len(window) == 1:
            self._suspect(window[0], new)
            return
        for task in window:
            lines = self._beyond_baseline(session, self._render_again(session, task))
            if lines:
                self._suspect(task, lines)

    def _beyond_baseline(self, session: Session, complaints: List[str]) -> List[str]:
        """What is left when the complaints of merely opening the document are taken away."""
        file = session.setup.document
        if file not in self._baseline:
            self._baseline[file] = self._summary(session)
            self._open()
            if self._baseline[file]:
                self._wire.post("noted", diagnostics=self._baseline[file])
        return [line for line in complaints if line not in self._baseline[file]]

    def _render_again(self, session: Session, task: Task) -> List[str]:
        session.tell(task.number)
        shown, _ = ghostscript.parse_page_answer(session.answer(self._plan.page_timeout).value)
        self._remove("%s/%s" % (session.setup.folder, session.setup.output % (shown + 1)))
        complaints = self._summary(session)
        self._open()
        return complaints

    def _suspect(self, task: Task, lines: List[str]) -> None:
        self._wire.post("suspected", attempt=task.attempt, page=task.page, diagnostics=lines)

    def _needs_recycling(self, session: Session) -> bool:
        return (
            session.pages_rendered >= self._plan.recycle_pages
            or session.resident() > self._plan.recycle_memory
        )


def inspect(session: Session, timeout: float) -> Tuple[Any, List[str]]:
    """Open a document and say how many pages Ghostscript finds in it, and what it says of it."""
    opened = session.open(timeout)
    closing = session.close_document(timeout)
    return opened.value, diagnostics.complaints(opened.lines + closing.lines)
