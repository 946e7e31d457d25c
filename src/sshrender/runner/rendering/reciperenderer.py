"""Renders pages with the programs of a recipe, one run per page.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Optional

from sshrender.renderers import recipe as recipes
from sshrender.renderers.recipe import Recipe
from sshrender.runner import wire
from sshrender.runner.host import scratch
from sshrender.runner.rendering.diagnosticsearch import remove_output
from sshrender.runner.rendering.oneshot import OneShot
from sshrender.runner.rendering.rendererinterface import OneShotRenderer, RenderedFile
from sshrender.runner.rendering.slotsettings import SlotParts
from sshrender.runner.rendering.warmrenderer import require_document
from sshrender.runner.rendering.warmsession import SessionEnded
from sshrender.runner.slots.taskqueue import Task


class RecipeRenderer(OneShotRenderer):
    """Runs one recipe for one slot. See PageRenderer. ``raster``: the recipe that makes rasters."""

    def __init__(self, recipe: Recipe, parts: SlotParts, raster: Optional[Recipe] = None) -> None:
        self._recipe = recipe
        self._raster = raster
        self._settings = parts.settings
        self._environ = parts.environ
        self._locks = parts.locks
        self._lock = parts.lock
        self._running: Optional[OneShot] = None

    def kill(self) -> None:
        """See PageRenderer.kill."""
        if self._running is not None:
            self._running.kill()

    def conclude(self, rendered: RenderedFile) -> None:
        """See PageRenderer.conclude: there is nothing to do."""

    def render(self, task: Task) -> RenderedFile:
        """See PageRenderer.render."""
        return self._render(self._recipe, task, "")

    def render_raster(self, task: Task, path: str) -> RenderedFile:
        """See OneShotRenderer.render_raster."""
        assert self._raster is not None
        try:
            return self._render(self._raster, task, path)
        except SessionEnded:
            # The program may not have made its file yet.
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def _render(self, recipe: Recipe, task: Task, path: str) -> RenderedFile:
        require_document(self._settings.folder, task.file)
        folder = scratch.make()
        if folder is None:
            # Without a folder of its own the program would write to the host's /tmp, where its files
            # stay.
            raise SessionEnded(wire.CRASHED, "there is no room for temporary files", [])
        # A random name, and the epoch: coordinators clear what earlier epochs have left in ``work/``.
        stem = "work/s%s.e%d" % (os.urandom(8).hex(), self._settings.epoch)
        written = "%s.%s" % (stem, recipe.extension)
        began = time.monotonic()
        try:
            page = self._one_shot(recipe, task, folder, stem, path)
            # kill() reads it under this lock, from the thread that reads requests.
            with self._lock:
                self._running = page
            ran = page.run()
        except SessionEnded:
            # A file that is half written must not be taken for a page.
            remove_output(self._settings.folder, written)
            raise
        finally:
            with self._lock:
                # Before the folder goes: a kill that comes later finds no process to look for.
                self._running = None
            scratch.remove(folder)
        return RenderedFile(
            task=task,
            written=written,
            # A recipe's program does not report it.
            page_size=None,
            seconds=time.monotonic() - began,
            cpu=ran.cpu,
            diagnostics=recipes.warnings(recipe, ran.lines),
        )

    def _one_shot(self, recipe: Recipe, task: Task, folder: str, stem: str, path: str) -> OneShot:
        settings = self._settings
        fields = {
            # Fields of the job come first, so that none of them can replace one of the page.
            **dict(settings.page_fields),
            "document": task.file,
            "page": str(task.number),
            "number": str(task.page),
            "dpi": settings.setup.dpi,
            "device": settings.setup.device,
            "output": path or "%s.%s" % (stem, recipe.extension),
            "stem": stem,
            "scratch": folder,
            "password_file": os.path.join(folder, "password"),
        }
        # The password is written only if a recipe reads it, and goes with the folder after the page.
        if settings.password is not None and recipe.uses("password_file"):
            scratch.write(fields["password_file"], settings.password)
        writable = (os.path.dirname(path),) if path else ()
        setup = settings.process_setup(self._environ, self._locks.descriptors, writable)
        return OneShot(recipe, fields, setup, settings.page_timeout, settings.guard)
