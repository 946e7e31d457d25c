"""Selects the renderers of a slot: warm programs, and one-shot runs for all other recipes.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

from typing import Callable, Dict, Optional

from sshrender.renderers import mutool
from sshrender.renderers.ghostscript import Setup
from sshrender.renderers.recipe import Recipe
from sshrender.renderers.warmghostscript import GHOSTSCRIPT
from sshrender.runner.rendering.diagnosticsearch import DiagnosticWindow
from sshrender.runner.rendering.rasterrenderer import Rasters
from sshrender.runner.rendering.reciperenderer import RecipeRenderer
from sshrender.runner.rendering.recyclewindow import RecycleWindow
from sshrender.runner.rendering.rendererinterface import OneShotRenderer, PageRenderer
from sshrender.runner.rendering.slotsettings import SlotParts
from sshrender.runner.rendering.warmrenderer import WarmProgram, WarmRenderer
from sshrender.runner.rendering.warmsession import Session


def renderers(parts: SlotParts) -> Dict[Optional[int], PageRenderer]:
    """Return the renderer of each recipe by its number; that of None is the warm Ghostscript."""
    ghostscript = WarmRenderer(_ghostscript(parts), parts)
    # None stands for Ghostscript, even if every recipe is another program: it serves the fallback.
    found: Dict[Optional[int], PageRenderer] = {None: ghostscript}
    for number, recipe in enumerate(parts.settings.recipes):
        # A recipe that is None is the warm Ghostscript: one renderer, under two keys.
        found[number] = ghostscript if recipe is None else _of_recipe(parts, number, recipe)
    return found


def _of_recipe(parts: SlotParts, number: int, recipe: Recipe) -> PageRenderer:
    raster = mutool.raster_recipe(recipe) if mutool.look_of(recipe) is not None else None
    one_shot = RecipeRenderer(recipe, parts, raster)
    # None if the recipe's words ask for more than the warm program can do: then each page has a run of
    # its own.
    program = _mutool(parts, number, recipe, one_shot)
    return one_shot if program is None else WarmRenderer(program, parts)


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
