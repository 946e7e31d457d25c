"""Endpoints of jobs: lists, live events, and what users request."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from sshrender.api import history, hostcontrol, jobchanges, removal
from sshrender.api.web import webjobs
from sshrender.api.web.webjobs import MAX_PASSWORD, require_password
from sshrender.errors import ExitCode, UserError
from sshrender.views import pagehistory
from sshrender.web import bodies
from sshrender.web.authentication import SHARED_SECONDS
from sshrender.web.html import large_response
from sshrender.web.jobwatchers import COMMENT_INTERVAL, WatchedJob
from sshrender.web.refusals import Refused, busy, no_passwords
from sshrender.web.roles import Role
from sshrender.web.routing import Call, Endpoints, number_of, person_now
from sshrender.web.site import public

JOBS = Endpoints()
_PATH = "/api/v1/jobs"
_JOB = f"{_PATH}/{{name}}"
MAX_NOTE = 400
CHECK_INTERVAL = 15.0
"""Seconds after which an open stream asks whether its user is logged in still."""

_NOTE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"note": {"type": "string", "maxLength": MAX_NOTE}},
}
_RETRY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "pages": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "description": "Failed pages; without it, all of them.",
        }
    },
}


@JOBS.add(
    "GET", _PATH, "All jobs that you may see, as status --json has them", answers={200: "schema, jobs"}
)
async def jobs(call: Call) -> Response:
    """Return all jobs in detail."""
    return JSONResponse(
        {"schema": 1, "jobs": await call.site.reports(call.person, call.asker), "exit_code": 0}
    )


@JOBS.add(
    "GET",
    "/api/v1/queue",
    "All jobs that you may see, a line each, and whether a coordinator takes them",
    answers={200: "jobs, is_untaken, user"},
)
async def queue(call: Call) -> Response:
    """Return the list that the page shows; cheap to ask for often."""
    lines = await call.site.lines(call.person)
    found = []
    for line in lines:
        row = asdict(line)
        del row["key"], row["id"]
        row["is_own"] = call.person.may_change(line.owner)
        found.append(row)
    more = {"is_untaken": call.site.is_untaken, "user": call.person.name}
    return JSONResponse({"jobs": found, **more})


@JOBS.add(
    "GET",
    _JOB,
    "One job, as status --json has it",
    answers={200: "The job; position and is_untaken", 404: "No such job"},
)
async def job(call: Call) -> Response:
    """Return one job in detail."""
    watched = await _watched(call)
    report = watched.feed.report
    row: dict[str, Any] = report.as_json()
    if report.state == "running":
        row["seconds_left"] = watched.feed.status()["left"]
    place = watched.in_queue()
    if report.state == "queued":
        # Besides, it was looked up in the list of jobs, which tells whether a coordinator takes them.
        row |= {"queue_place": place["position"], "waits": place["waits"] or None}
        row["is_untaken"] = call.site.is_untaken
    return JSONResponse({**public(row), "position": place["position"], "exit_code": 0})


async def _watched(call: Call) -> WatchedJob:
    return await call.site.watched(call.word("name"), call.person)


def _since(call: Call) -> int:
    text = call.request.headers.get("last-event-id") or call.request.query_params.get("from", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


@JOBS.add(
    "GET",
    f"{_JOB}/events",
    "What changes, as server-sent events; the id is a byte offset of the journal",
    answers={200: "text/event-stream; with ?wait=1 one JSON object: the next event, as a long poll"},
)
async def events(call: Call) -> Response:
    """Send what changes, from the offset that the client knows."""
    watched, since = await _watched(call), _since(call)
    site, user = call.site, call.asker
    limits = site.settings.limits
    if site.streams[user] >= limits.streams_each or site.streams.total() >= limits.streams:
        raise Refused(503, "too many live pages are open", "close some of them", {"Retry-After": "30"})
    if call.request.query_params.get("wait"):
        site.streams[user] += 1
        try:
            return await _next_event(watched, since)
        finally:
            site.streams[user] -= 1
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(call, watched, since), 200, headers, "text/event-stream")


async def _stream(call: Call, watched: WatchedJob, since: int) -> AsyncIterator[bytes]:
    streams, user, checked = call.site.streams, call.asker, time.monotonic()
    streams[user] += 1
    try:
        password = await call.site.users.run(call.site.authenticator.of_password, call.person.name)
        yield b"retry: 2000\n\n"
        async for message in watched.messages(since):
            if time.monotonic() - checked >= CHECK_INTERVAL:
                checked = time.monotonic()
                # The browser connects again then, and is told what is wrong.
                if not await _may_watch(call, watched, password):
                    return
            if message is None:
                yield b": still here\n\n"
            elif isinstance(message, str):
                yield b"event: trouble\ndata: %s\n\n" % json.dumps({"reason": message}).encode()
            else:
                yield b"id: %d\ndata: %s\n\n" % message
        if watched.gone:
            yield b"event: gone\ndata: %s\n\n" % json.dumps({"reason": watched.gone}).encode()
    finally:
        streams[user] -= 1


async def _may_watch(call: Call, watched: WatchedJob, password: str | None) -> bool:
    """Return whether an open stream may continue: sessions, links and users end meanwhile."""
    with contextlib.suppress(Refused):
        person = await person_now(call, password)
        return person is not None and watched.seen_by(person)
    return False


async def _next_event(watched: WatchedJob, since: int) -> Response:
    """Answer a long poll: for proxies that collect an answer until it ends."""
    began = time.monotonic()
    async for message in watched.messages(since):
        if message is None:
            return Response(status_code=204)
        if isinstance(message, str):
            raise busy()
        # The first one says how the job stands, which the client may know already.
        if message[0] > since or time.monotonic() - began > 1 or since == 0:
            return Response(message[1], media_type="application/json")
        if time.monotonic() - began > COMMENT_INTERVAL:
            break
    return Response(status_code=204)


@JOBS.add("GET", f"{_JOB}/sheet", "All that the overview shows, with offset: where events continue")
async def sheet(call: Call) -> Response:
    """Return the data of the overview."""
    made = await (await _watched(call)).sheet()
    return await call.site.long.run(large_response, call.request, [made], "application/json")


@JOBS.add("GET", f"{_JOB}/problems", "What is wrong, in words", answers={200: "problems, headline"})
async def problems(call: Call) -> Response:
    """Return the problems of a job."""
    await _watched(call)
    with call.site.journals_of(call.asker) as read:
        found = await read(history.problems_of_job, call.site.san, call.word("name"))
    return JSONResponse({"headline": found.now, "problems": [each.as_json() for each in found.problems]})


@JOBS.add(
    "GET",
    f"{_JOB}/why",
    "The history of a page (?page=N) or of a host (?host=NAME) in this job: each event and its cause",
    answers={
        200: "now: its state in words; history: a line for each event",
        400: "No such page or host",
    },
)
async def why(call: Call) -> Response:
    """Return the history of a page or a host, as ``sshrender why`` prints it."""
    watched, query = await _watched(call), call.request.query_params
    page, host = query.get("page", ""), query.get("host", "")[:200]
    if bool(page) == bool(host):
        raise Refused(400, "name a page or a host", "add ?page=7 or ?host=node1")
    number = 0 if host else number_of(page)
    # The whole journal is read, which takes seconds for a large job.
    with call.site.journals_of(call.asker) as read:
        if host:
            found = await read(history.history_of_host, call.site.san, watched.feed.name, host)
        else:
            found = await read(history.history_of_page, call.site.san, watched.feed.name, number)
    return JSONResponse(
        {"job": found.job, "now": found.now, "history": list(pagehistory.lines(found.entries))}
    )


async def _note(call: Call) -> str:
    """Return the note of a request. Raises Refused."""
    fields = await bodies.read_json(call.request, call.site.settings.limits, ("note",))
    note = fields.get("note", "")
    if not isinstance(note, str) or len(note) > MAX_NOTE:
        raise Refused(400, f"note is a text of at most {MAX_NOTE} characters", "shorten it")
    return note


async def _change(
    call: Call,
    change: Callable[[str, str], Any],
    *,
    note: str | None = None,
    concerns_pilots: bool = False,
) -> Response:
    """Change a job that is the user's own. ``change`` gets its name and the note.

    ``note``: None to read it from the body. ``concerns_pilots``: whether a batch system may be asked.
    """
    watched = await _watched(call)
    if not call.person.may_change(watched.feed.owner):
        raise Refused(403, "only the owner of a job and operators may change it", "ask the owner")
    note = await _note(call) if note is None else note
    site, name = call.site, watched.feed.name
    has_pilots = concerns_pilots and await site.long.run(jobchanges.has_pilots, site.san, name)
    changed = await (site.engines if has_pilots else site.long).run(change, name, note)
    site.forget_list()
    await watched.refresh(0)
    one = changed[0] if isinstance(changed, list) and changed else None
    done = one.no_need if one else ""
    answer = {"job": name, "state": watched.feed.report.state, "no_need": done}
    if one and one.left:
        answer["pilots"] = [asdict(each) for each in one.left]
    return JSONResponse(answer, 202)


_CHANGED = {
    202: "Requested: job, state, no_need; pilots that a cancelled or held job may have left in a queue",
    403: "Not your job",
    409: "Its coordinator does not answer",
}


@JOBS.add("POST", f"{_JOB}/hold", "Pause a job", needs=Role.SUBMITTER, body=_NOTE, answers=_CHANGED)
async def hold(call: Call) -> Response:
    """Pause a job."""
    given = call.site.settings
    return await _change(
        call,
        lambda name, note: webjobs.hold(call.site.san, name, note, given.typed, given.config),
        concerns_pilots=True,
    )


@JOBS.add("POST", f"{_JOB}/release", "Let a held job continue", needs=Role.SUBMITTER, answers=_CHANGED)
async def release(call: Call) -> Response:
    """Let a held job continue."""
    return await _change(call, lambda name, _note: jobchanges.release(call.site.san, [name]))


@JOBS.add(
    "POST", f"{_JOB}/cancel", "Stop a job; finished pages stay", needs=Role.SUBMITTER, answers=_CHANGED
)
async def cancel(call: Call) -> Response:
    """Stop a job."""
    given = call.site.settings
    answer = await _change(
        call,
        lambda name, _note: webjobs.cancel(call.site.san, name, given.typed, given.config),
        concerns_pilots=True,
    )
    call.site.forget_password(call.word("name"))
    return answer


@JOBS.add(
    "POST",
    f"{_JOB}/retry",
    "Try failed pages again; a finished job goes back into the queue, with all of its failed pages",
    needs=Role.SUBMITTER,
    body=_RETRY,
    answers={**_CHANGED, 400: "A page has not failed"},
)
async def retry(call: Call) -> Response:
    """Try failed pages again: all, or those that the request names."""
    watched = await _watched(call)
    fields = await bodies.read_json(call.request, call.site.settings.limits, ("pages",))
    failed = [int(each["page"]) for each in watched.feed.report.failed]
    chosen = fields.get("pages", failed)
    if not isinstance(chosen, list) or not all(type(each) is int for each in chosen):
        raise Refused(400, "pages is a list of numbers", 'send {"pages": [7]}, or {} for all')
    others = sorted(set(chosen) - set(failed))
    if others:
        raise Refused(400, f"page {others[0]} has not failed", "see failed_pages of the job")
    is_running = bool(watched.feed.report.coordinator)

    def work(name: str, _note: str) -> Any:
        if is_running:
            return jobchanges.retry(call.site.san, name, chosen)
        return jobchanges.resubmit(call.site.san, [name])

    return await _change(call, work, note="")


@JOBS.add(
    "POST",
    f"{_JOB}/password",
    "Give the password of the document again, as after a restart of the server",
    needs=Role.SUBMITTER,
    body={
        "type": "object",
        "required": ["password"],
        "additionalProperties": False,
        "properties": {"password": {"type": "string", "maxLength": MAX_PASSWORD}},
    },
    answers={**_CHANGED, 409: "This server accepts no passwords", 422: "The password is wrong"},
)
async def password(call: Call) -> Response:
    """Keep the password of a job's document in memory."""
    watched, site = await _watched(call), call.site
    if not call.person.may_change(watched.feed.owner):
        raise Refused(403, "only the owner of a job and operators may change it", "ask the owner")
    fields = await bodies.read_json(call.request, site.settings.limits, ("password",))
    given = fields.get("password")
    if not isinstance(given, str) or not 0 < len(given) <= MAX_PASSWORD:
        raise Refused(400, f"password is a text of at most {MAX_PASSWORD} characters", "send it")
    if site.settings.passwords is None:
        raise no_passwords()
    await site.documents.run(require_password, site.san, watched.feed.folder, given)
    site.settings.passwords.give(watched.feed.name, given)
    return JSONResponse(
        {"job": watched.feed.name, "state": watched.feed.report.state, "no_need": ""}, 202
    )


