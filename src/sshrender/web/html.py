"""Makes the pages: one HTML document each, with its styles, its scripts and a policy that names them.

Nothing is loaded from elsewhere, and no other script runs: the content security policy has the digests.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sshrender.api.web.compressedblocks import Block, gzipped
from sshrender.views import overview
from sshrender.web.roles import Person, Role
from sshrender.web.settings import Auth

escape = html.escape


@dataclass(frozen=True, slots=True)
class Page:
    """``text``: the document. ``policy``: its Content-Security-Policy."""

    text: str
    policy: str


@dataclass(frozen=True, slots=True)
class Shell:
    """The frame of every page. ``root``: the relative address of the first page."""

    root: str
    person: Person | None = None
    auth: Auth = Auth.LINK
    current: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def root_of(path: str) -> str:
    """Return the relative address of the first page, from a path below the base path."""
    return "../" * max(0, path.count("/") - 1) or "./"


def response(page: Page, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that shows a page."""
    return HTMLResponse(page.text, status, {**(headers or {}), "Content-Security-Policy": page.policy})


def large_response(
    request: Request, blocks: Sequence[Block], kind: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer of these parts, compressed if the client takes that. To be called in a thread."""
    sent = {**(headers or {}), "Vary": "Accept-Encoding"}
    words = request.headers.get("accept-encoding", "").lower().split(",")
    if not any(word.strip() in ("gzip", "x-gzip", "*") for word in words):
        return Response(b"".join(block.data for block in blocks), 200, sent, kind)
    return Response(gzipped(blocks), 200, {**sent, "Content-Encoding": "gzip"}, kind)


@cache
def asset(name: str) -> str:
    """Return a file of the package."""
    return files("sshrender.web").joinpath("assets", name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return a text's digest as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def policy_of(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return the policy of a page with these styles and scripts."""
    names = " ".join(f"'{digest(text)}'" for text in scripts) or "'none'"
    hashes = " ".join(f"'{digest(text)}'" for text in styles) or "'none'"
    return (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        f" img-src 'self' data:; connect-src 'self'; style-src {hashes}; script-src {names}"
    )


_NEEDS_SCRIPT = (
    '<noscript><p class="banner">This page needs JavaScript, which is turned off in your browser.'
    " Allow it for this site, then reload the page.</p></noscript>"
)


def page(
    title: str, body: str, shell: Shell, *, script: str = "", data: Mapping[str, Any] | None = None
) -> Page:
    """Return a page of the common form. ``script``: a file of assets, which follows the common one."""
    style = overview.style() + asset("web.css")
    scripts = [asset("common.js") + (asset(script) if script else "")]
    begin = '<main id="main" class="unscripted" tabindex="-1">'
    if script:
        begin = f'{_NEEDS_SCRIPT}<main id="main" tabindex="-1">'
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n{ICON}<style>{style}</style>\n</head>\n"
        f'<body class="web" data-root="{escape(shell.root)}">\n'
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"{top(shell)}{begin}\n{body}\n</main>\n"
        f'<div id="live" class="unseen" role="status" aria-live="polite"></div>\n'
        f'<script type="application/json" id="data">{overview.as_data(dict(data or {}))}</script>\n'
        f'<script type="module">{scripts[0]}</script>\n</body>\n</html>\n'
    )
    return Page(text, policy_of([style], scripts))


_ICON = (
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath fill='%232f6f4f' d='M3 1h7l3 3v11H3z'/%3E"
    "%3Cpath fill='%23fff' d='M5 6h6v1H5zm0 3h6v1H5zm0 3h4v1H5z'/%3E%3C/svg%3E"
)
ICON = f'<link rel="icon" href="data:image/svg+xml,{_ICON}">\n'


def top(shell: Shell) -> str:
    """Return the bar above every page."""
    links = ""
    if shell.person is not None and (shell.person.name or shell.person.shared):
        links = _link(shell, "", "Jobs", "jobs")
    if shell.person is not None and shell.person.role is Role.OPERATOR:
        links += _link(shell, "hosts", "Hosts", "hosts")
    who = ""
    if shell.person is not None and shell.person.name and shell.auth is not Auth.LINK:
        role, name = shell.person.role.name.lower(), escape(shell.person.name)
        who = f'<span class="who" title="{role}">{name}</span>'
        if shell.auth is Auth.HTPASSWD:
            action = f"{escape(shell.root)}logout"
            who += f'<form method="post" action="{action}"><button>Log out</button></form>'
    return (
        '<div class="top screen" role="region" aria-label="sshrender">'
        f'<a class="brand" href="{escape(shell.root)}">sshrender</a>'
        f'<nav aria-label="Site">{links}</nav><span class="right">{who}'
        '<button type="button" id="theme" hidden></button></span></div>\n'
    )


def _link(shell: Shell, path: str, words: str, name: str) -> str:
    current = ' aria-current="page"' if shell.current == name else ""
    return f'<a href="{escape(shell.root + path)}"{current}>{words}</a>'


_TITLES = {
    401: "Please log in",
    403: "Not allowed",
    404: "Not found",
    429: "Too many requests",
    503: "Not available",
}


def message_page(root: str, status: int, what: str, advice: str) -> Page:
    """Return the page of a refusal."""
    title = _TITLES.get(status, "This did not work")
    body = (
        f'<section class="card narrow"><h1>{title}</h1><p>{escape(_sentence(what))}</p>'
        f'<p class="quiet">{escape(_sentence(advice))}</p>'
        f'<p><a href="{escape(root)}">Back to the jobs</a></p></section>'
    )
    return page(f"{title} – sshrender", body, Shell(root))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def waiting_page(root: str, name: str, part: float, shell: Shell) -> Page:
    """Return a page that opens itself again in a moment. ``part``: of the work, from 0 to 1."""
    body = (
        f'<section class="card narrow"><h1>{escape(name)}</h1><p>The history of this job is being read.'
        " The page opens by itself.</p>"
        f'<progress max="1" value="{part:.2f}" aria-label="Read of the history"></progress>'
        f'<p><a href="{escape(root)}">Back to the jobs</a></p></section>'
    )
    return page(f"{name} – sshrender", body, shell, script="waiting.js")


def bounce_page(root: str, target: str) -> Page:
    """Return a page that leads on at once: the browser then sends cookies that it keeps to this site."""
    body = (
        f'<section class="card narrow"><h1>One moment</h1>'
        f'<p><a href="{escape(target)}">Continue</a></p></section>'
    )
    found = page("sshrender", body, Shell(root))
    refresh = f'<meta http-equiv="refresh" content="0;url={escape(target)}">\n<title>'
    return Page(found.text.replace("<title>", refresh, 1), found.policy)


def as_json(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"))
