"""Selects the renderers of a slot: warm programs, and one-shot runs for all other recipes.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
from typing import Callable, Dict, NamedTuple, Optional

from sshrender.renderers import mutool
from sshrender.renderers.ghostscript import Setup
from sshrender.renderers.recipe import Recipe
from sshrender.renderers.warmghostscript import GHOSTSCRIPT
from sshrender.runner import wire
from sshrender.runner.rendering.diagnosticsearch import DiagnosticWindow
from sshrender.runner.rendering.rasterrenderer import Rasters
from sshrender.runner.rendering.reciperenderer import RecipeRenderer
from sshrender.runner.rendering.recyclewindow import RecycleWindow
from sshrender.runner.rendering.rendererinterface import OneShotRenderer, PageRenderer
from sshrender.runner.rendering.slotsettings import SlotSettings
from sshrender.runner.rendering.warmrenderer import WarmProgram, WarmRenderer
from sshrender.runner.rendering.warmsession import Session
from sshrender.runner.slots.slotlocks import SlotLocks
from sshrender.runner.slots.taskqueue import TaskQueue


class SlotParts(NamedTuple):
    """Objects that a slot shares with its renderers. ``lock``, ``may_continue``: see WarmRenderer."""

    settings: SlotSettings
    tasks: TaskQueue
    post: wire.Wire
    environ: Dict[str, str]
    locks: SlotLocks
    lock: threading.Lock
    may_continue: Callable[[], bool]


def renderers(parts: SlotParts) -> Dict[Optional[int], PageRenderer]:
    """Return the renderer of each recipe by its number; that of None is the warm Ghostscript."""
    ghostscript = WarmRenderer(_ghostscript(parts), *parts)
    # None stands for Ghostscript, also where every recipe is another program: it serves the fallback.
    found: Dict[Optional[int], PageRenderer] = {None: ghostscript}
    for number, recipe in enumerate(parts.settings.recipes):
        # A recipe that is None is the warm Ghostscript: one renderer, under two keys.
        found[number] = ghostscript if recipe is None else _of_recipe(parts, number, recipe)
    return found


def _of_recipe(parts: SlotParts, number: int, recipe: Recipe) -> PageRenderer:
    raster = mutool.raster_recipe(recipe) if mutool.look_of(recipe) is not None else None
    one_shot = RecipeRenderer(recipe, parts.settings, parts.environ, parts.locks, parts.lock, raster)
    # None where the recipe's words ask for more than the warm program can do; the run of its own does it
    # then.
    program = _mutool(parts, number, recipe, one_shot)
    return one_shot if program is None else WarmRenderer(program, *parts)


def _ghostscript(parts: SlotParts) -> WarmProgram:
    settings = parts.settings

    def make_window(start: Callable[[Setup], Session]) -> DiagnosticWindow:
        return DiagnosticWindow(parts.post, settings.folder, settings.page_timeout, start)

    rasters = Rasters(settings.rasters, bool(settings.setup.thumbnails))
    return WarmProgram(GHOSTSCRIPT, settings.setup, make_window, rasters)


def _mutool(
    parts: SlotParts, number: int, recipe: Recipe, one_shot: OneShotRenderer
) -> Optional[WarmProgram]:
    """Return the warm MuPDF for a recipe; None if it cannot replace the recipe's words."""
    settings = parts.settings
    look = mutool.look_of(recipe)
    if look is None or not (look.size or mutool.is_resolution(settings.setup.dpi)):
        return None
    dialogue = mutool.MutoolDialogue(look, recipe, settings.password)
    # Ghostscript's own switches and profile mean nothing to MuPDF.
    setup = settings.setup._replace(options=(), files=(), profile=None)

    def make_window(_start: Callable[[Setup], Session]) -> RecycleWindow:
        return RecycleWindow(
            parts.post, dialogue, settings.page_timeout, settings.recycle_memory, settings.pages
        )

    chunks = mutool.resolution_chunk(look, setup.dpi)
    rasters = Rasters(settings.recipe_rasters, bool(settings.setup.thumbnails))
    return WarmProgram(dialogue, setup, make_window, rasters, number, one_shot, chunks, mutool.COPY_NAME)