@JOBS.add(
    "DELETE",
    _JOB,
    "Remove a finished job with all of its pages",
    needs=Role.SUBMITTER,
    answers={204: "Removed", 409: "It runs or waits"},
)
async def delete(call: Call) -> Response:
    """Remove a finished job."""
    watched = await _watched(call)
    name = watched.feed.name
    if not call.person.may_change(watched.feed.owner):
        raise Refused(403, "only the owner of a job and operators may remove it", "ask the owner")
    if not watched.feed.is_finished:
        raise Refused(409, f"{name} is {watched.feed.report.state}, not finished", "cancel it first")
    try:
        is_gone = await call.site.long.run(removal.remove_finished, call.site.san, name)
    except UserError as error:
        if error.code == ExitCode.USAGE:
            raise Refused(409, error.what, "cancel it first") from None
        raise
    if not is_gone:
        raise Refused(409, f"{name} was started or queued again", "cancel it first")
    call.site.drop(name)
    call.site.forget_list()
    call.site.forget_password(name)
    return Response(status_code=204)


@JOBS.add(
    "POST",
    f"{_JOB}/link",
    "Make a link that shows this job to a colleague for seven days",
    needs=Role.SUBMITTER,
    answers={201: "path: below the base path; seconds: how long it is valid"},
)
async def link(call: Call) -> Response:
    """Make a link for a colleague: it shows one job and changes nothing."""
    watched = await _watched(call)
    if not call.person.may_change(watched.feed.owner):
        raise Refused(403, "only the owner of a job and operators may share it", "ask the owner")
    token = call.site.authenticator.sign(
        "link", SHARED_SECONDS, job=watched.feed.name, id=watched.feed.spec.id
    )
    return JSONResponse({"path": f"link/{token}", "seconds": round(SHARED_SECONDS)}, 201)


