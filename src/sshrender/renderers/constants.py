"""Constants that all renderers share.

Imported on the hosts: standard library only, Python 3.7 and later.
"""

from __future__ import annotations

FILE_TO_MEMORY = 4
"""Limit on the size of a page's file, as a multiple of the memory that its renderer may use: a single
page must not fill the shared folder."""

NO_SANDBOX, BWRAP = "none", "bwrap"
"""The settings of ``sandbox``: none, and bubblewrap (runner/host/sandbox.py)."""
