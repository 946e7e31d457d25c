"""The user's request for one document: the pages, how to render them, and the hosts to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sshrender.config.pins import Pin
from sshrender.core.policy import HostPlan, Policy
from sshrender.job.iccprofiles import Profile
from sshrender.job.jobattributes import Attributes
from sshrender.job.spec import RecipeRecord
from sshrender.renderers.appearance import Appearance
from sshrender.transports.interface import Transport

SILENCE_TIMEOUT = 8.0
"""Seconds without data after which either end of a pipe or an ssh connection considers the other
gone."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of a renderer. Memory in bytes, time in seconds."""

    page_timeout: float = 600.0
    page_memory: int = 2 << 30
    recycle_pages: int = 500

    @property
    def recycle_memory(self) -> int:
        """Return the size above which a warm renderer is replaced between two pages."""
        return max(self.page_memory // 4, 64 << 20)


@dataclass(frozen=True, slots=True)
class HostSetup:
    """The access to a host, and the paths and programs that it uses.

    ``san``: where it mounts the shared folder; None: it does not, and files are copied by SFTP to a
    folder in ``scratch`` (None: wherever the host has space).
    """

    plan: HostPlan
    transport: Transport
    san: str | None
    scratch: str | None = None
    python: str = "python3"
    ghostscript: str = "gs"
    sandbox: str = "none"
    connect_timeout: float = 10.0
    silence: float = SILENCE_TIMEOUT
    node: str = ""
    """The node of a pilot; empty for a host."""


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What the user requests for one document."""

    source: Path
    san: Path
    output: Path
    device: str = "png16m"
    dpi: float = 150.0
    pages: str | None = None
    split: str = "none"
    password: str | None = None
    appearance: Appearance = field(default_factory=Appearance)
    options: tuple[str, ...] = ()
    profiles: tuple[Profile, ...] = ()
    """The ICC profiles that ``options`` name."""
    profile_name: str = ""
    """The user's name for the profile of the device."""
    recipes: tuple[RecipeRecord, ...] = ()
    encoder: Literal["auto", "ghostscript"] = "auto"
    limits: RunLimits = field(default_factory=RunLimits)
    policy: Policy = field(default_factory=Policy)
    strict: bool = False
    has_overview: bool = True
    pins: tuple[Pin, ...] = ()
    attributes: Attributes = field(default_factory=Attributes)
    """The attributes of a new job."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes to change if the job exists already."""
    job_settings: Mapping[str, Any] = field(default_factory=dict)
    """Job settings to add to those that it keeps for later runs."""
    is_delivered_as_asked: bool = False
    """Whether to deliver where its attributes say, instead of ``output``."""
    is_from_queue: bool = False
    """Whether to run the job only if it still waits in the queue."""
    known_dead: str = ""
    """The content of a lease whose heartbeat stood still for long enough (job/lease.py, take)."""
    may_replace: bool = False
    """Whether to replace the pages of another job in the output folder."""
    assemble: str = ""
    """The kind of the file of all pages that is to be made beside them; empty: none."""
    stays_in_job: bool = False
    """Whether the pages stay in the job's folder: ``output`` is not used then."""
    remark: Callable[[str], None] = lambda _line: None
    """Shows the user a remark about something unusual."""
    stage: Callable[[str], None] = lambda _words: None
    """Shows the user what is being done to open the job. Large documents take minutes."""
