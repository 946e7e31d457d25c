"""The handshake: builds a runner's first message, and decides from its hello if the host is usable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sshrender.config.recipeappearance import page_fields
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.renderrequest import HostSetup, RenderRequest
from sshrender.core import events as ev
from sshrender.core.fingerprint import HostFingerprint, combined
from sshrender.document.splitting import place
from sshrender.job import iccprofiles
from sshrender.job.nonce import Nonce
from sshrender.job.spec import RecipeRecord, RenderSettings
from sshrender.renderers import ghostscript
from sshrender.renderers.appearance import ghostscript_switches, resolution
from sshrender.renderers.devices import thumbnail_device
from sshrender.renderers.encoding import GHOSTSCRIPT, raster_device
from sshrender.transports.interface import Refusal
from sshrender.transports.messages import Hello
from sshrender.transports.payload import MINIMUM_PYTHON

DEFAULT_GHOSTSCRIPT = "gs"
"""The program if the inventory names none."""

MAX_PROGRAM = 200
"""Characters of a program's name in a reason."""


def preparation(plan: JobPlan, setup: HostSetup, nonce: Nonce, split: int) -> dict[str, Any]:
    """Return the fields of ``prepare``: all that a host's slots need.

    ``slots`` None: as many as it has room for.
    """
    limits, settings = plan.request.limits, plan.spec.settings
    return {
        # seen_folder: the path on the host, which may mount the SAN elsewhere.
        "folder": seen_folder(setup, plan.folder.name),
        "scratch": setup.scratch,
        "nonce_file": nonce.path.name,
        "nonce": nonce.token,
        "epoch": nonce.epoch,
        "idle_below": None if setup.plan.ignores_load else setup.plan.idle_below,
        "slots": setup.plan.slots,
        # A host never has more pages in work than the run has, even with failures and repetitions.
        "at_once": len(plan.pages),
        "device": settings.device,
        "dpi": resolution(settings.dpi, settings.appearance),
        # The runner opens this file at once, before the first page is assigned: that hides the start
        # of Ghostscript.
        "file": place(plan.pages[0], split).file,
        "pages": None if settings.split else plan.spec.document.pages,
        "options": ghostscript_switches(settings.appearance, settings.sent_options),
        "files": iccprofiles.names(settings.options),
        "profile": settings.output_profile,
        "page_fields": page_fields(settings.dpi, settings.appearance),
        "recipes": [_recipe_fields(recipe) for recipe in settings.recipes],
        "password": plan.request.password,
        "password_bytes": plan.password_bytes,
        "tag": plan.spec.name,
        "priority": plan.attributes.priority,
        "is_limited": plan.attributes.limit is not None,
        "sandbox": setup.sandbox,
        "raster": _raster(settings),
        "recipe_raster": None if settings.encoder == GHOSTSCRIPT else {"device": "", "bits": 24},
        "thumbnails": thumbnail_device(settings.device) if _has_thumbnails(plan) else "",
        "page_timeout": limits.page_timeout,
        "page_memory": limits.page_memory,
        "recycle_pages": limits.recycle_pages,
        "recycle_memory": limits.recycle_memory,
    }


def ghostscript_command(plan: JobPlan, setup: HostSetup) -> list[str]:
    """Return the command line of the warm Ghostscript that a runner starts for such a preparation.

    NAME, MEMORY and DISK stand for names that the host chooses: of a file, and of folders for rasters.
    """
    settings = plan.spec.settings
    raster = _raster(settings)
    return ghostscript.command(
        ghostscript.Setup(
            program=setup.ghostscript,
            device=settings.device,
            dpi=resolution(settings.dpi, settings.appearance),
            document=place(plan.pages[0], settings.split).file,
            folder="work",
            output="NAME.%d",
            options=tuple(ghostscript_switches(settings.appearance, settings.sent_options)),
            tag=plan.spec.name,
            files=tuple(iccprofiles.names(settings.options)),
            raster=None
            if raster is None
            else ghostscript.RasterOutput(raster["device"], raster["bits"], "MEMORY", 0, "DISK", 0),
        )
    )


def blank_page(settings: RenderRequest | RenderSettings) -> tuple[str, str] | None:
    """Return the device and resolution of the PNG files that runners will make; None: they make none."""
    is_made = raster_device(settings.device, settings.options, settings.encoder) is not None
    if settings.recipes or not is_made:
        return None
    return settings.device, resolution(settings.dpi, settings.appearance)


def _raster(settings: RenderSettings) -> dict[str, Any] | None:
    """Return the device for rasters; None: Ghostscript writes the pages' files."""
    device = raster_device(settings.device, settings.options, settings.encoder)
    return None if device is None else {"device": device.name, "bits": device.bits}


def _recipe_fields(recipe: RecipeRecord) -> dict[str, Any]:
    return {"name": recipe.name} if recipe.is_built_in else recipe.model_dump(mode="json")


def _has_thumbnails(plan: JobPlan) -> bool:
    is_warm = plan.renders_with_ghostscript or uses_mutool(plan.spec.settings.recipes)
    return plan.request.has_overview and is_warm


def seen_folder(setup: HostSetup, job: str) -> str | None:
    """Return the path of a job's folder on a host; None: it does not mount the SAN."""
    return None if setup.san is None else f"{setup.san.rstrip('/')}/{job}"


