"""Write ``overview.html``: the state of a job, page by page, in one file for any browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sshrender.job import jobattributes
from sshrender.job.folder import JobFolder
from sshrender.job.journal import history
from sshrender.job.journal.journal import read_journal
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.journal.replay import replay
from sshrender.job.leasefiles import Claim
from sshrender.job.output import thumbnails
from sshrender.job.spec import JobSpec
from sshrender.job.status import jobstatus
from sshrender.job.status.jobstatus import HostShare, JobReport
from sshrender.renderers.devices import DEVICES
from sshrender.renderers.ghostscript import THUMBNAIL
from sshrender.storage.files import write_whole
from sshrender.views import hostwords, overview
from sshrender.views.jobmodel import FAILED, SETTLED, JobModel, PageRow, packed
from sshrender.views.pagehistory import tell, time_of_day
from sshrender.views.text import on_pages

_MAX_FONTS = 20
"""Fonts that are listed; a document may lack hundreds."""

_MAX_WRITES = 3
"""Attempts to catch up with a journal that grows: a running job is shown as of a moment ago."""

_IN_BROWSERS = frozenset(("png", "jpeg", "bmp"))
"""Formats (renderers/devices.py) that every browser can show."""


def write(folder: JobFolder, spec: JobSpec, holder: Claim | None = None) -> None:
    """Write or refresh a job's overview. Raises OSError.

    No lease is needed: the overview only shows the journal. If the journal has grown meanwhile, another
    process may have written a newer overview, which this one has replaced: then it is written again.
    """
    for _ in range(_MAX_WRITES):
        size = _size(folder.journal)
        entries = list(read_journal(folder.journal))
        text = overview.render(sheet(folder, spec, entries, holder))
        write_whole(folder.overview, text.encode("utf-8", "replace"))
        # The size is taken before the journal is read: what was appended in between makes it differ.
        if _size(folder.journal) == size:
            return


def _size(journal: Path) -> int:
    return journal.stat().st_size if journal.exists() else 0


def sheet(
    folder: JobFolder, spec: JobSpec, entries: Sequence[JournalEntry], holder: Claim | None
) -> dict[str, Any]:
    """Return all that the overview shows, as ``views.overview.render`` takes it. Raises OSError."""
    report = jobstatus.of(folder, spec, entries, holder, jobattributes.load_or_none(folder))
    return sheet_of(folder, report, _replay(report, entries))


def sheet_of(folder: JobFolder, report: JobReport, model: JobModel) -> dict[str, Any]:
    """Return the sheet of a job whose journal was replayed already. Raises OSError."""
    spec = report.spec
    files, thumbs = history.sizes(folder.pages), _thumbnails(folder)
    recipes = [recipe.format for recipe in spec.settings.recipes if not recipe.is_built_in]
    device = DEVICES.get(spec.settings.device)
    # If there is a recipe, its format decides: JobPlan.device has the same rule.
    format_ = recipes[0] if recipes else device.format if device is not None else ""
    return {
        "schema": 1,
        "job": report.name,
        "state": report.state,
        "reason": report.reason,
        "document": spec.document.model_dump(mode="json"),
        "settings": _settings(spec),
        "output": report.output,
        "created": report.created,
        "updated": report.updated,
        "seconds": round(model.times.seconds(), 3),
        "runs": report.runs,
        "notes": [*report.notes, *_replaced_fonts(report)],
        "counts": _counts(report),
        "viewable": format_ in _IN_BROWSERS,
        "pages": [_page(row, files, thumbs) for row in model.pages.values()],
        "hosts": list(_hosts(report, model)),
        "timeline": list(_timeline(model)),
    }


def _counts(report: JobReport) -> dict[str, int]:
    """Return the number of pages by state. The page shows suspect ones as such, also with --strict."""
    hidden = len(report.suspect) - report.pages["suspect"]
    pages = report.pages
    return {**pages, "suspect": pages["suspect"] + hidden, "failed": pages["failed"] - hidden}


def _settings(spec: JobSpec) -> dict[str, Any]:
    """Return the settings that decide how pages look; a recipe by its name."""
    settings = spec.settings.model_dump(mode="json")
    return {**settings, "recipes": [recipe.name for recipe in spec.settings.recipes]}


def _replaced_fonts(report: JobReport) -> Iterator[str]:
    for font, pages in islice(report.fonts.items(), _MAX_FONTS):
        yield f"font not in the PDF, replaced: {on_pages(font, pages)}"


def _replay(report: JobReport, entries: Sequence[JournalEntry]) -> JobModel:
    model = JobModel(sorted(report.requested))
    replay(entries, model)
    return model


def _thumbnails(folder: JobFolder) -> dict[str, int]:
    """Return the thumbnails' sizes by name; none if the folder is missing."""
    return history.sizes(folder.thumbnails) if folder.thumbnails.is_dir() else {}


