"""Render the overview: one HTML file with all pages of a job, which needs no server.

Pure: a dict in, the text of the file out; ``coordinator/overviewwriter.py`` collects it. The assets
beside this module are inlined. The data is JSON in a script element that browsers do not run, and a
content security policy names the digests of the only style and script that they may use.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# U+2028 and U+2029 end a line in JavaScript before ECMAScript 2019.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters in file names or diagnostics that could end the element with the data."""

_PLACEHOLDER = re.compile("@(?:HEAD|TITLE|STYLE|BODY|TOP|LIVE|ALLOW|SCRIPT|DATA|MORE)@")
"""Replaced in one pass, so that a placeholder in a job's name or in the data stays as it is."""


_BESIDE, _EMBEDDED = "'self' file:", "data:"
"""Allowed sources of images (Content-Security-Policy, img-src)."""

_PIECE = 1000
"""Items of a list that are encoded at a time."""

_ALLOW_FILE = "Allow it for this file, then reload it."
_STATUS_SHOWS = "<code>sshrender status</code> shows the state of the job."
_WHERE_FILES_ARE = "The page files are in the folder <code>pages</code> beside it;"
_ALLOW_SITE = "Allow it for this site, then reload the page."
"""What to do if JavaScript is turned off."""


def render(sheet: Mapping[str, Any]) -> str:
    """Return the HTML document for a sheet: a dict with these keys.

    ``job``, ``state``, ``reason``, ``document`` (name, pages, bytes), ``settings``, ``output``,
    ``created``, ``updated`` (ISO 8601), ``seconds``, ``runs``, ``notes``, ``counts`` (total, done,
    suspect, failed, missing); ``viewable``: browsers can show the page files;
    ``pages``: page, state, file, thumb (relative paths or None), size (the thumbnail's pixels), width,
    height, bytes, host, seconds, attempts, diagnostics, reason, history;
    ``hosts``: name, state, word (the state in words), reason, pages, failures, seconds, median, cores;
    ``timeline``: host, page, from, to (seconds of the runs, as ``seconds`` counts them), ok.
    ``seconds``: how long runs worked on the job (views/jobduration.py).

    With ``images`` (PNG or JPEG in base64 by page number) the file contains its thumbnails and refers to
    no other file: ``file`` of a page is a mere name then.
    """
    # Read once; their digests are part of the policy.
    style, script = _asset("sheet.css"), _asset("sheet.js")
    # With images the file refers to no other file, so the policy allows none.
    is_alone = "images" in sheet
    # default-src 'none': whatever is not named is refused (Content Security Policy Level 3).
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        f" img-src {_EMBEDDED if is_alone else _BESIDE};"
        f" style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    parts = {
        "@HEAD@": f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        # The digest covers the text between the tags, so the text goes in unchanged.
        "@STYLE@": style,
        "@ALLOW@": f"{_ALLOW_FILE} {'' if is_alone else _WHERE_FILES_ARE} {_STATUS_SHOWS}",
        "@SCRIPT@": script,
        "@DATA@": as_data(sheet),
    }
    return _filled(_asset("sheet.html"), sheet, parts)


@dataclass(frozen=True, slots=True)
class Served:
    """The parts that the web front end adds to its live overview of a job.

    ``root``: the relative address of its first page. ``top`` and ``live``: HTML above the overview and
    below its heading. ``style`` and ``script``: added to its own. ``data``: for the script.
    """

    root: str
    top: str
    live: str
    style: str
    script: str
    data: Mapping[str, Any]
    icon: str = ""


def served_around(sheet: Mapping[str, Any], served: Served) -> tuple[str, str, str]:
    """Return the HTML document that a server sends, without the sheet: what is before it, and behind.

    Also the policy for its header. ``sheet``: ``job`` and ``state`` are enough. The sheet itself goes
    between both as ``as_data`` makes it: that of a large job is kept, and made once for all users.
    """
    style, script = _asset("sheet.css") + served.style, _asset("sheet.js")
    policy = (
        # frame-ancestors works in a header only, and not in the element of a file.
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        f" img-src 'self' data:; connect-src 'self'; style-src '{_digest(style)}';"
        # Two digests: the script of the overview, and that of the web front end.
        f" script-src '{_digest(script)}' '{_digest(served.script)}'"
    )
    more = (
        '<div id="live" class="unseen" role="status" aria-live="polite"></div>\n'
        f'<script type="application/json" id="data">{as_data(served.data)}</script>\n'
        f'<script type="module">{served.script}</script>\n'
    )
    parts = {
        "@HEAD@": served.icon,
        "@STYLE@": style,
        "@BODY@": f' class="web" data-root="{html.escape(served.root)}"',
        "@TOP@": served.top,
        "@LIVE@": served.live,
        "@ALLOW@": _ALLOW_SITE,
        "@SCRIPT@": script,
        "@MORE@": more,
    }
    before, after = _asset("sheet.html").split("@DATA@")
    return _filled(before, sheet, parts), _filled(after, sheet, parts), policy


def _filled(template: str, sheet: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    # Escaped as HTML, because it stands in the title.
    values = {"@TITLE@": html.escape(f"{sheet['job']}: {sheet['state']}"), **parts}
    # One pass: what is put in is not searched again.
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], ""), template)


def style() -> str:
    """Return the styles of the overview, which other pages share."""
    return _asset("sheet.css")


def as_data(value: Mapping[str, Any]) -> str:
    """Return JSON for a script element that browsers do not run."""
    return "{" + ",".join(f"{_json(key)}:{_member(each)}" for key, each in value.items()) + "}"


def _member(value: Any) -> str:
    if not isinstance(value, list):
        return _json(value)
    # Piece by piece: the encoder lets no other thread work, and 100,000 pages take it a second.
    pieces = (value[at : at + _PIECE] for at in range(0, len(value), _PIECE))
    return "[" + ",".join(_json(piece)[1:-1] for piece in pieces) + "]"


def _json(value: Any) -> str:
    # UTF-8 as it is: names in other scripts would take six characters a letter.
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # The escapes are valid in JSON strings, and these characters occur only there.
    for char, escape in _UNSAFE.items():
        data = data.replace(char, escape)
    return data


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    # In base64, as the policy has it.
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
