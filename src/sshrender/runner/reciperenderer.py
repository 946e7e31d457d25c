"""Renders pages with the programs of a recipe, one run per page.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Dict, Optional

from sshrender.renderers import recipe as recipes
from sshrender.renderers.recipe import Recipe
from sshrender.runner import scratch, wire
from sshrender.runner.diagnosticsearch import remove_output
from sshrender.runner.oneshot import OneShot, ProcessLimits
from sshrender.runner.rendererinterface import PageRenderer, RenderedFile
from sshrender.runner.slotlocks import SlotLocks
from sshrender.runner.slotsettings import SlotSettings
from sshrender.runner.taskqueue import Task
from sshrender.runner.warmrenderer import require_document
from sshrender.runner.warmsession import SessionEnded


class RecipeRenderer(PageRenderer):
    """Runs one recipe for one slot. See PageRenderer."""

    def __init__(
        self,
        recipe: Recipe,
        settings: SlotSettings,
        environ: Dict[str, str],
        locks: SlotLocks,
        lock: threading.Lock,
    ) -> None:
        self._recipe = recipe
        self._settings = settings
        self._environ = environ
        self._locks = locks
        self._lock = lock
        self._running: Optional[OneShot] = None

    def kill(self) -> None:
        """See PageRenderer.kill."""
        if self._running is not None:
            self._running.kill()

    def conclude(self, rendered: RenderedFile) -> None:
        """See PageRenderer.conclude: there is nothing to do."""

    def render(self, task: Task) -> RenderedFile:
        """See PageRenderer.render."""
        recipe = self._recipe
        require_document(self._settings.folder, task.file)
        folder = scratch.make()
        if folder is None:
            raise SessionEnded(wire.CRASHED, "there is no room for temporary files", [])
        stem = "work/s%s.e%d" % (os.urandom(8).hex(), self._settings.epoch)
        written = "%s.%s" % (stem, recipe.extension)
        began = time.monotonic()
        try:
            page = self._one_shot(task, folder, stem)
            with self._lock:
                self._running = page
            ran = page.run()
        except SessionEnded:
            remove_output(self._settings.folder, written)
            raise
        finally:
            with self._lock:
                self._running = None
            scratch.remove(folder)
        return RenderedFile(
            task=task,
            written=written,
            page_size=None,
            seconds=time.monotonic() - began,
            cpu=ran.cpu,
            diagnostics=recipes.warnings(recipe, ran.lines),
        )

    def _one_shot(self, task: Task, folder: str, stem: str) -> OneShot:
        settings, recipe = self._settings, self._recipe
        fields = {
            **dict(settings.page_fields),
            "document": task.file,
            "page": str(task.number),
            "number": str(task.page),
            "dpi": settings.setup.dpi,
            "device": settings.setup.device,
            "output": "%s.%s" % (stem, recipe.extension),
            "stem": stem,
            "scratch": folder,
            "password_file": os.path.join(folder, "password"),
        }
        if settings.password is not None and recipe.uses("password_file"):
            scratch.write(fields["password_file"], settings.password)
        return OneShot(
            recipe,
            fields,
            settings.folder,
            task.file,
            self._environ,
            ProcessLimits(settings.page_memory, settings.page_timeout),
            settings.guard,
            settings.is_sandboxed,
            self._locks.descriptors,
        )
