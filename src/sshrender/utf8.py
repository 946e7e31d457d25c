"""Makes text writable: command lines, file names and JSON may contain text that is not UTF-8."""

from __future__ import annotations


def writable(text: str) -> str:
    """Replace each half of a surrogate pair by a question mark (PEP 383, RFC 8259)."""
    return text.encode("utf-8", "replace").decode()
