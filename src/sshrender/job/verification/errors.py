"""Define how a verification fails."""

from __future__ import annotations


class VerificationFailed(Exception):
    """The file is not a whole image of the page; the text is the reason."""


class Unreadable(VerificationFailed):
    """The user who runs this may not read the file."""


def require(condition: bool, otherwise: str) -> None:
    """Raise VerificationFailed when a condition does not hold."""
    if not condition:
        raise VerificationFailed(otherwise)
