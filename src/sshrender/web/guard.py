"""Checks every request: host names, the base path, other sites; sets the headers of every answer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sshrender.web import refusals
from sshrender.web.refusals import Refused
from sshrender.web.settings import ServeSettings

LOG = logging.getLogger("sshrender.web")

_ABSOLUTE = re.compile(r"https?://([^/]+)", re.IGNORECASE)
_SAFE = ("GET", "HEAD", "OPTIONS")
_OF_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""Content types that a form of another site can send without a preflight (HTML, form submission)."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers then send "Origin: null" with forms of this site (Fetch, 3.2).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set them itself."""


class Guard:
    """Wraps the application. Every refusal and every unexpected error gets an answer here."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, close: Callable[[], None]) -> None:
        """``close`` ends what would keep the server from ending."""
        self._app = app
        self._settings = settings
        self.close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        try:
            early = self._check(scope, request)
            await (early or self._app)(scope, receive, with_headers)
        except Exception as error:
            refused = refusals.of(error)
            # Errors of the api name files, for users at a terminal.
            refused.hide(str(self._settings.san))
            if refused.status == 500:
                LOG.exception("%s %s failed", request.method, request.url.path)
            if has_started and refused.status == 500:
                raise  # nothing can be taken back: the connection ends, and the client notices
            if has_started:
                # As when a job is deleted during its download: the server ends the connection itself.
                LOG.warning("%s %s ended early: %s", request.method, request.url.path, refused.what)
                return
            await refusals.answer(request, refused)(scope, receive, with_headers)

    def _check(self, scope: Scope, request: Request) -> Response | None:
        """Take the base path off. Return an answer that ends the request; raise Refused."""
        headers = Headers(scope=scope)
        host = _take_authority(scope) or headers.get("host", "")
        if not self._settings.allows_host(host):
            raise Refused(
                400,
                "this server does not have the name that was used",
                "the administrator adds it: sshrender serve --host NAME",
            )
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may believe the one and this server the other (RFC 9112, 6.3).
            raise Refused(
                400, "the body has two lengths", "send Content-Length alone", {"Connection": "close"}
            )
        base = self._settings.base_path
        path = scope["path"]
        if base and path == base:
            return RedirectResponse(base.rpartition("/")[2] + "/", 308)
        # A proxy may keep the path or take it off: both are usual.
        if base and path.startswith(f"{base}/"):
            scope["path"] = path[len(base) :]
            scope.pop("raw_path", None)
            request.__dict__.pop("_url", None)
        if request.method not in _SAFE:
            _require_same_site(headers)
        return None


def _take_authority(scope: Scope) -> str:
    """Take scheme and name off a target like ``http://render.example/hosts``; return the name.

    Every server takes that form, and the name counts in place of Host (RFC 9112, 3.2.2).
    """
    found = _ABSOLUTE.match(scope["path"])
    if found is None:
        return ""
    scope["path"] = scope["path"][found.end() :] or "/"
    scope.pop("raw_path", None)
    return found[1]


def _require_same_site(headers: Headers) -> None:
    """Raise Refused for a request that another site's page may have caused.

    Browsers send Sec-Fetch-Site to https and loopback, and Origin with every request but GET. Without
    both it is a program, unless it looks like a form.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_ours = site == "same-origin"
    elif origin is not None:
        is_ours = urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    else:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_ours = "authorization" in headers or kind not in _OF_FORMS
    if not is_ours:
        raise Refused(
            403,
            "the request comes from another site",
            "open this server's own page; programs send Content-Type: application/json and no Origin",
        )
