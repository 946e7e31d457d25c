"""The order to verify one page, and its possible results."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sshrender.coordinator.workers.leaserenewer import LeaseGone
from sshrender.job.output.outputclaim import OutputClaim
from sshrender.job.verification.verify import Expected, PageImage

RETRY_INTERVAL = 0.05
"""Seconds before a file that is not visible yet is tried again for the first time."""


@dataclass(frozen=True, slots=True)
class VerificationTask:
    """One page on its way from ``work/`` to the output folder.

    ``expected.box`` is the page size that Ghostscript reported.
    """

    host: str
    page: int
    attempt: str
    work: Path
    final: Path
    target: Path
    expected: Expected
    claim: OutputClaim = field(default_factory=OutputClaim, compare=False)
    since: float = field(default_factory=time.monotonic)
    pause: float = RETRY_INTERVAL
    blocked_since: float | None = None
    """Since when its name cannot be written though the folder works; None: it was not tried, or can."""
    is_announced: bool = False
    """Whether it was posted that the page waits."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The page is delivered. ``doubt`` is set if only the page size that Ghostscript reported fits.

    ``copies``: files to flush. ``was_taken``: another attempt had published the page before.
    """

    task: VerificationTask
    image: PageImage
    doubt: str = ""
    copies: tuple[Path, ...] = ()
    was_taken: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The file is not an image of the page.

    Or it never appeared (``is_absent``), or may not be read from here (``is_unreadable``).
    """

    task: VerificationTask
    reason: str
    is_absent: bool = False
    is_unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Waits:
    """A page waits, and is tried again for at most ``seconds`` from now; posted once for a reason."""

    task: VerificationTask
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A page cannot be written under its name, although its folder takes other files."""

    task: VerificationTask
    reason: str


@dataclass(frozen=True, slots=True)
class StorageTrouble:
    """The SAN or the output failed; the page waits until it works again."""

    task: VerificationTask
    reason: str


@dataclass(frozen=True, slots=True)
class SyncRefused:
    """The file system of a folder cannot make names durable."""

    folder: Path
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentGone:
    """The job's document was replaced, so hosts may have rendered another one."""

    REASON: ClassVar[str] = (
        "source.pdf, or an ICC profile of the job, was changed or replaced while it was being rendered"
    )


@dataclass(frozen=True, slots=True)
class OutputGone:
    """The output folder was given to another job."""

    REASON: ClassVar[str] = "the output folder was given to another job"


Result = Verified | Rejected | StorageTrouble | Unwritable | LeaseGone | DocumentGone | OutputGone
