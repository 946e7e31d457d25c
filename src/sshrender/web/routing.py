"""Declares endpoints: the routes and the OpenAPI document are both made of these declarations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sshrender.api.jobs import acting_as
from sshrender.web.refusals import Refused
from sshrender.web.roles import Person, Role
from sshrender.web.site import Site

NAME = "[^/]{1,250}"


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its user and its server."""

    request: Request
    site: Site
    person: Person

    @property
    def asker(self) -> str:
        """Whose questions this one counts to: the user's, or the network's of one without a name."""
        if self.person.name:
            return self.person.by
        return f"{self.person.by} {self.site.authenticator.address(self.request)}"

    def word(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def number(self, name: str) -> int:
        """Return a number of the path. Raises Refused (404)."""
        return number_of(self.word(name), 404)


def number_of(text: str, status: int = 400) -> int:
    """Return a number that a request names. Raises Refused."""
    # isdigit() is true for "²", too, which int() refuses.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refused(status, f"{text[:40]} is not a number", "use a number, as in 7")
    return int(text)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. ``needs``: the least role; None: anyone, also without a name.

    ``body`` and ``answers`` are for the OpenAPI document: JSON Schemas, and words by status.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    needs: Role | None = Role.VIEWER
    body: Mapping[str, Any] | None = None
    answers: Mapping[int, str] | None = None


class Endpoints:
    """A list of endpoints that functions are added to, as a decorator."""

    def __init__(self) -> None:
        self.all: list[Endpoint] = []

    def add(self, method: str, path: str, summary: str, **rest: Any) -> Callable[[Handler], Handler]:
        """Declare the decorated function as the handler of a method and path."""

        def declare(handler: Handler) -> Handler:
            self.all.append(Endpoint(method, path, summary, handler, **rest))
            return handler

        return declare


def routes(site: Site, endpoints: Iterable[Endpoint]) -> list[Route]:
    """Return the routes of Starlette; each handler is called with a user who may ask."""
    found: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.path, []).append(endpoint)
    return [_route(site, path, some) for path, some in found.items()]


def _route(site: Site, path: str, endpoints: list[Endpoint]) -> Route:
    by_method = {endpoint.method: endpoint for endpoint in endpoints}

    async def handle(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = by_method.get(method)
        if endpoint is None:
            allowed = {"Allow": ", ".join(sorted(by_method))}
            raise Refused(
                405, "this address does not take this method", "see /api/v1/openapi.json", allowed
            )
        person = await person_of(site, request)
        if endpoint.needs is not None and person is None:
            raise Refused(401, "no user is logged in", _way_in(site), _challenge(site, request))
        if endpoint.needs is not None and person is not None and person.role < endpoint.needs:
            raise Refused(403, "your role does not allow this", "ask an operator")
        someone = person or Person("", Role.VIEWER)
        with acting_as(someone.by):
            response = await endpoint.handler(Call(request, site, someone))
        site.counts[f"{endpoint.method} {response.status_code}"] += 1
        return response

    route = Route(path, handle)
    route.methods = None  # the handler answers other methods itself, as JSON
    return route


def _way_in(site: Site) -> str:
    words = {
        "link": "open the one-time link that sshrender serve prints",
        "htpasswd": "log in; programs send Authorization: Basic",
        "proxy": "log in to the proxy in front of this server",
    }
    return words[site.settings.auth.value]


def _challenge(site: Site, request: Request) -> dict[str, str]:
    # Browsers would ask for a password in a window of their own, where the page has a form.
    is_program = "authorization" in request.headers or "sec-fetch-site" not in request.headers
    is_basic = site.settings.auth.value == "htpasswd" and is_program
    return {"WWW-Authenticate": 'Basic realm="sshrender", charset="UTF-8"'} if is_basic else {}


async def person_of(site: Site, request: Request) -> Person | None:
    """Return the user of a request; None if unknown. Raises Refused for a wrong password."""
    authenticator = site.authenticator
    given = authenticator.basic(request)
    if given is None:
        if authenticator.reads_users(request):
            return await site.users.run(authenticator.person, request)
        return authenticator.person(request)
    return (
        Person(given[0], authenticator.role(given[0])) if await log_in(site, request, *given) else None
    )


async def person_now(call: Call, password: str | None) -> Person | None:
    """Return the user of a long request, with the links that are valid still. Raises Refused.

    None if the user is not logged in any more. ``password``: the result of the authenticator's
    ``of_password`` when the request began.
    """
    site, request = call.site, call.request
    if site.authenticator.basic(request) is None:
        person = await person_of(site, request)
        return person if person is not None and person.name == call.person.name else None
    # The password itself is not compared again, which takes a second.
    found = await site.users.run(site.authenticator.of_password, call.person.name)
    return call.person if found == password else None


async def log_in(site: Site, request: Request, name: str, password: str) -> bool:
    """Compare a password. Raises Refused (429) after too many failures of this address."""
    address = site.authenticator.address(request)
    site.authenticator.attempts.require_few(address)
    # One after the other: a program with many requests at a time keeps no other user out.
    with site.logins_of(f"{name[:64]} {address}") as compare:
        is_right = await compare(site.authenticator.is_password, name, password)
    # Again: of many attempts at the same moment all were allowed, and only a few may learn the answer.
    site.authenticator.attempts.require_few(address)
    if not is_right:
        site.authenticator.attempts.note(address)
    return is_right