def page_of(row: PageRow) -> dict[str, Any]:
    """Return one page as the journal shows it, without a look at its files."""
    thumbs = dict.fromkeys(thumbnails.files_of(row.file), 1) if row.file else {}
    return _page(row, {row.file: row.bytes}, thumbs)


def hosts_of(report: JobReport, model: JobModel) -> list[dict[str, Any]]:
    """Return the hosts as the sheet lists them."""
    return list(_hosts(report, model))


def counts_of(report: JobReport) -> dict[str, int]:
    """Return the number of pages by state, as the sheet has them."""
    return _counts(report)


def _page(row: PageRow, files: dict[str, int], thumbs: dict[str, int]) -> dict[str, Any]:
    """Return one page. The thumbnail's size is computed: reading thousands of thumbnails takes long."""
    # A size that differs means that the file is not the one of the journal, or is being replaced.
    is_present = files.get(row.file) == row.bytes if row.file else False
    names = thumbnails.files_of(row.file) if row.file else ()
    thumbnail = next((name for name in names if thumbs.get(name)), "")
    longest = max(row.width, row.height, 1)
    size = [max(1, round(side * THUMBNAIL / longest)) for side in (row.width, row.height)]
    state = row.state if row.state in SETTLED and (is_present or row.state == FAILED) else "missing"
    return {
        "page": row.number,
        "state": state,
        "file": f"pages/{row.file}" if is_present else None,
        "thumb": f"thumbs/{thumbnail}" if is_present and thumbnail else None,
        "size": size if row.width else None,
        "width": row.width,
        "height": row.height,
        "bytes": row.bytes,
        "host": row.host,
        "seconds": round(row.seconds, 3),
        "attempts": row.attempts,
        "diagnostics": list(row.diagnostics),
        "reason": row.reason if state == FAILED else "",
        "history": [f"{time_of_day(entry)}  {tell(entry)}" for entry in row.history],
    }


def _hosts(report: JobReport, model: JobModel) -> Iterator[dict[str, Any]]:
    for share in report.hosts:
        row = model.hosts.get(share.name)
        yield {
            "name": share.name,
            "state": share.state,
            "word": _word(share, is_running=bool(report.coordinator)),
            "reason": share.reason,
            "pages": share.pages,
            "failures": share.failures,
            "seconds": round(share.seconds, 3),
            "median": None if row is None or row.median is None else round(row.median, 3),
            "cores": row.cores if row is not None else 0,
        }


def _word(share: HostShare, *, is_running: bool) -> str:
    """Return a host's state in words. After the end, that it could be used says nothing."""
    if not is_running and share.state in ("idle", "unknown"):
        return ""
    return hostwords.word(share.state, is_working=share.flights > 0)


def _timeline(model: JobModel) -> Iterator[dict[str, Any]]:
    slots = {name: row.slots for name, row in model.hosts.items()}
    for span in packed(model.spans, slots):
        yield {
            "host": span.host,
            "page": span.page,
            "from": round(model.times.at(span.start), 3),
            "to": round(model.times.at(span.end), 3),
            "ok": span.is_good,
        }
