"""Check mail addresses when the user gives them: at the end of a job it would be too late."""

from __future__ import annotations

import functools
import re

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
"""dot-atom (RFC 5322, 3.2.3). A name without a domain is a user of this machine."""

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
"""A label of a domain. "_" is allowed: private names may contain it (RFC 2181, section 11)."""

_DOMAIN = rf"({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f.:]+\]|\[IPv6:[0-9A-Fa-f.:]+\])"


@functools.cache
def _address() -> re.Pattern[str]:
    # Not at import: it takes 3 ms, and few commands have an address to check.
    return re.compile(rf"{_LOCAL}(@{_DOMAIN})?")


MAX_LENGTH = 900
"""A line of a message has at most 998 characters (RFC 5322, 2.1.1)."""


def are_addresses(text: object) -> bool:
    """Return whether ``text`` is one address, or several with commas between them."""
    return isinstance(text, str) and in_ascii(text) is not None


def in_ascii(text: str) -> str | None:
    """Return the addresses as a message needs them, domains by IDNA; None if one is not an address."""
    if len(text) > MAX_LENGTH:
        return None
    # Spaces only: a line break in an address would begin another header of a message.
    words = [_in_ascii(word.strip(" ")) for word in text.split(",")]
    joined = ", ".join(words)
    # The length is that of the whole field, after IDNA has made names longer.
    is_good = all(_address().fullmatch(word) for word in words) and len(joined) <= MAX_LENGTH
    return joined if is_good else None


def _in_ascii(address: str) -> str:
    """Return the address with its domain by IDNA; unchanged if that is impossible."""
    local, at, domain = address.rpartition("@")
    # Also an address without a domain, which is a user of this machine.
    if domain.isascii():
        return address
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        # It fails the test of the form then, which names it as the user wrote it.
        return address
