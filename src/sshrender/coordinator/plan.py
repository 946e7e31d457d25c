"""What a run of a job is made of: plain data that the command line puts together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshrender.config.pins import Pin
from sshrender.core.policy import HostPlan, Policy
from sshrender.document.facts import Stamp
from sshrender.document.reading import Reading
from sshrender.job import identity
from sshrender.job.attributes import Attributes
from sshrender.job.folder import JobFolder
from sshrender.job.history import History
from sshrender.job.publish import page_name
from sshrender.job.spec import JobSpec, RecipeRecord
from sshrender.renderers.devices import DEVICES, Device
from sshrender.transports.protocol import Transport


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What a renderer may take. Memory in bytes, time in seconds."""

    page_timeout: float = 600.0
    page_memory: int = 2 << 30
    recycle_pages: int = 500

    @property
    def recycle_memory(self) -> int:
        """A warm renderer larger than this is replaced between two pages."""
        return max(self.page_memory // 4, 64 << 20)


@dataclass(frozen=True, slots=True)
class HostSetup:
    """How to reach a host and where it finds things.

    ``san`` is where it sees the shared folder; None: it has none, and files travel by SFTP, to a folder
    in ``scratch`` (None: wherever the host has room).
    """

    plan: HostPlan
    transport: Transport
    san: str | None
    scratch: str | None = None
    python: str = "python3"
    ghostscript: str = "gs"
    sandbox: str = "none"
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What the user asked for, of one document."""

    source: Path
    san: Path
    output: Path
    device: str = "png16m"
    dpi: float = 150.0
    pages: str | None = None
    split: str = "none"
    password: str | None = None
    options: tuple[str, ...] = ()
    recipes: tuple[RecipeRecord, ...] = ()
    limits: RunLimits = field(default_factory=RunLimits)
    policy: Policy = field(default_factory=Policy)
    strict: bool = False
    has_overview: bool = True
    pins: tuple[Pin, ...] = ()
    attributes: Attributes = field(default_factory=Attributes)
    """What a new job has."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What of its attributes changes where there is the job already."""
    wished: Mapping[str, Any] = field(default_factory=dict)
    """What is added to its wishes."""
    is_delivered_as_asked: bool = False
    """Whether its attributes say where to deliver, and not ``output``."""
    is_from_queue: bool = False
    """Whether it is wanted only if it waits to be seen through."""
    known_dead: str = ""
    """A lease that was seen to stand still for long enough (job/lease.py, take)."""
    remark: Callable[[str], None] = lambda _line: None
    """Tells the user what is not as usual."""


@dataclass(slots=True)
class JobPlan:
    """One job, opened: what to render, what is there already, where it goes."""

    spec: JobSpec
    folder: JobFolder
    output: Path
    pages: list[int]
    reading: Reading
    history: History
    password: str | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    policy: Policy = field(default_factory=Policy)
    strict: bool = False
    has_overview: bool = True
    pins: dict[int, frozenset[str]] = field(default_factory=dict)
    attributes: Attributes = field(default_factory=Attributes)
    changes: Mapping[str, Any] = field(default_factory=dict)
    wished: Mapping[str, Any] = field(default_factory=dict)
    is_delivered_as_asked: bool = False
    is_from_queue: bool = False
    known_dead: str = ""
    stamp: Stamp | None = None
    """Of the document, when its digest was compared."""

    def require_document(self) -> None:
        """Raises DocumentReplaced where the document is another file by now, or OSError."""
        if self.stamp is not None:
            self.stamp = identity.require_same(self.folder, self.spec, self.stamp)

    def compare_document(self) -> None:
        """Before the run, under the lease. Raises UserError where it is not the job's, or OSError."""
        try:
            self.require_document()
        except identity.DocumentReplaced:  # by another process that was to make the job, too
            self.stamp = identity.require(self.folder, self.spec)

    @property
    def device(self) -> Device:
        """What the pages' files are: those of a raster device, or of a recipe."""
        recipes = self.spec.settings.recipes
        made = next((recipe for recipe in recipes if not recipe.is_built_in), None)
        if made is None:
            return DEVICES[self.spec.settings.device]
        return Device(made.name, made.extension, made.format)

    @property
    def renders_with_ghostscript(self) -> bool:
        """Whether the built-in renderer draws any page."""
        recipes = self.spec.settings.recipes
        return not recipes or any(recipe.is_built_in for recipe in recipes)

    def is_sized(self, recipe: int) -> bool:
        """Whether a page's size tells that of the picture which this recipe makes of it."""
        recipes = self.spec.settings.recipes
        return not recipes or recipes[recipe].is_built_in

    def recipe_name(self, recipe: int) -> str:
        """What draws, in a word."""
        recipes = self.spec.settings.recipes
        return recipes[recipe].name if recipes else "ghostscript"

    def page_file(self, page: int) -> str:
        """A page's final name."""
        return page_name(page, self.spec.document.pages, self.device.extension)
