"""What a mail address may be, checked when it is named: at the end of a job it is too late for that."""

from __future__ import annotations

import re

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
"""dot-atom (RFC 5322, 3.2.3). A name alone is a user of this machine."""

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f.:]+\]|\[IPv6:[0-9A-Fa-f.:]+\])"
_ADDRESS = re.compile(rf"{_LOCAL}(@{_DOMAIN})?")

MAX_LENGTH = 900
"""A line of a message has at most 998 characters (RFC 5322, 2.1.1)."""


def are_addresses(text: object) -> bool:
    """Whether ``text`` is one address or several with commas between."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        return False
    return all(_ADDRESS.fullmatch(word.strip(" ")) for word in text.split(","))
