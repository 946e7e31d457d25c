"""Endpoints of files: pages, thumbnails, the ZIP of all pages, the assembled file.

The type of a file comes from the job's device, never from the file. Nothing here is shown as a page of
this site: each answer is sandboxed, and what browsers cannot show is a download.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sshrender.api.web.jobfeed import JobFeed, PageFile
from sshrender.api.web.pagearchive import Member, PageArchive
from sshrender.api.web.pagefiles import read_part, read_plain, size_of
from sshrender.web.refusals import Refused, not_found
from sshrender.web.routing import Call, Endpoints
from sshrender.web.santhreads import SanThreads

FILES = Endpoints()
_JOB = "/api/v1/jobs/{name}"

_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
}
"""By format (renderers/devices.py). SVG and HTML are not among them: they could run scripts."""

_SHOWN = ("png", "jpeg", "bmp")
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""Browsers style the page that they make around an image."""

MAX_THUMBNAIL = 128 << 10
BLOCK = 1 << 20
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def _headers(name: str, *, is_shown: bool, etag: str) -> dict[str, str]:
    kind = "inline" if is_shown else "attachment"
    plain = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name
    )
    return {
        "Content-Disposition": f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": _SANDBOX,
        "Cache-Control": "private, no-cache",
        "ETag": f'"{etag}"',
    }


async def _feed(call: Call) -> JobFeed:
    return (await call.site.watched(call.word("name"), call.person)).feed


async def _page(call: Call) -> PageFile:
    feed, number = await _feed(call), call.number("number")
    found = feed.file(number)
    if found is None:
        raise not_found(f"page {number} is not delivered")
    return found


@FILES.add(
    "GET",
    f"{_JOB}/pages/{{number}}",
    "The file of a page",
    answers={200: "The file", 206: "A part of it"},
)
async def page(call: Call) -> Response:
    """Return the file of a page."""
    feed, found = await _feed(call), await _page(call)
    is_shown = feed.format in _SHOWN and "download" not in call.request.query_params
    headers = _headers(found.path.name, is_shown=is_shown, etag=found.sha256[:32])
    kind = _TYPES.get(feed.format, "application/octet-stream")
    return await _file(call, found.path, headers, kind)


@FILES.add(
    "GET",
    f"{_JOB}/thumbs/{{number}}",
    "A small PNG or JPEG of a page, if a host had the time",
    answers={200: "image/png"},
)
async def thumbnail(call: Call) -> Response:
    """Return the thumbnail of a page."""
    feed, number = await _feed(call), call.number("number")
    try:
        path = await call.site.pool.run(feed.thumbnail, number)
        if path is None:
            raise FileNotFoundError
        data = await call.site.pool.run(read_plain, path, MAX_THUMBNAIL)
    except OSError:
        raise not_found(f"there is no thumbnail of page {number}") from None
    headers = _headers(path.name, is_shown=True, etag=hashlib.sha256(data).hexdigest()[:32])
    headers["Cache-Control"] = "private, max-age=60"
    kind = "image/png" if path.suffix == ".png" else "image/jpeg"
    return Response(data, 200, headers, kind)


@FILES.add(
    "GET",
    f"{_JOB}/pages.zip",
    "All delivered pages, or ?pages=LIST, in one ZIP file; an interrupted download can be resumed",
    answers={200: "application/zip", 206: "A part of it", 404: "No page is delivered"},
)
async def pages_zip(call: Call) -> Response:
    """Return the pages in one file, which is made while it is sent."""
    feed = await _feed(call)
    chosen = call.request.query_params.get("pages", "")[:4000]
    files = await call.site.pool.run(feed.files, chosen)
    if not files:
        raise not_found("none of these pages is delivered")
    members = [Member(each.path.name, each.path, each.size, each.sha256) for each in files]
    archive = await call.site.pool.run(PageArchive, members, feed.checksums)
    headers = _headers(f"{feed.name}.zip", is_shown=False, etag=archive.etag)
    return _ranged(call, archive.size, headers, "application/zip", archive.read)


