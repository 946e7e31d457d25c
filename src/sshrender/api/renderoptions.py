"""Turns the settings of a new job into its way of rendering: resolution, appearance, switches, recipes.

Every renderer of the job must do what an option asks for. If one cannot, the option is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from sshrender.config import pagesizes, recipeappearance, recipes
from sshrender.config.recipeappearance import DEFAULT_DEVICE, AppearanceRequest, NoEqual, adapted, uses
from sshrender.config.settings import Settings
from sshrender.config.settingvalues import resolutions
from sshrender.config.validation import invalid
from sshrender.coordinator import userswitchcheck
from sshrender.errors import ExitCode, UserError
from sshrender.job import iccprofiles
from sshrender.job.iccprofiles import Taken
from sshrender.job.spec import RecipeRecord
from sshrender.renderers import switches
from sshrender.renderers.appearance import Appearance, antialias_bits
from sshrender.renderers.devices import DEVICES, colour_space
from sshrender.renderers.encoding import AUTO, raster_device


class Rendering(NamedTuple):
    """The fields of a RenderRequest that say how pages are rendered."""

    dpi: float
    appearance: Appearance
    taken: Taken
    recipes: tuple[RecipeRecord, ...]
    encoder: Literal["auto", "ghostscript"]


def rendering_of(settings: Settings) -> Rendering:
    """Return how the settings want pages to be rendered. Raises UserError."""
    dpi, device = resolutions(settings.dpi), DEVICES[settings.device]
    # The size comes first, because a recipe may need it.
    size = _size(settings, dpi)
    chain = _recipes(settings, dpi, size)
    # Without a recipe, or with ``ghostscript`` in the chain.
    has_ghostscript = not chain or any(recipe.is_built_in for recipe in chain)
    if has_ghostscript:
        _require_ghostscript_can(settings, size)
    taken = iccprofiles.taken(settings.gs_options)
    _require_profile_fits(settings, taken)
    # After the profiles were read: switches that name them cannot be tried before they are staged.
    if has_ghostscript:
        _require_start(settings, taken)
    # 0 if no renderer of the job uses the bits, so that the setting does not make another job.
    bits = 0
    if has_ghostscript or settings.antialias != "auto" or any(_uses_bits(each) for each in chain):
        bits = antialias_bits(settings.antialias, device, dpi, taken.options)
    appearance = Appearance(
        vertical_dpi=0 if dpi[0] == dpi[1] else dpi[1],
        antialias=bits,
        # Ghostscript renders the MediaBox unless it is told otherwise, so that both are one job.
        box="" if settings.box == "media" and not chain else settings.box or "",
        jpeg_quality=settings.jpeg_quality,
        size=size,
    )
    encoder = settings.encoder
    # Two settings with the same result must be one job, because a job is named by its settings.
    if not chain and raster_device(device.name, taken.options, AUTO) is None:
        encoder = "auto"  # Ghostscript writes these files anyway, so that both are one job
    return Rendering(dpi[0], appearance, taken, chain, encoder)


def _uses_bits(recipe: RecipeRecord) -> bool:
    return uses(recipe.model_dump(), "antialias")


def _size(settings: Settings, dpi: tuple[float, float]) -> tuple[int, int] | None:
    if settings.size is None:
        return None
    try:
        return pagesizes.pixels(settings.size, dpi)
    except ValueError as error:
        raise UserError(
            ExitCode.USAGE, f"--size {settings.size}: {error}", "choose another --size, or a lower --dpi"
        ) from None


def _require_ghostscript_can(settings: Settings, size: tuple[int, int] | None) -> None:
    """Raise UserError for what the device ignores, and for switches that contradict an option."""
    device = DEVICES[settings.device]
    if settings.jpeg_quality is not None and device.format != "jpeg":
        raise UserError(
            ExitCode.USAGE,
            f"--jpeg-quality {settings.jpeg_quality}: {device.name} does not write JPEG files",
            "add --device jpeg, or omit --jpeg-quality",
        )
    options = settings.gs_options
    _require(
        lambda: switches.require_device(options, device),
        "choose another --device, or omit that --gs-option",
    )
    if size is None:
        _require(lambda: switches.require_paper(options), "add --size A4")
    else:
        _require(lambda: switches.require_no_size(options), "omit --size, or that --gs-option")


def _require(check: Callable[[], None], hint: str) -> None:
    try:
        check()
    except ValueError as error:
        raise UserError(ExitCode.USAGE, f"--gs-option {error}", hint) from None


def _require_profile_fits(settings: Settings, taken: Taken) -> None:
    """Raise UserError if the device has other colours than its profile: Ghostscript would not start."""
    wanted, name = colour_space(settings.device), switches.output_profile(taken.options)
    for profile in taken.profiles:
        if profile.name == name and wanted and profile.colour_space != wanted:
            raise UserError(
                ExitCode.USAGE,
                f"--gs-option -sOutputICCProfile: the profile is for {profile.colour_space} colours,"
                f" and device {settings.device} has {wanted}",
                "name another profile, or choose another --device",
            )


def _require_start(settings: Settings, taken: Taken) -> None:
    """Raise UserError if a switch ends Ghostscript at its start, as far as this machine has one."""
    files = {profile.name for profile in taken.profiles}  # these are not there yet
    options = [each for each in taken.options if each.partition("=")[2] not in files]
    found = userswitchcheck.objection(settings.device, options) if options else None
    if found is not None:
        raise UserError(
            ExitCode.USAGE,
            f"--gs-option {found.switch}: Ghostscript cannot start with this switch: {found.words}",
            "omit that --gs-option, or give it another value",
        )


# The abilities that a recipe needs, apart from device and resolution.
def _appearance_request(
    settings: Settings, dpi: tuple[float, float], size: tuple[int, int] | None
) -> AppearanceRequest:
    return AppearanceRequest(
        antialias="" if settings.antialias == "auto" else settings.antialias,
        box=settings.box or "",
        dpi=None if dpi[0] == dpi[1] else dpi,
        size=size,
        jpeg_quality=settings.jpeg_quality,
        gs_options=bool(settings.gs_options),
        device="" if settings.device == DEFAULT_DEVICE else settings.device,
    )


def _recipes(
    settings: Settings, dpi: tuple[float, float], size: tuple[int, int] | None
) -> tuple[RecipeRecord, ...]:
    """Return the recipes in order; nothing if only Ghostscript renders. Raises UserError."""
    names = recipes.chain(settings.recipe, settings.fallback, settings.recipes)
    try:
        sent = recipes.as_sent(names, settings.recipes, _appearance_request(settings, dpi, size))
        found = [RecipeRecord.of(fields) for fields in sent]
    # The option's name without its value.
    except NoEqual as error:
        option = error.option.partition(" ")[0]
        raise UserError(
            ExitCode.USAGE, str(error), f"omit {option}; or omit the recipe, as Ghostscript can do that"
        ) from None
    except ValidationError as error:
        words = "; ".join(str(problem["msg"]) for problem in error.errors())
        raise invalid([f"recipe {', '.join(names)}: {words}"], "sshrender config show") from None
    # All pages of a job have one kind of file; a fallback may not change it.
    made = {recipe.extension or DEVICES[settings.device].extension for recipe in found}
    if len(made) > 1:
        what = f"{', '.join(names)} make files of different kinds: {', '.join(sorted(made))}"
        raise invalid([what], "sshrender config show")
    return tuple(found)


def require_allowed(
    settings: Settings,
    job: str,
    found: tuple[RecipeRecord, ...],
    dpi: float = 0,
    look: Appearance | None = None,
) -> None:
    """Raise UserError if only configured recipes may run here, and the job brings another one.

    ``dpi`` and ``look``: of the job; a recipe of the program has words for them.
    """
    if settings.recipes_allowed == "signed":
        return
    # A recipe that the machine's own configuration would make, for this look, is allowed.
    for recipe in found:
        if not recipe.is_built_in and recipe not in _configured(settings, recipe.name, dpi, look):
            raise UserError(
                ExitCode.USAGE,
                f"recipe {recipe.name} of {job} is not in the configuration of this machine,"
                " and recipes_allowed is configured",
                "sshrender config values recipe",
            )


def _configured(
    settings: Settings, name: str, dpi: float, look: Appearance | None
) -> list[RecipeRecord]:
    """Return the forms that a recipe of this machine has for jobs of this appearance."""
    if name not in {*settings.recipes, *recipes.SHIPPED}:
        return []
    bare = recipes.as_sent([name], settings.recipes)[0]
    found = [RecipeRecord.of(bare)]
    look = look or Appearance()
    devices = recipeappearance.DEVICES.get(name, (DEFAULT_DEVICE,))
    # The values that antialias can have; "" is for jobs that left it to the recipe.
    for antialias, device in product(("", "none", "2", "4"), devices):
        request = AppearanceRequest(
            antialias=antialias,
            box=look.box,
            dpi=(dpi, look.vertical_dpi) if look.vertical_dpi else None,
            size=look.size,
            jpeg_quality=look.jpeg_quality,
            device="" if device == DEFAULT_DEVICE else device,
        )
        try:
            fields = adapted(bare, request, is_shipped=name not in settings.recipes)
        # A recipe without a word for this value has no such form.
        except NoEqual:
            continue
        found.append(RecipeRecord.of(fields))
    return found


def is_like_file(output: Path) -> bool:
    """Return whether an output folder has a name such as ``all.pdf`` or ``page.png``."""
    suffix = output.suffix.lower().removeprefix(".")
    of_pages = {each.extension for each in DEVICES.values()}
    return suffix in of_pages | {"pdf", "zip", "cbz", "jpeg", "tiff"}
