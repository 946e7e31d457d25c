"""Render the overview: one HTML file with all pages of a job, which needs no server.

Pure: a dict in, the text of the file out; ``coordinator/overviewdata.py`` collects the data. The assets
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
from importlib.resources import files
from typing import Any

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters in file names or diagnostics that could end the element with the data."""

_PLACEHOLDER = re.compile("@(?:POLICY|TITLE|STYLE|BESIDE|SCRIPT|DATA)@")
"""Replaced in one pass, so that a placeholder in a job's name or in the data stays as it is."""


_BESIDE, _EMBEDDED = "'self' file:", "data:"
"""Where images may come from (Content-Security-Policy, img-src)."""

_WHERE_FILES_ARE = "The page files are in the folder <code>pages</code> beside it;"


def render(sheet: Mapping[str, Any]) -> str:
    """Return the HTML document for a sheet: a dict with these keys.

    ``job``, ``state``, ``reason``, ``document`` (name, pages, bytes), ``settings``, ``output``,
    ``created``, ``updated`` (ISO 8601), ``seconds``, ``runs``, ``notes``, ``counts`` (total, done,
    suspect, failed, missing); ``viewable``: browsers can show the page files;
    ``pages``: page, state, file, thumb (relative paths or None), size (the thumbnail's pixels), width,
    height, bytes, host, seconds, attempts, diagnostics, reason, history;
    ``hosts``: name, state, word (the state in words), reason, pages, failures, seconds, median, cores;
    ``timeline``: host, page, from, to (seconds of the runs, as ``seconds`` counts them), ok.
    ``seconds``: how long runs worked on the job (views/runtimes.py).

    With ``images`` (PNG or JPEG in base64 by page number) the file contains its thumbnails and refers to
    no other file: ``file`` of a page is a mere name then.
    """
    style, script = _asset("sheet.css"), _asset("sheet.js")
    data = json.dumps(sheet, separators=(",", ":"), ensure_ascii=False)
    for char, escape in _UNSAFE.items():
        data = data.replace(char, escape)
    is_alone = "images" in sheet
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        f" img-src {_EMBEDDED if is_alone else _BESIDE};"
        f" style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    parts = {
        "@POLICY@": policy,
        "@TITLE@": html.escape(f"{sheet['job']}: {sheet['state']}"),
        "@STYLE@": style,
        "@BESIDE@": "" if is_alone else _WHERE_FILES_ARE,
        "@SCRIPT@": script,
        "@DATA@": data,
    }
    return _PLACEHOLDER.sub(lambda found: parts[found[0]], _asset("sheet.html"))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
