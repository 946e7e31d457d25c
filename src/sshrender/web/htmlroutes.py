"""Endpoints that answer with HTML: the list with uploads, a job, hosts, and the ways in and out."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sshrender.api.web import webaccess
from sshrender.api.web.compressedblocks import Block
from sshrender.api.web.jobfeed import JobFeed
from sshrender.api.web.uploads import DEFAULT_PART, MIN_PART
from sshrender.api.web.webjobs import DEVICES, LOWEST_PRIORITY, MAX_DPI, MIN_DPI
from sshrender.views import overview
from sshrender.web import bodies, html
from sshrender.web.authentication import LOCAL_USER, SESSION, SHARED, is_name
from sshrender.web.html import Shell, escape
from sshrender.web.jobwatchers import StillReading
from sshrender.web.refusals import Refused, not_found
from sshrender.web.roles import Role
from sshrender.web.routing import Call, Endpoints, log_in
from sshrender.web.settings import Auth

PAGES = Endpoints()

MAX_LOGINS = 50
"""Forms of logins that arrive at the same time. Each is there in a moment."""

_LOGINS = "logins"


def _shell(call: Call, current: str = "") -> Shell:
    return Shell(html.root_of(call.request.url.path), call.person, call.site.settings.auth, current)


def _log_in_first(call: Call) -> Response | None:
    """Return the answer to a browser without a session, or None."""
    if call.person.name or call.person.shared:
        return None
    if (early := _lead_on(call.request)) is not None:
        return early
    root = html.root_of(call.request.url.path)
    return html.response(_login_page(call, root, _path_of(call.request)), 401)


def _lead_on(request: Request) -> Response | None:
    """Return a page that opens the same address again, if the browser has kept its cookies back.

    It keeps Strict ones back when another site's page leads here, as that of a mail.
    """
    has_cookie = SESSION in request.cookies or SHARED in request.cookies
    if request.headers.get("sec-fetch-site") != "cross-site" or has_cookie:
        return None
    return html.response(html.bounce_page(html.root_of(request.url.path), _here(request)))


def _here(request: Request) -> str:
    """Return the address of this request, relative to it. It leads nowhere else.

    Without the quotes, a last part such as ``https:site`` would be an address of its own.
    """
    query = f"?{request.url.query}" if request.url.query else ""
    return "./" + quote(request.scope["path"].rpartition("/")[2], safe="") + query


def _path_of(request: Request) -> str:
    return request.url.path.lstrip("/")


def _login_page(call: Call, root: str, target: str, problem: str = "", name: str = "") -> html.Page:
    auth = call.site.settings.auth
    shell = Shell(root, None, auth)
    if auth is not Auth.HTPASSWD:
        words = {
            Auth.LINK: "Open the link that <code>sshrender serve</code> printed when it started. It"
            " works once, and this browser is remembered then. For a new link, start the server again.",
            Auth.PROXY: "You are not logged in to the server in front of this page."
            " Reload the page to log in there.",
        }[auth]
        body = f'<section class="card narrow"><h1>Please log in</h1><p>{words}</p></section>'
        return html.page("Log in – sshrender", body, shell)
    message = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    body = (
        f'<section class="card narrow"><h1>Log in</h1>{message}'
        f'<form method="post" action="{escape(root)}login" class="fields">'
        f'<input type="hidden" name="next" value="{escape(target)}">'
        '<label>Name <input name="name" autocomplete="username" required maxlength="64"'
        f' value="{escape(name)}"></label><label>Password <input name="password" type="password"'
        ' autocomplete="current-password" required maxlength="72"></label>'
        '<button class="main">Log in</button></form></section>'
    )
    return html.page("Log in – sshrender", body, shell)


@PAGES.add("GET", "/login", "The page to log in", needs=None)
async def login(call: Call) -> Response:
    """Show the page to log in."""
    return html.response(_login_page(call, html.root_of("/login"), ""))


@PAGES.add("POST", "/login", "Log in", needs=None)
async def do_login(call: Call) -> Response:
    """Begin a session, if the password is right."""
    if call.site.settings.auth is not Auth.HTPASSWD:
        raise not_found()
    fields = await _login_form(call)
    name, target = fields.get("name", "")[:64], fields.get("next", "")
    if name and not is_name(name):  # no session has such a name: the form would come again and again
        problem = "A name has letters, digits and the signs . _ - + @ only; ask the administrator."
        return html.response(_login_page(call, html.root_of("/login"), target, problem, name), 401)
    if not await log_in(call.site, call.request, name, fields.get("password", "")):
        problem = "The name or the password is wrong."
        return html.response(_login_page(call, html.root_of("/login"), target, problem, name), 401)
    answer = RedirectResponse(f"./{_safe(target)}", 303)
    call.site.authenticator.begin_session(call.request, answer, name)
    return answer


async def _login_form(call: Call) -> dict[str, str]:
    """Return the form of a person whom the server does not know yet. Raises Refused."""
    site = call.site
    if site.bodies[_LOGINS] >= MAX_LOGINS:
        raise Refused(503, "too many people log in at this moment", "try again", {"Retry-After": "5"})
    site.bodies[_LOGINS] += 1
    try:
        async with asyncio.timeout(site.settings.limits.headers):
            return await bodies.read_form(call.request, site.settings.limits)
    except TimeoutError:
        raise Refused(
            408, "the body arrives too slowly", "send it again", {"Connection": "close"}
        ) from None
    finally:
        site.bodies[_LOGINS] -= 1


def _safe(target: str) -> str:
    """Return a path below this site; empty for anything that could lead elsewhere."""
    is_plain = not any(char in target for char in "\\:?#%\r\n") and ".." not in target
    return quote(target, safe="/") if is_plain and not target.startswith("/") else ""


@PAGES.add("POST", "/logout", "Log out", needs=None)
async def logout(call: Call) -> Response:
    """Remove the cookies of the session."""
    answer = RedirectResponse("./login", 303)
    call.site.authenticator.end_session(answer)
    return answer


@PAGES.add("GET", "/enter/{token}", "Come in by the one-time link", needs=None)
async def enter(call: Call) -> Response:
    """Begin a session for the person who opens the link first."""
    headers = call.request.headers
    # A browser may fetch a link in advance; that must not use the link up.
    is_early = "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")).lower()
    if call.site.settings.auth is not Auth.LINK or call.request.method == "HEAD" or is_early:
        raise not_found()
    root = html.root_of(call.request.url.path)
    if not await call.site.pool.run(webaccess.spend_link, call.site.san, call.word("token")):
        if call.person.name:  # the same browser opens it again
            return RedirectResponse(root, 303)
        raise Refused(
            403, "this link was used before, or has expired", "start sshrender serve again for a new one"
        )
    answer = html.response(html.bounce_page(root, root))
    call.site.authenticator.begin_session(call.request, answer, LOCAL_USER)
    return answer


@PAGES.add("GET", "/link/{token}", "Open a job by the link of a colleague", needs=None)
async def open_link(call: Call) -> Response:
    """Let this browser see one job."""
    # The cookie of earlier links is needed, too: without it, this one would take its place.
    if (early := _lead_on(call.request)) is not None:
        return early
    found = call.site.authenticator.read("link", call.word("token"))
    root = html.root_of(call.request.url.path)
    if found is None:
        raise Refused(403, "this link has expired, or is not complete", "ask for a new one")
    job = str(found.get("job", ""))
    answer = html.response(html.bounce_page(root, f"{root}jobs/{quote(job, safe='')}/"))
    call.site.authenticator.share(call.request, answer, found)
    return answer


@PAGES.add("GET", "/", "The jobs, and uploads", needs=None)
async def home(call: Call) -> Response:
    """Show the list of jobs, and where to drop documents."""
    early = _log_in_first(call)
    if early is not None:
        return early
    settings = call.site.settings
    can_upload = call.person.role >= Role.SUBMITTER and bool(call.person.name)
    body = html.asset("home.html" if can_upload else "viewer.html")
    options = "".join(
        f'<option value="{key}">{escape(words)}</option>' for key, words in DEVICES.items()
    )
    for key, value in {
        "@DEVICES@": options,
        "@MIN_DPI@": str(MIN_DPI),
        "@MAX_DPI@": str(MAX_DPI),
        "@LOWEST@": str(LOWEST_PRIORITY),
        "@LIMIT@": f"{settings.quota.document / 2**30:,.0f} GiB",
    }.items():
        body = body.replace(key, value)
    data = {
        "part": DEFAULT_PART,
        "least": MIN_PART,
        "limit": settings.quota.document,
        "user": call.person.name,
        "all": call.person.role is Role.OPERATOR,
    }
    return html.response(
        html.page("Jobs – sshrender", body, _shell(call, "jobs"), script="home.js", data=data)
    )


@PAGES.add("GET", "/jobs/{name}", "A job", needs=None)
async def job_without_slash(call: Call) -> Response:
    """Lead to the page of the job, whose files are below it."""
    return RedirectResponse(f"{quote(call.word('name'), safe='')}/", 308)


@PAGES.add("GET", "/jobs/{name}/", "A job, live, with all of its pages", needs=None)
async def job(call: Call) -> Response:
    """Show a job."""
    early = _log_in_first(call)
    if early is not None:
        return early
    site, name = call.site, call.word("name")
    try:
        watched = await site.watched(name, call.person, site.settings.limits.page)
    except StillReading as error:
        root = html.root_of(call.request.url.path)
        return html.response(html.waiting_page(root, name, error.part, _shell(call)), 202)
    sheet = await watched.sheet()
    feed = watched.feed
    live = {
        "own": call.person.may_change(feed.owner),
        "owner": feed.owner,
        "assembled": feed.assembled is not None,
        "status": {**feed.status(), **watched.in_queue()},
        "untaken": site.is_untaken,
        "locked": _is_locked(call, feed),
    }
    served = overview.Served(
        root=html.root_of(call.request.url.path),
        top=html.top(_shell(call)),
        live=html.asset("job.html"),
        style=html.asset("web.css"),
        script=html.asset("common.js") + html.asset("job.js"),
        data=live,
        icon=html.ICON,
    )
    title = {"job": feed.name, "state": feed.report.state}
    before, after, policy = overview.served_around(title, served)
    blocks = [Block(before.encode()), sheet, Block(after.encode())]
    headers = {"Content-Security-Policy": policy}
    return await site.long.run(html.large_response, call.request, blocks, "text/html", headers)


def _is_locked(call: Call, feed: JobFeed) -> bool:
    """Return whether the document needs a password that this server could use, and does not have."""
    known = call.site.settings.passwords
    return feed.spec.document.needs_password and known is not None and known.of(feed.name) is None


@PAGES.add("GET", "/hosts", "The hosts, for operators", needs=None)
async def hosts(call: Call) -> Response:
    """Show the hosts."""
    early = _log_in_first(call)
    if early is not None:
        return early
    if call.person.role < Role.OPERATOR:
        raise Refused(403, "only operators see the hosts", "ask an operator")
    return html.response(
        html.page(
            "Hosts – sshrender", html.asset("hosts.html"), _shell(call, "hosts"), script="hosts.js"
        )
    )