@FILES.add(
    "GET",
    f"{_JOB}/assembled",
    "The PDF of all pages, if the job makes one",
    answers={200: "application/pdf"},
)
async def assembled(call: Call) -> Response:
    """Return the file of all pages."""
    feed = await _feed(call)
    path = feed.assembled
    if path is None:
        raise not_found("this job makes no file of all pages")
    if feed.report.state != "done":
        raise Refused(
            404, "the file of all pages is made when all are delivered", "wait until the job is done"
        )
    headers = _headers(path.name, is_shown=False, etag=feed.spec.id[:32])
    return await _file(call, path, headers, "application/octet-stream")


@FILES.add(
    "GET", "/jobs/{name}/pages/{file}", "The file of a page, by its name", answers={200: "The file"}
)
async def page_by_name(call: Call) -> Response:
    """Return the file of a page: the overview names files."""
    feed, name = await _feed(call), call.word("file")
    found = feed.file_named(name)
    if found is None or found.path.name != name:
        raise not_found()
    headers = _headers(name, is_shown=feed.format in _SHOWN, etag=found.sha256[:32])
    return await _file(call, found.path, headers, _TYPES.get(feed.format, "application/octet-stream"))


@FILES.add(
    "GET",
    "/jobs/{name}/thumbs/{file}",
    "The thumbnail of a page, by its name",
    answers={200: "image/png"},
)
async def thumbnail_by_name(call: Call) -> Response:
    """Return a thumbnail: the overview names files, of a new page perhaps with the other type."""
    feed, name = await _feed(call), call.word("file")
    found = feed.file_named(name)
    if found is None or not name.endswith((".jpg", ".png")):
        raise not_found()
    call.request.path_params["number"] = str(found.page)
    return await thumbnail(call)


async def _file(call: Call, path: Path, headers: dict[str, str], kind: str) -> Response:
    """Return a file of the shared folder, from its middle on if that is asked for."""
    try:
        size = await call.site.pool.run(size_of, path)
    except FileNotFoundError:
        raise not_found("this file is gone") from None
    return _ranged(call, size, headers, kind, partial(read_part, path))


def _ranged(
    call: Call,
    size: int,
    headers: dict[str, str],
    kind: str,
    read: Callable[[int, int], Iterator[bytes]],
) -> Response:
    """Return the whole, or the part that a Range header names (RFC 9110, 14.2)."""
    request = call.request
    known = request.headers.get("if-none-match", "").split(",")
    # A proxy that compresses has made the tag a weak one; * is any (RFC 9110, 13.1.2).
    if {"*", headers["ETag"]} & {each.strip().removeprefix("W/") for each in known}:
        return Response(status_code=304, headers=headers)
    start, end = _range(request, size, headers["ETag"])
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    is_part = (start, end) != (0, size)
    if is_part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    call.site.counts["bytes sent"] += end - start
    body = _sent(call.site.downloads, read(start, end)) if request.method != "HEAD" else _nothing()
    return StreamingResponse(body, 206 if is_part else 200, headers, kind)


def _range(request: Request, size: int, etag: str) -> tuple[int, int]:
    header = request.headers.get("range", "")
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if (
        not header
        or found is None
        or request.headers.get("if-range", etag) != etag
        or not any(found.groups())
    ):
        return 0, size  # several ranges at once are answered with the whole, as the RFC allows
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if not start < end:
        raise Refused(
            416,
            "there is no such part of the file",
            "request the whole file",
            {"Content-Range": f"bytes */{size}"},
        )
    return start, end


async def _nothing() -> AsyncIterator[bytes]:
    for block in list[bytes]():
        yield block


async def _sent(pool: SanThreads, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield blocks that are read in threads, a MiB at a time."""
    while (data := await pool.run(_some, blocks)) is not None:
        if data:
            yield data


def _some(blocks: Iterator[bytes]) -> bytes | None:
    """Return the next bytes; None after the last. Empty: work was done, without a byte so far."""
    found = bytearray()
    for block in blocks:
        found += block
        # Others have their turn then, and a client that has gone away is noticed.
        if not block or len(found) >= BLOCK:
            return bytes(found)
    return bytes(found) or None
