"""The overview: all pages of a job on one HTML sheet, opened from its folder without a server.

Pure: what the sheet shows goes in, the text of one file comes out. ``coordinator/overview.py`` says
where the data comes from. The assets beside this module are inlined, the data travels as JSON in a
script element that no browser runs, and a content security policy names the digests of what may run.
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
"""What could end the element that holds the data, in a file's name or in what Ghostscript said."""

_MARK = re.compile("@(?:POLICY|TITLE|STYLE|SCRIPT|DATA)@")
"""Filled in one pass: a mark that stands in a job's name or in the data is no mark."""


def render(sheet: Mapping[str, Any]) -> str:
    """The HTML document for a sheet: a dict with these keys.

    ``job``, ``state``, ``reason``, ``document`` (name, pages, bytes), ``settings``, ``output``,
    ``created``, ``updated`` (ISO 8601), ``seconds``, ``runs``, ``notes``, ``counts`` (total, done,
    suspect, failed, missing); ``viewable``: browsers show the page files themselves;
    ``pages``: page, state, file, thumb (relative paths or None), size (the thumbnail's pixels), width,
    height, bytes, host, seconds, attempts, said, reason, story;
    ``hosts``: name, state, reason, pages, failures, seconds, median, cores;
    ``timeline``: host, page, from, to (seconds since the first run began), ok.
    """
    style, script = _asset("sheet.css"), _asset("sheet.js")
    data = json.dumps(sheet, separators=(",", ":"), ensure_ascii=False)
    for char, escape in _UNSAFE.items():
        data = data.replace(char, escape)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:;"
        f" style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    )
    parts = {
        "@POLICY@": policy,
        "@TITLE@": html.escape(f"{sheet['job']}: {sheet['state']}"),
        "@STYLE@": style,
        "@SCRIPT@": script,
        "@DATA@": data,
    }
    return _MARK.sub(lambda mark: parts[mark[0]], _asset("sheet.html"))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
