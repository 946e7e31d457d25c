"""One slot of a host: a thread that takes pages from the queue and has them rendered one after another.

It holds one of the host's slot locks while it has a renderer, and yields it between two pages when
another job is entitled to it.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Dict, Optional

from sshrender.renderers import diagnostics
from sshrender.runner import wire
from sshrender.runner.host import memorylimits, processlimits
from sshrender.runner.rendering.finalizer import Finalizer
from sshrender.runner.rendering.pageencoder import PageEncoder
from sshrender.runner.rendering.rendererinterface import PageRenderer
from sshrender.runner.rendering.slotrenderers import renderers
from sshrender.runner.rendering.slotsettings import SlotParts, SlotSettings
from sshrender.runner.rendering.warmrenderer import WarmRenderer
from sshrender.runner.rendering.warmsession import SessionEnded
from sshrender.runner.slots import slotlocks
from sshrender.runner.slots.taskqueue import Task, TaskQueue

IDLE_PAUSE = 0.2
"""Seconds between two checks of the queue and at the job's share while there is nothing to render."""


class Slot(threading.Thread):
    """Takes tasks from the host's queue until that ends, and answers each of them on the wire."""

    def __init__(
        self,
        settings: SlotSettings,
        tasks: TaskQueue,
        post: wire.Wire,
        environ: Dict[str, str],
        number: int = 0,
    ) -> None:
        super().__init__(daemon=True, name="slot")
        self._number = number
        self._settings = settings
        self._tasks = tasks
        self._wire = post
        encoder = PageEncoder(settings.helpers)
        self._finalizer = Finalizer(
            post, settings.folder, tasks, settings.epoch, encoder, settings.page_timeout
        )
        # One object for each slot: a slot holds at most one lock.
        self._locks = slotlocks.SlotLocks(settings.slots, settings.share)
        self._backoff = memorylimits.Backoff()
        # Guards what kill() reads from another thread: the attempt, and the renderers' processes.
        self._lock = threading.Lock()
        self._attempt: Optional[str] = None
        # An attempt that was killed while it waited in the renderer's queue.
        self._cancelled: Optional[str] = None
        # All renderers of the slot get the same lock, so kill() sees them and the attempt together.
        self._renderers = renderers(
            SlotParts(settings, tasks, post, environ, self._locks, self._lock, self._may_continue)
        )
        self._renderer = self._renderers[0 if settings.recipes else None]
        # The one that is warm now, or will be: there is at most one process of them.
        warm = self._renderer
        self._warm = warm if isinstance(warm, WarmRenderer) else self._ghostscript()

    def run(self) -> None:
        """Work until the queue ends. An error in this thread is reported as this host's failure."""
        # Started here and not in __init__, so that a slot that never runs leaves no thread.
        self._finalizer.start()
        try:
            self._warm_up()
            # The page ahead first: the renderer has been asked for it already, so the queue's end does
            # not matter.
            while self._warm.ahead is not None or not self._tasks.has_ended():
                # A slot whose renderer hangs in the kernel takes no more pages.
                self._warm.require_killable()
                task = self._warm.ahead or self._take()
                if task is not None:
                    # The order matters: the lock is looked at between two pages, when the renderer is
                    # not working.
                    self._render(task)
                    self._yield_if_needed()
                elif self._backoff.is_over():
                    # Nothing to render for now: time to learn what the window's pages cause.
                    self._close_window()
            self._close_window()
        except SessionEnded as end:
            self._wire.post("trouble", reason="no renderer: " + _with_last_line(end))
        except Exception as error:  # noqa: BLE001 - a worker thread turns a crash into an event
            reason = processlimits.reached(error) or "%s: %s" % (type(error).__name__, error)
            self._wire.post("trouble", reason=reason)
        finally:
            # The renderer ends before its lock is released, or two would work in one slot.
            self._warm.drop()
            self._locks.release()
            # Last: pages that were handed over are still reported.
            self._finalizer.finish()

    def kill(self, attempt: str) -> None:
        """Stop an attempt, from another thread, if this slot renders it or will render it next."""
        # Called by the main thread, which reads requests. render() changes these fields under the same
        # lock.
        with self._lock:
            ahead = self._warm.ahead
            if ahead is not None and attempt == ahead.attempt:
                # The renderer works on the page before it, which must not fail with it.
                # _render() looks at it when the page's turn comes.
                self._cancelled = attempt
            elif attempt == self._attempt:
                # Only the page that is being rendered: this program continues with the next one.
                self._renderer.kill()
        # It may have been handed over, perhaps a moment ago.
        self._finalizer.cancel(attempt)

    def _warm_up(self) -> None:
        """Start a renderer before the first page comes, if no other job is delayed by that."""
        document = self._settings.setup.document
        # The parts of a document that is still being split do not exist yet.
        needed = (document,) + self._settings.setup.files
        exists = all(os.path.exists(os.path.join(self._settings.folder, name)) for name in needed)
        is_wanted = self._settings.is_eager and self._is_allowed()
        # is_allowed() before acquire(): a slot beyond the job's limit must not take a lock.
        if is_wanted and exists and self._locks.acquire():
            self._warm.start(document)

    def _is_allowed(self) -> bool:
        """Return whether the job's slot limit includes this slot."""
        return self._settings.share.allows(self._number)

    def _may_continue(self) -> bool:
        """Return whether this slot may take another page before its lock is looked at again."""
        return not self._locks.must_yield() and self._is_allowed()

    def _yield_if_needed(self) -> None:
        """Yield the lock between two pages, unless the renderer has been asked for the next one."""
        # With a page ahead the renderer is at work, and its page would be lost.
        if self._warm.ahead is None and not self._may_continue():
            self._leave()

    def _rest(self) -> None:
        """Keep a warm renderer while there is nothing to render and no other slot waits for the lock."""
        # Other jobs' waiters get the lock; without one a warm renderer may stay for the next page.
        if not self._locks.is_held or self._locks.has_waiters():
            self._leave()

    def _close_window(self) -> None:
        """Report the diagnostics that are not known yet, if this slot may have a renderer now."""
        # The lock may have been released since a renderer ended whose summary is missing.
        if self._warm.has_open_window and self._locks.acquire():
            self._warm.close_window()

    def _leave(self) -> None:
        """Release the lock. There is no renderer without a lock, so the renderer ends first."""
        # After LOW_MEMORY there is none, and what its pages cause is found when memory is free again.
        if self._backoff.is_over():
            self._warm.close_window()
        self._warm.drop()
        self._locks.release()

    def _take(self) -> Optional[Task]:
        # The finalizer gathers pages for a moment; with an empty queue nothing comes that it could wait
        # for.
        if not self._tasks.has_waiting():
            self._finalizer.hurry()
        # After LOW_MEMORY, or beyond the slot limit: the slot gives up its lock and its renderer.
        if not self._backoff.is_over() or not self._is_allowed():
            self._leave()
            time.sleep(IDLE_PAUSE)
            return None
        # The wait ends early when a task comes. A lock that this slot holds is kept meanwhile; _rest()
        # decides.
        self._tasks.wait(IDLE_PAUSE)
        if not self._tasks.has_waiting():
            self._rest()
            return None
        # acquire() never blocks; a lock that comes free is tried for again in the next round.
        if not self._locks.acquire():
            time.sleep(slotlocks.POLL_INTERVAL)
            return None
        # Another slot may have taken the task meanwhile: then this returns None, and run() comes back.
        return self._tasks.take_now()

    def _render(self, task: Task) -> None:
        renderer = self._renderers[task.recipe]
        with self._lock:
            # One step under the lock: kill() finds the attempt either ahead or being rendered, never
            # nowhere.
            self._warm.take_ahead()
            self._attempt, self._renderer = task.attempt, renderer
        # It can wait: the coordinator needs it for its views, and the next message brings it along.
        self._wire.post("started", can_wait=True, attempt=task.attempt, page=task.page)
        began = time.monotonic()
        try:
            if task.attempt == self._cancelled:
                raise SessionEnded(wire.KILLED, "was cancelled", [])
            # A recipe's page beside the warm program would be a second process in one slot.
            if renderer is not self._warm:
                self._change_to(renderer)
            rendered = renderer.render(task)
        except SessionEnded as end:
            self._fail(task, end, time.monotonic() - began)
            return
        finally:
            with self._lock:
                self._attempt = None
                # Before the window is closed, which may take longer than a page.
                self._warm.spare()
        # Outside of the lock: submit() may block while rasters wait.
        self._finalizer.submit(rendered)
        # After the page was handed over, so that its report does not wait for this.
        renderer.conclude(rendered)

    def _change_to(self, renderer: PageRenderer) -> None:
        """End the warm renderer: beside another program it would be one process too many."""
        self._warm.close_window()
        self._warm.drop()
        if isinstance(renderer, WarmRenderer):
            # The renderer that was dropped may hang in the kernel.
            self._warm.require_killable()
            with self._lock:
                self._warm = renderer

    def _ghostscript(self) -> WarmRenderer:
        ghostscript = self._renderers[None]
        assert isinstance(ghostscript, WarmRenderer)
        return ghostscript

    def _fail(self, task: Task, end: SessionEnded, seconds: float) -> None:
        # A renderer that failed is not trusted with another page.
        self._warm.drop()
        # Only this kind makes the slot pause; the page is not charged with it (wire.py).
        if end.kind == wire.LOW_MEMORY:
            self._backoff.begin()
        self._wire.post(
            "failed",
            attempt=task.attempt,
            page=task.page,
            kind=end.kind,
            reason=_with_last_line(end),
            seconds=round(seconds, 4),
            cpu=0.0,
            diagnostics=diagnostics.warnings(end.lines),
        )


def _with_last_line(end: SessionEnded) -> str:
    """Return why a renderer ended, with the last thing that it said about it."""
    lines = diagnostics.warnings(end.lines)
    return end.reason + (": " + lines[-1] if lines else "")
