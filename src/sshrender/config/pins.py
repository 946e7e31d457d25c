"""Parse ``--pin PAGES=NODESET``: pages that only some hosts may render."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sshrender.config.inventory import node_names
from sshrender.config.validation import invalid


@dataclass(frozen=True, slots=True)
class Pin:
    """A page list, and the hosts that may render its pages."""

    pages: str
    hosts: frozenset[str]


def parse(text: str) -> Pin:
    """Return the pin in a text such as ``1-3,7=node[01-04]``. Raises ValueError."""
    from sshrender.document import pagelist
    from sshrender.errors import UserError

    # The first "=": names of hosts hold none.
    pages, sign, hosts = text.partition("=")
    if not sign or not pages.strip() or not hosts.strip():
        raise ValueError("a pin is written as 7=node3 or 1-3,9=node[01-04]")
    try:
        pagelist.check(pages)
    except UserError as error:
        raise ValueError(error.what) from None
    return Pin(pages.strip(), frozenset(node_names(hosts.strip())))


def check(pins: Iterable[Pin], known: Collection[str]) -> tuple[Pin, ...]:
    """Return the pins if this run uses all their hosts. Raises UserError."""
    found = tuple(pins)
    for pin in found:
        # A pin to a host that is not in this run would leave its pages waiting for ever.
        unknown = sorted(pin.hosts - set(known))
        if unknown:
            what = f"--pin {pin.pages}: {', '.join(unknown)} is not among the hosts of this run"
            raise invalid([what], "sshrender hosts")
    return found
