"""Requests that are refused: the status, what is wrong and what to do, as JSON or as a page."""

from __future__ import annotations

import errno
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sshrender.api.web.uploaderrors import UploadError
from sshrender.api.web.webjobs import LockedDocument
from sshrender.errors import ExitCode, UserError
from sshrender.web import html

_UPLOAD_STATUS = {
    "gone": 404,
    "missing": 409,
    "form": 400,
    "quota": 429,
    "space": 507,
    "size": 413,
    "digest": 422,
    "document": 415,
}

_EXIT_STATUS = {
    ExitCode.USAGE: 400,
    ExitCode.DOCUMENT: 422,
    ExitCode.STORAGE: 503,
    ExitCode.LEASE: 409,
    ExitCode.NO_HOST: 503,
}


_WAIT = "try again in a moment; if it happens again, ask the administrator"


class Refused(Exception):
    """A request that is refused. ``headers``: further ones; ``more``: further fields of the JSON."""

    def __init__(
        self,
        status: int,
        what: str,
        advice: str,
        headers: dict[str, str] | None = None,
        more: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.advice = advice
        self.headers = headers or {}
        self.more = more or {}

    def hide(self, folder: str) -> None:
        """Leave out where the shared folder is: no web user needs to know."""
        self.what = self.what.replace(folder, "the shared folder")
        self.advice = self.advice.replace(folder, "the shared folder")


def busy() -> Refused:
    """Return the refusal while the shared folder does not answer."""
    return Refused(
        503, "the shared folder does not answer", "try again in a moment", {"Retry-After": "5"}
    )


def not_found(what: str = "there is no such page") -> Refused:
    """Return the refusal of an address that leads nowhere, or to another user's job."""
    return Refused(404, what, "go back to the list of jobs")


def no_passwords() -> Refused:
    """Return the refusal of a password by a server that could not use it."""
    return Refused(
        409,
        "this server accepts no passwords: it does not render jobs itself, and a password is never"
        " stored in the shared folder",
        "save the document without protection, or ask for a server with --coordinate",
    )


def of(error: Exception) -> Refused:
    """Return the refusal for an error of the api."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, UploadError):
        missing = {"missing": list(error.parts)} if error.parts else {}
        return Refused(_UPLOAD_STATUS.get(error.kind, 400), error.what, error.hint, None, missing)
    if isinstance(error, LockedDocument):
        more = {"password": "wrong" if error.is_wrong else "needed"}
        return Refused(422, error.what, error.hint, None, more)
    if isinstance(error, UserError):
        status = _EXIT_STATUS.get(error.code, 500)
        # Hints of the api are commands for a person at a terminal.
        advice = _WAIT if error.code == ExitCode.STORAGE else error.hint
        return Refused(status, error.what, advice, {"Retry-After": "5"} if status == 503 else None)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Refused(507, "the shared folder is full", "try again later, or ask the administrator")
    if isinstance(error, OSError):
        return Refused(
            503,
            f"the shared folder: {error.strerror or error}",
            "try again in a moment",
            {"Retry-After": "5"},
        )
    return Refused(500, "an error of the server; its log has the details", "try again in a moment")


def answer(request: Request, refused: Refused) -> Response:
    """Return the answer to a refused request: a page for browsers that open one, else JSON."""
    # A name that came as JSON may have half of a surrogate pair, which no answer can carry.
    refused.what = refused.what.encode("utf-8", "replace").decode()
    if wants_page(request):
        root = html.root_of(request.url.path)
        page = html.message_page(root, refused.status, refused.what, refused.advice)
        return html.response(page, refused.status, refused.headers)
    body: dict[str, Any] = {"error": refused.what, "hint": refused.advice, **refused.more}
    return JSONResponse(body, refused.status, refused.headers)


def wants_page(request: Request) -> bool:
    """Return whether the request is one of a person who opens a page in a browser."""
    path = request.url.path
    return (
        request.method in ("GET", "HEAD")
        and "/api/" not in path
        and "text/html" in request.headers.get("accept", "")
    )
