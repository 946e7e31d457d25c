"""Writes ``overview.html``, which shows a job page by page and opens from its folder in any browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sshrender.job import attributes, history, jobstatus, thumbnails
from sshrender.job.folder import JobFolder
from sshrender.job.jobstatus import JobReport
from sshrender.job.journal import read_journal
from sshrender.job.journalentries import JournalEntry
from sshrender.job.leasefiles import Claim
from sshrender.job.replay import replay
from sshrender.job.spec import JobSpec
from sshrender.renderers.devices import DEVICES
from sshrender.renderers.ghostscript import THUMBNAIL
from sshrender.storage.files import write_whole
from sshrender.views import overview
from sshrender.views.jobmodel import FAILED, SETTLED, JobModel, PageRow, packed
from sshrender.views.pagehistory import tell, time_of_day

_MAX_FONTS = 20

_TRIES = 3
"""How often it is written while the journal grows. A running job is shown as it was a moment ago."""

_IN_BROWSERS = frozenset(("png", "jpeg", "bmp"))
"""Formats (renderers/devices.py) that every browser shows."""


def write(folder: JobFolder, spec: JobSpec, holder: Claim | None = None) -> None:
    """Write or refresh a job's overview. Raises OSError.

    No lease is needed: it shows what the journal says. If the journal has grown meanwhile, another
    process may have written a newer overview, which ours has replaced: then it is written once more.
    """
    for _ in range(_TRIES):
        size = _size(folder.journal)
        entries = list(read_journal(folder.journal))
        text = overview.render(sheet(folder, spec, entries, holder))
        write_whole(folder.overview, text.encode("utf-8", "replace"))
        if _size(folder.journal) == size:
            return


def _size(journal: Path) -> int:
    return journal.stat().st_size if journal.exists() else 0


def sheet(
    folder: JobFolder, spec: JobSpec, entries: Sequence[JournalEntry], holder: Claim | None
) -> dict[str, Any]:
    """Return everything that the overview shows, in the form of views/overview. Raises OSError."""
    told = jobstatus.of(folder, spec, entries, holder, attributes.load_or_none(folder))
    fold = _fold(told, entries)
    pages, small = history.sizes(folder.pages), _thumbnails(folder)
    recipes = [recipe.format for recipe in spec.settings.recipes if not recipe.is_built_in]
    device = DEVICES.get(spec.settings.device)
    made = recipes[0] if recipes else device.format if device is not None else ""
    return {
        "schema": 1,
        "job": told.name,
        "state": told.state,
        "reason": told.reason,
        "document": spec.document.model_dump(mode="json"),
        "settings": spec.settings.model_dump(mode="json"),
        "output": told.output,
        "created": told.created,
        "updated": told.updated,
        "seconds": round(fold.now - fold.first_began, 3) if fold.run else 0.0,
        "runs": told.runs,
        "notes": [*told.notes, *(f"{font} is not embedded (pages {on})" for font, on in _fonts(told))],
        "counts": told.pages,
        "viewable": made in _IN_BROWSERS,
        "pages": [_page(row, pages, small) for row in fold.pages.values()],
        "hosts": list(_hosts(told, fold)),
        "timeline": list(_timeline(fold)),
    }


def _fonts(told: JobReport) -> list[tuple[str, str]]:
    return list(told.fonts.items())[:_MAX_FONTS]


def _fold(told: JobReport, entries: Sequence[JournalEntry]) -> JobModel:
    asked = sorted(told.requested)
    fold = JobModel(asked)
    replay(entries, fold)
    return fold


def _thumbnails(folder: JobFolder) -> dict[str, int]:
    """Return the thumbnails' sizes by name; jobs of earlier versions have no folder for them."""
    return history.sizes(folder.thumbnails) if folder.thumbnails.is_dir() else {}


def _page(row: PageRow, pages: dict[str, int], small: dict[str, int]) -> dict[str, Any]:
    """Return one page. Its thumbnail's size is computed from the page's: reading thousands would take
    long.
    """
    is_there = pages.get(row.file) == row.bytes if row.file else False
    thumbnail = thumbnails.file_of(row.file) if row.file else ""
    longest = max(row.width, row.height, 1)
    size = [max(1, round(side * THUMBNAIL / longest)) for side in (row.width, row.height)]
    state = row.state if row.state in SETTLED and (is_there or row.state == FAILED) else "missing"
    return {
        "page": row.number,
        "state": state,
        "file": f"pages/{row.file}" if is_there else None,
        "thumb": f"thumbs/{thumbnail}" if is_there and small.get(thumbnail) else None,
        "size": size if row.width else None,
        "width": row.width,
        "height": row.height,
        "bytes": row.bytes,
        "host": row.host,
        "seconds": round(row.seconds, 3),
        "attempts": row.attempts,
        "said": list(row.diagnostics),
        "reason": row.reason if state == FAILED else "",
        "story": [f"{time_of_day(entry)}  {tell(entry)}" for entry in row.history],
    }


def _hosts(told: JobReport, fold: JobModel) -> Iterator[dict[str, Any]]:
    for share in told.hosts:
        row = fold.hosts.get(share.name)
        yield {
            "name": share.name,
            "state": share.state,
            "reason": share.reason,
            "pages": share.pages,
            "failures": share.failures,
            "seconds": round(share.seconds, 3),
            "median": None if row is None or row.median is None else round(row.median, 3),
            "cores": row.cores if row is not None else 0,
        }


def _timeline(fold: JobModel) -> Iterator[dict[str, Any]]:
    slots = {name: row.slots for name, row in fold.hosts.items()}
    for span in packed(fold.spans, slots):
        yield {
            "host": span.host,
            "page": span.page,
            "from": round(max(0.0, span.start - fold.first_began), 3),
            "to": round(max(0.0, span.end - fold.first_began), 3),
            "ok": span.is_good,
        }
