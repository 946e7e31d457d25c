"""Why an upload fails, and what its sender can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sshrender.views.text import count

MAX_NAMED_PARTS = 1000
"""Missing parts that an answer names, at most: the next answer names further ones."""


class UploadError(Exception):
    """The failure of an upload. ``kind``: gone, missing, form, quota, space, size, digest, document.

    ``parts``: those that have to be sent, if that helps.
    """

    def __init__(self, kind: str, what: str, hint: str, parts: Sequence[int] = ()) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.hint = hint
        self.parts = parts


def parts_lacking(first: int, others: Iterable[int] = ()) -> UploadError:
    """Return the error for parts that are missing: ``first``, which cannot be opened, and others."""
    numbers = sorted({first, *others})
    words = f"part {numbers[0]} is missing"
    if len(numbers) > 1:
        words = f"part {numbers[0]} and {count(len(numbers) - 1, 'other')} are missing"
    hint = "send what is missing, then complete the upload"
    return UploadError("missing", words, hint, numbers[:MAX_NAMED_PARTS])
