"""Endpoints for balancers, monitors and programs: health, metrics, the OpenAPI document."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

import sshrender
from sshrender.api.jobs import require_readable
from sshrender.api.web import uploads
from sshrender.errors import UserError
from sshrender.web.refusals import Refused
from sshrender.web.roles import Role
from sshrender.web.routing import Call, Endpoint, Endpoints
from sshrender.web.settings import plain_address

STATUS = Endpoints()
_STARTED = time.time()

MAX_METRIC_STATES = ("running", "paused", "held", "queued", "done", "partial", "failed", "cancelled")


@STATUS.add(
    "GET",
    "/healthz",
    "Whether this server can work, for balancers",
    needs=None,
    answers={200: "status, san, coordinated", 503: "The shared folder does not answer"},
)
async def healthz(call: Call) -> Response:
    """Tell a balancer whether to send requests here."""
    try:
        await call.site.pool.run(require_readable, call.site.san)
        await call.site.listed()
        is_there = True
    except (Refused, UserError):
        is_there = False
    found = {
        "status": "ok" if is_there else "the shared folder does not answer",
        "san": is_there,
        "coordinated": is_there and not call.site.is_untaken,
    }
    return JSONResponse(found, 200 if is_there else 503)


@STATUS.add("GET", "/metrics", "Numbers for Prometheus; operators, and this machine itself", needs=None)
async def metrics(call: Call) -> Response:
    """Return numbers in the text format of Prometheus, made when they are asked for."""
    if call.person.role < Role.OPERATOR and not _is_this_machine(call):
        raise Refused(
            403, "only operators and this machine may read the metrics", "log in as an operator"
        )
    lines = [*_of_server(call), *await _of_folder(call)]
    return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")


def _of_server(call: Call) -> list[str]:
    """Return the lines that this process itself can give."""
    return [
        *_metric("sshrender_info", "gauge", "The version.", [({"version": sshrender.__version__}, 1)]),
        *_metric(
            "sshrender_start_time_seconds",
            "gauge",
            "When the server was started.",
            [({}, round(_STARTED))],
        ),
        *_metric(
            "sshrender_live_pages",
            "gauge",
            "Streams of events to browsers.",
            [({}, call.site.streams.total())],
        ),
        *_metric("sshrender_answers_total", "counter", "Answers by method and status.", _answers(call)),
        *_metric(
            "sshrender_sent_bytes_total",
            "counter",
            "Bytes of downloads.",
            [({}, call.site.counts["bytes sent"])],
        ),
    ]


async def _of_folder(call: Call) -> list[str]:
    """Return the lines about the shared folder; while it does not answer, only that fact."""
    words = ("sshrender_shared_folder_up", "gauge", "1 if the shared folder answers.")
    try:
        listed = await call.site.listed()
        open_uploads = await call.site.pool.run(uploads.open_count, call.site.san)
    except (Refused, UserError, OSError):
        return list(_metric(*words, [({}, 0)]))
    states = Counter(line.state for line in listed.jobs)
    return [
        *_metric(*words, [({}, 1)]),
        *_metric(
            "sshrender_jobs",
            "gauge",
            "Jobs by state.",
            [({"state": each}, states[each]) for each in MAX_METRIC_STATES],
        ),
        *_metric(
            "sshrender_pages_missing",
            "gauge",
            "Pages of unfinished jobs that are not delivered.",
            [({}, _missing(listed.jobs))],
        ),
        *_metric(
            "sshrender_pages_per_second",
            "gauge",
            "Speed of all running jobs.",
            [({}, round(sum(line.speed or 0 for line in listed.jobs), 3))],
        ),
        *_metric(
            "sshrender_hosts",
            "gauge",
            "Hosts by state.",
            [
                ({"state": key}, value)
                for key, value in sorted(
                    Counter(host.state or "unknown" for host in listed.hosts).items()
                )
            ],
        ),
        *_metric(
            "sshrender_queue_untaken",
            "gauge",
            "1 if no coordinator takes jobs of the queue.",
            [({}, int(call.site.is_untaken))],
        ),
        *_metric("sshrender_uploads", "gauge", "Uploads in the shared folder.", [({}, open_uploads)]),
    ]


def _is_this_machine(call: Call) -> bool:
    request = call.request
    # A proxy on this machine speaks for others. It adds one of these, or is to name the user.
    of_proxies = ("x-forwarded-for", "forwarded", "x-real-ip", "via", call.site.settings.user_header)
    if request.client is None or any(name in request.headers for name in of_proxies):
        return False
    try:
        return plain_address(request.client.host).is_loopback
    except ValueError:
        return False


def _missing(lines: Iterable[Any]) -> int:
    unfinished = (line for line in lines if line.state in ("running", "paused", "held", "queued"))
    return sum(line.total - line.done - line.suspect - line.failed for line in unfinished)


def _answers(call: Call) -> list[tuple[dict[str, str], float]]:
    found: list[tuple[dict[str, str], float]] = []
    for key, value in sorted(call.site.counts.items()):
        method, _, status = key.partition(" ")
        if status.isascii() and status.isdigit():
            found.append(({"method": method, "status": status}, value))
    return found


def _metric(
    name: str, kind: str, words: str, values: Iterable[tuple[dict[str, str], float]]
) -> Iterator[str]:
    yield f"# HELP {name} {words}\n# TYPE {name} {kind}\n"
    for labels, value in values:
        inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value}\n" if inside else f"{name} {value}\n"


def _name_of(endpoint: Endpoint) -> str:
    """Return a name that no other endpoint has: ``get_api_v1_jobs_name``."""
    return re.sub(r"[/.]", "_", re.sub(r"[{}]", "", f"{endpoint.method.lower()}{endpoint.path}"))


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation: dict[str, Any] = {
            "summary": endpoint.summary,
            "operationId": _name_of(endpoint),
            "parameters": [
                {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
                for part in endpoint.path.split("/")
                if part.startswith("{")
            ],
            "responses": {
                str(status): {"description": words}
                for status, words in (endpoint.answers or {200: "OK"}).items()
            },
        }
        if endpoint.needs is not None:
            operation["description"] = f"Role: {endpoint.needs.name.lower()}."
            operation["responses"].setdefault("401", {"description": "Not logged in"})
        if endpoint.body is not None:
            kind = str(endpoint.body.get("contentMediaType", "application/json"))
            operation["requestBody"] = {"content": {kind: {"schema": dict(endpoint.body)}}}
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "sshrender", "version": sshrender.__version__},
        "paths": paths,
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
    }
