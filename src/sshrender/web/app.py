"""The application: all endpoints behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from sshrender.web.fileroutes import FILES
from sshrender.web.guard import Guard
from sshrender.web.identity import Doorkeeper
from sshrender.web.jobroutes import JOBS
from sshrender.web.pageroutes import PAGES
from sshrender.web.refusals import Refused, not_found
from sshrender.web.routing import Call, Endpoint, Endpoints, routes
from sshrender.web.settings import ServeSettings
from sshrender.web.site import Site
from sshrender.web.statusroutes import STATUS, document
from sshrender.web.uploadroutes import UPLOADS

OPENAPI = Endpoints()


@OPENAPI.add("GET", "/api/v1/openapi.json", "This document", needs=None)
async def openapi(_call: Call) -> Response:
    """Return the OpenAPI document."""
    return JSONResponse(document(endpoints()))


def endpoints() -> list[Endpoint]:
    """Return every endpoint of the server."""
    return [*OPENAPI.all, *UPLOADS.all, *FILES.all, *JOBS.all, *PAGES.all, *STATUS.all]


def make_app(settings: ServeSettings, key: bytes) -> ASGIApp:
    """Return the application. ``key``: signs sessions and links."""
    site = Site(settings, Doorkeeper(settings, key))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tending = asyncio.create_task(site.tend())
        try:
            yield
        finally:
            tending.cancel()

    async def missing(_request: Request, _error: Exception) -> Response:
        raise not_found()

    async def wrong_method(_request: Request, _error: Exception) -> Response:
        raise Refused(405, "this address does not take this method", "see /api/v1/openapi.json")

    app = Starlette(
        routes=routes(site, endpoints()),
        lifespan=lifespan,
        exception_handlers={404: missing, 405: wrong_method},
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return Guard(app, settings)
