"""The application: all endpoints behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse, Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from sshrender.web.authentication import Authenticator
from sshrender.web.fileroutes import FILES
from sshrender.web.guard import Guard
from sshrender.web.htmlroutes import PAGES
from sshrender.web.jobroutes import JOBS
from sshrender.web.refusals import not_found
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


def make_app(settings: ServeSettings, key: bytes) -> Guard:
    """Return the application. ``key``: signs sessions and links."""
    site = Site(settings, Authenticator(settings, key))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Router) -> AsyncIterator[None]:
        tending = asyncio.create_task(site.tend())
        try:
            yield
        finally:
            tending.cancel()

    async def missing(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise not_found()

    # Not a Starlette(): its outermost layer would answer every refusal with 500 before the guard can.
    router = Router(
        routes(site, endpoints()), redirect_slashes=False, default=missing, lifespan=lifespan
    )
    return Guard(router, settings, site.close)
