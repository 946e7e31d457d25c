"""Endpoints of uploads: begin, parts, a look at the document, and the job that it becomes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response

from sshrender.api.runcontext import RunContext
from sshrender.api.web import uploads, webjobs
from sshrender.api.web.uploaderrors import parts_lacking
from sshrender.api.web.uploads import PartWriter, Upload
from sshrender.api.web.webjobs import WebOptions
from sshrender.errors import UserError
from sshrender.web import bodies
from sshrender.web.refusals import Refused, no_passwords
from sshrender.web.roles import Role
from sshrender.web.routing import Call, Endpoints

UPLOADS = Endpoints()
_PATH = "/api/v1/uploads"
_BUFFER = 1 << 20
"""Bytes that are collected before they are written: each write is a call in another thread."""

_OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "dpi": {
            "type": "integer",
            "minimum": webjobs.MIN_DPI,
            "maximum": webjobs.MAX_DPI,
            "default": 150,
        },
        "device": {"enum": list(webjobs.DEVICES), "default": "png16m"},
        "pages": {
            "type": "string",
            "maxLength": 1000,
            "description": "A page list, as 1-10,15,odd; empty: all.",
        },
        "priority": {"type": "integer", "minimum": webjobs.LOWEST_PRIORITY, "maximum": 0, "default": 0},
        "assemble": {
            "type": "boolean",
            "default": False,
            "description": "Also make one PDF of all pages.",
        },
        "password": {
            "type": "string",
            "maxLength": webjobs.MAX_PASSWORD,
            "description": "Opens the document; kept in the memory of a server that coordinates.",
        },
    },
}


def _as_json(upload: Upload, **more: Any) -> dict[str, Any]:
    return {
        "id": upload.id,
        "name": upload.name,
        "size": upload.size,
        "part_size": upload.part_size,
        "parts": upload.parts,
        **more,
    }


@UPLOADS.add(
    "POST",
    _PATH,
    "Begin an upload",
    needs=Role.SUBMITTER,
    body={
        "type": "object",
        "required": ["name", "size"],
        "properties": {
            "name": {"type": "string", "description": "The document's name, for users."},
            "size": {"type": "integer", "minimum": 1, "description": "Bytes of the document."},
            "part_size": {
                "type": "integer",
                "minimum": uploads.MIN_PART,
                "maximum": uploads.MAX_PART,
                "default": uploads.DEFAULT_PART,
            },
        },
    },
    answers={201: "Begun: id, part_size and parts", 413: "Too large", 429: "Quota", 507: "No space"},
)
async def begin(call: Call) -> Response:
    """Begin an upload."""
    known = ("name", "size", "part_size")
    fields = await bodies.read_json(call.request, call.site.settings.limits, known)
    name, size = fields.get("name"), fields.get("size")
    part_size = fields.get("part_size", uploads.DEFAULT_PART)
    if (
        not isinstance(name, str)
        or isinstance(size, bool)
        or not isinstance(size, int)
        or isinstance(part_size, bool)
        or not isinstance(part_size, int)
    ):
        raise Refused(
            400,
            "name is a text, size and part_size are numbers",
            'send {"name": "a.pdf", "size": 12345}',
        )
    made = await call.site.pool.run(
        uploads.begin, call.site.san, call.person.by, name, size, part_size, call.site.settings.quota
    )
    return JSONResponse(_as_json(made), 201)


async def _find(call: Call) -> Upload:
    return await call.site.pool.run(uploads.find, call.site.san, call.word("id"), call.person.by)


@contextlib.asynccontextmanager
async def _found(call: Call) -> AsyncIterator[Upload]:
    """Give the upload. Raises UploadError if files were missing because it was removed meanwhile."""
    upload = await _find(call)
    try:
        yield upload
    except (FileNotFoundError, UserError):
        await _find(call)
        raise


@UPLOADS.add(
    "GET",
    f"{_PATH}/{{id}}",
    "Which parts are there",
    needs=Role.SUBMITTER,
    answers={200: "received: the numbers of the parts; job: what the upload became, or null"},
)
async def parts(call: Call) -> Response:
    """Return which parts are there."""
    upload = await _find(call)
    job = await call.site.pool.run(uploads.job_of, call.site.san, upload)
    present = [] if job else await call.site.pool.run(uploads.parts_present, call.site.san, upload)
    return JSONResponse(_as_json(upload, received=present, job=job))


@UPLOADS.add(
    "DELETE", f"{_PATH}/{{id}}", "Remove an upload", needs=Role.SUBMITTER, answers={204: "Removed"}
)
async def remove(call: Call) -> Response:
    """Remove an upload that is not needed."""
    await call.site.long.run(uploads.remove, call.site.san, await _find(call))
    return Response(status_code=204)


@UPLOADS.add(
    "PUT",
    f"{_PATH}/{{id}}/parts/{{number}}",
    "Send a part; the same part again is the same",
    needs=Role.SUBMITTER,
    body={"type": "string", "contentMediaType": "application/octet-stream"},
    answers={
        204: "Stored",
        409: "The upload is complete",
        413: "Too large",
        415: "Not a PDF",
        422: "Damaged on the way",
        429: "Too many at once",
    },
)
async def put_part(call: Call) -> Response:
    """Store a part."""
    site, user = call.site, call.person.by
    limits = site.settings.limits
    if site.bodies[user] >= limits.bodies:
        raise Refused(
            429,
            f"you send {limits.bodies} parts already",
            "send the next one after that",
            {"Retry-After": "2"},
        )
    site.bodies[user] += 1
    try:
        await _store(call)
    finally:
        site.bodies[user] -= 1
        if not site.bodies[user]:
            del site.bodies[user]
    return Response(status_code=204)


async def _store(call: Call) -> None:
    async with _found(call) as upload:
        await _store_part(call, upload)


async def _store_part(call: Call, upload: Upload) -> None:
    site, digest = call.site, bodies.digest_of(call.request)
    _require_open(await site.pool.run(uploads.job_of, site.san, upload))
    quota = site.settings.quota
    await site.pool.run(uploads.require_space, site.san, upload.part_size, quota)
    writer = await site.pool.run(PartWriter, site.san, upload, call.number("number"))
    try:
        buffer = bytearray()
        async for chunk in bodies.chunks(call.request, upload.part_size, site.settings.limits):
            buffer += chunk
            if len(buffer) >= _BUFFER:
                await site.pool.run(writer.write, bytes(buffer))
                buffer.clear()
        await site.pool.run(writer.write, bytes(buffer))
        # Again: a part may take hours, and one that arrives afterwards would stay and count for no user.
        _require_open(await site.pool.run(uploads.job_of, site.san, upload))
        await site.pool.run(writer.finish, digest)
    except BaseException:
        # The request may be cancelled because the client has gone: the file must go anyway.
        await asyncio.shield(site.long.run(writer.abort))
        raise


def _require_open(job: str | None) -> None:
    if job is not None:
        raise Refused(409, f"this upload is complete: it became {job}", "begin another upload")


async def _await_parts(call: Call, upload: Upload) -> None:
    """Wait until all parts can be opened; raise UploadError if one does not come.

    Another server may have stored a part that this machine does not list yet, but not many. No thread
    waits: a user who leaves out a part does not delay others.
    """
    site, until = call.site, time.monotonic() + uploads.VISIBLE_TIMEOUT
    present = await site.pool.run(uploads.parts_present, site.san, upload)
    if upload.parts - len(present) > upload.parts // 2:
        until = 0.0
    missing = await site.documents.run(uploads.first_missing, site.san, upload)
    while missing is not None:
        if time.monotonic() >= until:
            raise parts_lacking(missing, await site.pool.run(uploads.parts_missing, site.san, upload))
        await asyncio.sleep(1)
        missing = await site.documents.run(uploads.first_missing, site.san, upload, missing)


async def _options(call: Call) -> WebOptions:
    fields = await bodies.read_json(call.request, call.site.settings.limits)
    try:
        options = WebOptions.of(fields)
    except ValueError as error:
        raise Refused(400, str(error), "see /api/v1/openapi.json") from None
    if options.password and call.site.settings.passwords is None:
        raise no_passwords()
    return options


@UPLOADS.add(
    "POST",
    f"{_PATH}/{{id}}/inspect",
    "Count the pages of an uploaded document and estimate the time; all parts must be there",
    needs=Role.SUBMITTER,
    body=_OPTIONS,
    answers={
        200: "pages, total, seconds (or null), compared: the earlier jobs",
        409: "Parts are missing, as for complete",
        422: "The document cannot be used",
    },
)
async def inspect(call: Call) -> Response:
    """Look at a document before it is rendered."""
    options = await _options(call)
    async with _found(call) as upload:
        with call.site.documents_of(call.person.by) as turn:
            await _await_parts(call, upload)
            found = await turn(_inspect, call, upload, options)
    return JSONResponse(asdict(found))


def _inspect(call: Call, upload: Upload, options: WebOptions) -> webjobs.DocumentCheck:
    settings = call.site.settings
    uploads.require_space(settings.san, upload.size, settings.quota)
    document = uploads.assemble(settings.san, upload)
    return _look_at(call, webjobs.context_for(settings.typed, settings.config, options), document)


def _look_at(call: Call, context: RunContext, document: Path) -> webjobs.DocumentCheck:
    try:
        return webjobs.inspect(context, document)
    except webjobs.LockedDocument as error:
        if call.site.settings.passwords is None:
            raise Refused(422, error.what, no_passwords().advice) from None
        raise


@UPLOADS.add(
    "POST",
    f"{_PATH}/{{id}}/complete",
    "Make a job of the uploaded document",
    needs=Role.SUBMITTER,
    body=_OPTIONS,
    answers={
        201: "job: its name",
        400: "A setting is wrong",
        404: "No such upload",
        409: "Parts are missing; missing: their numbers, the first thousand",
        422: "Not a usable PDF",
    },
)
async def complete(call: Call) -> Response:
    """Queue the uploaded document. Asked again, the answer is the same job."""
    site, options = call.site, await _options(call)
    async with _found(call) as upload:
        job = await site.pool.run(uploads.job_of, site.san, upload)
        if job is None:
            job = await _become_job(call, upload, options)
    return JSONResponse({"job": job}, 201, {"Location": f"../../jobs/{quote(job, safe='')}"})


async def _become_job(call: Call, upload: Upload, options: WebOptions) -> str:
    site = call.site
    await _require_few_jobs(call)
    site.completing[call.person.by] += 1
    try:
        with site.documents_of(call.person.by) as turn:
            await _await_parts(call, upload)
            return await turn(_complete, call, upload, options)
    finally:
        site.completing[call.person.by] -= 1
        site.forget_list()


async def _require_few_jobs(call: Call) -> None:
    limit = call.site.settings.limits.unfinished_jobs
    lines = await call.site.lines(call.person)
    own = [
        line
        for line in lines
        if line.owner == call.person.by and line.state in ("queued", "held", "running", "paused")
    ]
    # Those that become jobs at this moment are in no list yet.
    if len(own) + call.site.completing[call.person.by] >= limit:
        raise Refused(
            429,
            f"{len(own)} of your jobs are not finished; more are not allowed",
            "wait, or cancel one",
        )


def _complete(call: Call, upload: Upload, options: WebOptions) -> str:
    settings = call.site.settings
    uploads.require_space(settings.san, upload.size, settings.quota)
    document = uploads.assemble(settings.san, upload)
    context = webjobs.context_for(settings.typed, settings.config, options)
    _look_at(call, context, document)
    submitted = webjobs.submit_upload(context, document, call.person.by)
    if options.password and settings.passwords is not None:
        settings.passwords.give(submitted.job, options.password)
    uploads.complete(settings.san, upload, submitted.job)
    return submitted.job