def check_host(
    host: str, hello: Hello, san: str | None, recipes: Sequence[RecipeRecord] = ()
) -> ev.HostConnected | ev.HostRefused:
    """Check a hello in the order of causes: Python, the renderer, the sandbox, the shared folder."""
    # A host without a renderer often lacks the rest as well: the first cause is shown.
    for refusal, reason in (
        _python(hello.python),
        _renderer(hello, recipes),
        (Refusal.NO_SANDBOX, hello.no_sandbox and f"the sandbox does not work: {hello.no_sandbox}"),
        _san(hello, san),
    ):
        if reason:
            return ev.HostRefused(host, refusal.value, reason, refusal.is_tried_again)
    return ev.HostConnected(
        host,
        cores=max(hello.cores, 1),
        others=hello.others,
        ours=hello.ours,
        memory=hello.memory,
        ghostscript=hello.ghostscript or "",
        slots=hello.slots,
        fingerprint=fingerprint_of(hello, recipes),
        mutool=hello.mutool,
        # A recipe that is missing makes the host unfit for its pages only, unless it is the first
        # (_renderer).
        renderers=frozenset(range(max(1, len(recipes)))) - set(hello.missing_recipes),
    )


def uses_ghostscript(recipes: Sequence[RecipeRecord]) -> bool:
    """Return whether Ghostscript renders pages of such a job."""
    return not recipes or any(recipe.is_built_in for recipe in recipes)


def uses_mutool(recipes: Sequence[RecipeRecord]) -> bool:
    """Return whether a warm MuPDF renders pages of such a job."""
    return any(recipe.is_of_mutool for recipe in recipes)


def _renderer(hello: Hello, recipes: Sequence[RecipeRecord]) -> tuple[Refusal, str]:
    """Check the first recipe, which is required; those to fall back to may be missing."""
    if not recipes or recipes[0].is_built_in:
        return _ghostscript(hello)
    if 0 in hello.missing_recipes:
        # strict=True: messages.py makes both of the same length.
        lacks = dict(zip(hello.missing_recipes, hello.missing, strict=True))[0]
        return Refusal.NO_GHOSTSCRIPT, f"recipe {recipes[0].name} needs {lacks}, which is not installed"
    return Refusal.NO_GHOSTSCRIPT, ""


def fingerprint_of(hello: Hello, recipes: Sequence[RecipeRecord] = ()) -> HostFingerprint:
    """Return the host's fingerprint, as far as it reports one, of the programs that render."""
    fonts = hello.fonts
    ghostscript_ = HostFingerprint(
        ghostscript=hello.ghostscript or "",
        canary=hello.canary,
        fonts=fonts.digest if fonts is not None else "",
        groups=fonts.groups if fonts is not None else (),
    )
    mutool = HostFingerprint(hello.mutool and f"mutool {hello.mutool}", hello.mutool_canary)
    return combined(
        ghostscript_ if uses_ghostscript(recipes) else None, mutool if uses_mutool(recipes) else None
    )


def _python(version: str) -> tuple[Refusal, str]:
    try:
        parts = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return Refusal.PROTOCOL, f"it reports Python version {version[:20]!r}"
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    # Tuples compare number by number, so 3.10 is later than 3.7.
    if parts < MINIMUM_PYTHON:
        return Refusal.NO_PYTHON, f"Python {version} is too old ({wanted} or later)"
    return Refusal.NO_PYTHON, ""


def _ghostscript(hello: Hello) -> tuple[Refusal, str]:
    version = hello.ghostscript
    if version is None:
        program = next(iter(hello.missing), DEFAULT_GHOSTSCRIPT)
        if hello.no_ghostscript:
            why = f"{program[:MAX_PROGRAM]} cannot be used: {hello.no_ghostscript}"
            return Refusal.NO_GHOSTSCRIPT, why
        if program == DEFAULT_GHOSTSCRIPT:
            return Refusal.NO_GHOSTSCRIPT, "Ghostscript is not installed"
        named = f"{program[:MAX_PROGRAM]} (ghostscript of the inventory)"
        return Refusal.NO_GHOSTSCRIPT, f"{named} is not there"
    parsed = ghostscript.parse_version(version)
    if parsed is None:
        return Refusal.NO_GHOSTSCRIPT, f"its Ghostscript reports version {version[:40]!r}"
    if not ghostscript.is_supported(parsed):
        wanted = ".".join(map(str, ghostscript.MINIMUM_VERSION))
        return Refusal.NO_GHOSTSCRIPT, f"Ghostscript {version} is too old ({wanted} or later)"
    return Refusal.NO_GHOSTSCRIPT, ""


def _san(hello: Hello, san: str | None) -> tuple[Refusal, str]:
    if san is None:
        why = hello.san.reason if hello.san is not None else "it reports no folder"
        return Refusal.FILES, "" if hello.folder and not why else f"has no folder to work in: {why}"
    if hello.san is None or not hello.san.seen:
        why = hello.san.reason if hello.san is not None else ""
        return Refusal.SAN, f"does not see the shared folder at {san}" + (f": {why}" if why else "")
    if not hello.san.writable:
        return Refusal.SAN, f"cannot write to the shared folder at {san}: {hello.san.reason}"
    return Refusal.SAN, ""
