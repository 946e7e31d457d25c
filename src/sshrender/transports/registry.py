"""The transports by the table of the inventory that selects them, each with its own time-outs.

A new way to reach hosts is one module and one entry here. The modules are imported when the first host
of their kind is met, because importing Fabric, or paramiko alone, delays the start of every command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshrender.transports.interface import Transport

if TYPE_CHECKING:
    from sshrender.transports.sshconfig import Overrides

THIS_MACHINE = "this machine"
"""Not a table: without an inventory this machine alone renders."""

HOSTS = "hosts"
"""``[[hosts]]``: reached by SSH."""


@dataclass(frozen=True, slots=True)
class TransportKind:
    """One kind of transport. ``connect_timeout``: seconds until a runner must listen, by default."""

    create: Callable[[str, Overrides | None], Transport]
    connect_timeout: float


def _local(_name: str, _overrides: Overrides | None) -> Transport:
    from sshrender.transports.local import LocalTransport

    return LocalTransport()


def _ssh(name: str, overrides: Overrides | None) -> Transport:
    from sshrender.transports.sshchoice import ChosenTransport
    from sshrender.transports.sshconfig import Overrides

    return ChosenTransport(name, overrides or Overrides())


KINDS: dict[str, TransportKind] = {
    # Ten seconds are more than a login over a slow network needs; ``connect_timeout`` of the inventory
    # replaces them.
    THIS_MACHINE: TransportKind(_local, 10.0),
    HOSTS: TransportKind(_ssh, 10.0),
}


def create(key: str, name: str = "", overrides: Overrides | None = None) -> Transport:
    """Return the transport of a host that is configured under ``key``."""
    return KINDS[key].create(name, overrides)
