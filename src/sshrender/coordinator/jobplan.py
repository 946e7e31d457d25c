"""A job that was opened for a run: what to render, what earlier runs delivered, where to deliver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sshrender.coordinator.renderrequest import RenderRequest
from sshrender.document.facts import Stamp
from sshrender.document.reading import Reading
from sshrender.job import documentidentity, iccprofiles
from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.journal.history import History
from sshrender.job.output.outputclaim import OutputClaim
from sshrender.job.output.outputrules import By, Delivery
from sshrender.job.output.publish import page_name
from sshrender.job.spec import JobSpec
from sshrender.job.verification.verify import Expected
from sshrender.renderers import switches
from sshrender.renderers.devices import DEVICES, Device


@dataclass(slots=True)
class JobPlan:
    """An opened job: what to render, what earlier runs delivered, where to deliver."""

    request: RenderRequest
    """The request of this run; its settings of the document are in ``spec``, as the job keeps them."""
    spec: JobSpec
    folder: JobFolder
    output: Path
    pages: list[int]
    reading: Reading
    history: History
    blocked: Mapping[int, str] = field(default_factory=dict)
    """Pages of earlier runs that cannot be delivered under their names, each with the reason."""
    password_bytes: str | None = None
    """The password as the document's encryption has it, in hexadecimal (document/facts.py)."""
    pins: dict[int, frozenset[str]] = field(default_factory=dict)
    """The only hosts that may render a page, for each pinned page."""
    attributes: Attributes = field(default_factory=Attributes)
    """The attributes of the job, once the run has the lease."""
    is_reopened: bool = False
    """Whether the user named the job, not its document."""
    claim: OutputClaim = field(default_factory=OutputClaim)
    """The claim of the output folder, once the run has one."""
    stamp: Stamp | None = None
    """The stamp of the document when its digest was compared; None: it was not."""
    profile_stamps: Mapping[str, Stamp] = field(default_factory=dict)
    """The stamps of its ICC profiles, by the names of their files."""

    @property
    def delivery(self) -> Delivery:
        """The place where the job shall deliver, and whether it may replace pages there."""
        by: By = "job" if self.is_reopened else "document"
        request = self.request
        if request.is_from_queue:
            by = "queue"
        return Delivery(self.output, self.spec, self.folder, request.may_replace, by, request.assemble)

    def require_document(self) -> None:
        """Raise DocumentReplaced if the document or a profile is another file by now, or OSError."""
        if not iccprofiles.are_same(self.folder, self.profile_stamps):
            raise documentidentity.DocumentReplaced
        if self.stamp is not None:
            self.stamp = documentidentity.require_same(self.folder, self.spec, self.stamp)

    def compare_document(self) -> None:
        """Compare the document and its ICC profiles before the run, under the lease.

        Raises UserError if they are not the job's.
        """
        try:
            self.require_document()
        except documentidentity.DocumentReplaced:
            # by another process that created the job at the same time
            self.stamp = documentidentity.require(self.folder, self.spec)
        self.profile_stamps = iccprofiles.require(self.folder, self.spec.settings.options)

    @property
    def device(self) -> Device:
        """Return the format of the page files: a raster device's, or a recipe's."""
        recipes = self.spec.settings.recipes
        made = next((recipe for recipe in recipes if not recipe.is_built_in), None)
        if made is None:
            return DEVICES[self.spec.settings.device]
        return Device(made.name, made.extension, made.format)

    @property
    def renders_with_ghostscript(self) -> bool:
        """Return whether the built-in renderer may render a page."""
        recipes = self.spec.settings.recipes
        return not recipes or any(recipe.is_built_in for recipe in recipes)

    def is_sized(self, recipe: int) -> bool:
        """Return whether the page's size determines the size of the recipe's output."""
        recipes = self.spec.settings.recipes
        return not recipes or recipes[recipe].is_built_in

    def expected(
        self,
        box: tuple[float, float] | None,
        *,
        is_sized: bool,
        size: int | None = None,
        sha256: str | None = None,
    ) -> Expected:
        """Return what the file of a page must be. ``size`` and ``sha256``: its host's report."""
        settings = self.spec.settings
        return Expected(
            device=self.device,
            dpi=settings.dpi,
            box=box,
            bytes=size,
            sha256=sha256,
            is_sized=is_sized,
            vertical_dpi=settings.vertical_dpi,
            fixed_size=settings.size,
            downscale=switches.downscale(settings.options),
            adjust_width=switches.adjust_width(settings.options) if self.device.adjusts_width else 0,
        )

    def recipe_name(self, recipe: int) -> str:
        """Return the name of a recipe, or of the built-in renderer."""
        recipes = self.spec.settings.recipes
        return recipes[recipe].name if recipes else "ghostscript"

    def page_file(self, page: int) -> str:
        """Return the final name of a page's file."""
        return page_name(page, self.spec.document.pages, self.device.extension)
