"""Make the overview that can be mailed: one HTML file that contains its thumbnails, of bounded size.

It refers to no other file. What does not fit is left out, pages without a problem first, and the file
says so.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sshrender.coordinator import overviewwriter
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import read_journal
from sshrender.job.leasefiles import Claim
from sshrender.job.spec import JobSpec, safe_stem
from sshrender.storage.files import read_plain, write_whole
from sshrender.views import overview
from sshrender.views.text import count

MAX_BYTES = 7 << 20
"""Most bytes of the file. Postfix takes messages of 10,240,000 bytes by default (postconf(5),
message_size_limit), and base64 makes an attachment of 7 MiB as large as 10.05 million bytes."""

_MAX_PAGE_DATA = MAX_BYTES // 2
_MAX_TIMELINE = MAX_BYTES // 8
"""Bytes of JSON, so that a very long document leaves room for thumbnails."""

_ASSETS = 64 << 10
"""Bytes of the page itself with its style and script, and some more."""

_MIN_IMAGE = 1024
"""Bytes of room below which no further thumbnail is tried."""

MAX_THUMBNAIL = 128 << 10
"""Bytes. A runner sends no larger one (docs/formats.md)."""


def file_of(folder: Path, document: str) -> Path:
    """Return the file for a document in this folder: ``big-overview.html``."""
    return folder / f"{safe_stem(Path(document).stem)}-overview.html"


def write(folder: JobFolder, spec: JobSpec, target: Path, holder: Claim | None = None) -> Path:
    """Write the overview to ``target``, and return it. Raises OSError. No lease is needed."""
    sheet = overviewwriter.sheet(folder, spec, list(read_journal(folder.journal)), holder)
    text = overview.render(bounded(sheet, folder.thumbnails))
    write_whole(target, text.encode("utf-8", "replace"))
    return target


def bounded(sheet: dict[str, Any], thumbs: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Return the sheet with thumbnails, small enough for ``limit`` bytes. ``thumbs``: their folder.

    ``images``: base64 by page number, as text. ``notes`` says what is left out.
    """
    pages, used = _pages(sheet["pages"], limit * _MAX_PAGE_DATA // MAX_BYTES)
    numbers = {page["page"] for page in pages}
    timeline = [span for span in sheet["timeline"] if span["page"] in numbers]
    # After the pages: a span of a page that is not listed would lead nowhere.
    timeline, taken = _thinned(timeline, limit * _MAX_TIMELINE // MAX_BYTES)
    images: dict[str, str] = {}
    rest = {name: value for name, value in sheet.items() if name not in ("pages", "timeline")}
    left = limit - used - taken - _size(rest) - _ASSETS
    for page in sorted(pages, key=_rank):
        if left < _MIN_IMAGE:
            break
        image = _image(page, thumbs)
        if image and len(image) + 16 <= left:
            images[str(page["page"])] = image
            left -= len(image) + 16  # its key, quotes and comma
    lacking = sum(page["thumb"] is not None for page in pages) - len(images)
    notes = [*sheet["notes"], *_left_out(len(sheet["pages"]) - len(pages), lacking)]
    return {
        **sheet,
        "pages": [_without_files(page) for page in pages],
        "timeline": timeline,
        "viewable": False,
        "notes": notes,
        "images": images,
    }


def _rank(page: dict[str, Any]) -> tuple[bool, int]:
    """Order pages by how much a reader needs them: those with problems first."""
    return page["state"] == "done", page["page"]


def _pages(pages: Sequence[dict[str, Any]], room: int) -> tuple[list[dict[str, Any]], int]:
    """Return the pages whose data fits, in their order, and the bytes of their data."""
    chosen, used = [], 0
    for page in sorted(pages, key=_rank):
        size = _size(page)
        # A page that is too large does not end the loop: a smaller one may still fit.
        if used + size <= room:
            used += size
            chosen.append(page)
    return sorted(chosen, key=lambda page: int(page["page"])), used


def _thinned(spans: list[dict[str, Any]], room: int) -> tuple[list[dict[str, Any]], int]:
    """Return evenly spaced spans that fit, and their bytes."""
    size = sum(map(_size, spans))
    step = 1 + size // max(1, room)
    kept = spans if step == 1 else [span for at, span in enumerate(spans) if at % step == 0]
    return kept, sum(map(_size, kept))


def _size(value: dict[str, Any]) -> int:
    """Return the bytes of a value in the file. Escapes of ``<``, ``>`` and ``&`` make it longer."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&")) + 1


def _image(page: dict[str, Any], thumbs: Path) -> str:
    """Return a page's thumbnail in base64; empty if there is none that can be read."""
    if page["thumb"] is None:
        return ""
    with contextlib.suppress(OSError):
        data = read_plain(thumbs / Path(page["thumb"]).name, MAX_THUMBNAIL)
        return base64.b64encode(data).decode("ascii")
    return ""


def _without_files(page: dict[str, Any]) -> dict[str, Any]:
    """Return a page whose files are names, not addresses: the reader of a mail does not have them."""
    name = None if page["file"] is None else Path(page["file"]).name
    return {**page, "file": name, "thumb": None}


def _left_out(pages: int, images: int) -> Iterator[str]:
    if pages:
        yield f"{count(pages, 'page')} not listed here, so that this file can be mailed"
    if images:
        yield f"{count(images, 'image')} of pages left out, so that this file can be mailed"
