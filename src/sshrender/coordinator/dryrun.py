"""Computes the plan for ``--dry-run``: the job, its pages, and the space they need."""

from __future__ import annotations

from dataclasses import dataclass

from sshrender.coordinator import jobopening
from sshrender.coordinator.renderrequest import RenderRequest
from sshrender.document import facts, pagelist, staging
from sshrender.document.reading import Reading
from sshrender.errors import UserError
from sshrender.job.folder import JobFolder, require_san
from sshrender.job.journal import history
from sshrender.job.journal.journal import read_journal
from sshrender.job.output.outputrules import Delivery
from sshrender.job.output.publish import page_name
from sshrender.job.spec import JobSpec, RenderSettings, load_spec
from sshrender.renderers.appearance import page_box
from sshrender.renderers.devices import DEVICES
from sshrender.storage.files import free_bytes

SAMPLE_BYTES_A_PIXEL = 3
"""Bytes of an uncompressed RGB pixel: an upper bound for most devices."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result. ``delivered``: pages that earlier runs have verified. Sizes in bytes.

    ``most``: upper bound of the pages' size; None: not known.
    """

    spec: JobSpec
    folder: str
    output: str
    total: int
    delivered: int
    is_counted: bool
    document: int
    most: int | None
    free_on_san: int
    free_for_output: int


def plan_dry_run(request: RenderRequest, reading: Reading) -> DryRun:
    """Read the document and the results of earlier runs; write nothing. Raises UserError or OSError."""
    require_san(request.san)
    size = facts.check_file(request.source).bytes
    reading.begin(request.source, request.password, page_box(request.appearance, request.options))
    known = reading.facts()
    total = known.pages
    if total is None:
        raise facts.needs_ghostscript(request.source)
    spec = jobopening.describe(
        request, size, known, staging.digest(request.source), total, reading.is_sound()
    )
    folder = JobFolder(request.san / spec.name)
    jobopening.check_output(
        Delivery(request.output, spec, folder, request.may_replace, assemble=request.assemble)
    )
    pages = pagelist.parse(spec.settings.pages, total)
    return DryRun(
        spec=spec,
        folder=str(folder.path),
        output=str(request.output),
        total=len(pages),
        delivered=_delivered(folder, spec, pages),
        is_counted=reading.counts_right(),
        document=size,
        most=_most(reading, pages, spec.settings),
        free_on_san=free_bytes(request.san),
        free_for_output=free_bytes(request.output),
    )


def _delivered(folder: JobFolder, spec: JobSpec, pages: list[int]) -> int:
    try:
        if load_spec(folder) is None:
            return 0
    except UserError:
        return 0
    extensions = [recipe.extension for recipe in spec.settings.recipes if not recipe.is_built_in]
    extension = extensions[0] if extensions else DEVICES[spec.settings.device].extension
    past = history.of(read_journal(folder.journal))
    history.keep_present(
        past,
        history.sizes(folder.pages),
        lambda page: page_name(page, spec.document.pages, extension),
    )
    return len(past.pages.keys() & set(pages))


def _most(reading: Reading, pages: list[int], settings: RenderSettings) -> int | None:
    """Return the bytes of all pages as rasters; None if no page size is known."""
    if settings.size is not None:
        return settings.size[0] * settings.size[1] * SAMPLE_BYTES_A_PIXEL * len(pages)
    reading.read_pages(pages)
    boxes = [reading.box(page) for page in pages]
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    across, down = settings.resolutions
    # Pages of unknown size count as average ones.
    pixels = sum(width * height for width, height in known) * across * down / 72**2
    return int(pixels * SAMPLE_BYTES_A_PIXEL * len(boxes) / len(known))
