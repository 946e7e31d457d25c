"""``--pin PAGES=NODESET``: pages that only some hosts may draw."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sshrender.config.inventory import node_names
from sshrender.config.validation import invalid


@dataclass(frozen=True, slots=True)
class Pin:
    """A page list, and the hosts that may draw its pages."""

    pages: str
    hosts: frozenset[str]


def parse(text: str) -> Pin:
    """``1-3,7=node[01-04]``. Raises ValueError."""
    from sshrender.document import pagelist
    from sshrender.errors import UserError

    pages, sign, hosts = text.partition("=")
    if not sign or not pages.strip() or not hosts.strip():
        raise ValueError("a pin is written as 7=node3 or 1-3,9=node[01-04]")
    try:
        pagelist.check(pages)
    except UserError as error:
        raise ValueError(error.what) from None
    return Pin(pages.strip(), frozenset(node_names(hosts.strip())))


def check(pins: Iterable[Pin], known: Collection[str]) -> tuple[Pin, ...]:
    """The pins, if this run has all their hosts. Raises UserError."""
    found = tuple(pins)
    for pin in found:
        strange = sorted(pin.hosts - set(known))
        if strange:
            what = f"--pin {pin.pages}: {', '.join(strange)} is none of the hosts of this run"
            raise invalid([what])
    return found
