"""Make jobs in the shared folder that have a journal but no document: in any state, unrendered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sshrender.job.folder import JobFolder
from sshrender.job.jobattributes import Attributes
from sshrender.job.spec import DocumentRecord, JobSpec, RecipeRecord, RenderSettings
from tests.entries import fields_of

Event = tuple[str, dict[str, Any]]
"""The type of a journal entry, and its fields."""

LONG_AGO = 1_700_000_000.0
"""The time of the first event, in seconds since 1970."""

CREATED = "2023-11-14T22:13:00.000Z"


def make(
    san: Path,
    name: str,
    events: Iterable[Event] = (),
    *,
    pages: int = 3,
    at: float = LONG_AGO,
    recipes: tuple[RecipeRecord, ...] = (),
    **attributes: Any,
) -> JobFolder:
    """Write a job whose events are a second apart."""
    folder = JobFolder(san / f"{name}-12345678")
    folder.path.mkdir()
    folder.create()
    Attributes().changed(**{"owner": "ann@desk", **attributes}).save(folder)
    lines = [fields_of(kind, at + number, **fields) for number, (kind, fields) in enumerate(events)]
    folder.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    document = DocumentRecord(name=f"{name}.pdf", bytes=1, sha256="0" * 64, pages=pages)
    settings = RenderSettings(device="png16m", dpi=36, pages=f"1-{pages}", recipes=recipes)
    JobSpec(name=folder.name, created=CREATED, document=document, settings=settings).save(folder)
    return folder


def started(pages: int = 3) -> Event:
    """A run begins."""
    return "run_started", {"epoch": 1, "pages": pages, "output": "/out", "hosts": ["node1"]}


def ended(state: str, reason: str = "") -> Event:
    """A run ends."""
    return "run_ended", {"state": state, "reason": reason}


def sent(page: int, host: str = "node1", attempt: str = "", because: str = "") -> Event:
    """A page is sent to a host."""
    fields = {"page": page, "host": host, "attempt": attempt or f"1.{page}"}
    return "page_sent", {**fields, **({"because": because} if because else {})}


def delivered(page: int, host: str = "node1", **fields: Any) -> Event:
    """A page is delivered."""
    facts = {"file": f"page-{page:04d}.png", "bytes": 1000, "sha256": "0" * 64, "width": 100}
    facts |= {"height": 200, "ghostscript": "10.00.0", "seconds": page / 10, "attempts": 1}
    facts |= {"attempt": f"1.{page}", "cpu": 0.5, "diagnostics": []}
    return "page_delivered", {"page": page, "host": host, **facts, **fields}


def failed(
    page: int, host: str = "node1", kind: str = "crashed", reason: str = "died of signal 9"
) -> Event:
    """An attempt fails."""
    return "attempt_failed", {
        "page": page,
        "host": host,
        "attempt": f"1.{page}",
        "kind": kind,
        "reason": reason,
    }