@JOBS.add(
    "GET",
    "/api/v1/hosts",
    "All hosts, and which are drained",
    needs=Role.OPERATOR,
    answers={200: "hosts, pools, drained"},
)
async def hosts(call: Call) -> Response:
    """Return what each host does for all jobs."""
    listed = await call.site.listed()
    drained = await call.site.pool.run(hostcontrol.drained_hosts, call.site.san)
    rows = [
        {"host": each.host, "by": each.by, "note": each.note, "since": each.since} for each in drained
    ]
    pools = [asdict(pool) for pool in listed.pools]
    return JSONResponse(
        {"hosts": [asdict(host) for host in listed.hosts], "pools": pools, "drained": rows}
    )


async def _change_host(call: Call, change: Callable[[str], Any]) -> Response:
    """Call ``change`` with the name of a host that is in the inventory."""
    name = call.word("name")
    listed = await call.site.listed()
    if name not in {host.name for host in listed.hosts}:
        raise Refused(404, f"there is no host {name}", "see the list of hosts")
    await call.site.long.run(change, name)
    call.site.forget_list()
    return JSONResponse({"host": name}, 202)


@JOBS.add(
    "POST",
    "/api/v1/hosts/{name}/drain",
    "Take a host out of use",
    needs=Role.OPERATOR,
    body=_NOTE,
    answers={202: "Drained"},
)
async def drain(call: Call) -> Response:
    """Take a host out of use, for every job."""
    note = await _note(call)
    return await _change_host(call, lambda name: hostcontrol.drain(call.site.san, name, note))


@JOBS.add(
    "POST",
    "/api/v1/hosts/{name}/undrain",
    "Put a host back into use",
    needs=Role.OPERATOR,
    answers={202: "In use"},
)
async def undrain(call: Call) -> Response:
    """Put a drained host back into use."""
    return await _change_host(call, lambda name: hostcontrol.undrain(call.site.san, name))
