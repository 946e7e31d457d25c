"""Builds the access to each host of the inventory, with its path of the shared folder."""

from __future__ import annotations

from pathlib import Path

from sshrender.api.sshcommand import overrides_of
from sshrender.config import inventory as inv
from sshrender.config.settings import Settings
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.core.policy import HostPlan
from sshrender.transports.interface import Transport

HERE = "localhost"
"""The name of this machine if no inventory names any host."""


def this_machine(san: Path, settings: Settings) -> HostSetup:
    """Return the set-up for rendering on this machine alone, without ssh.

    Its load is ignored: the user asked for this machine and no other.
    """
    from sshrender.transports import registry

    return HostSetup(
        plan=HostPlan(HERE, ignores_load=True),
        transport=registry.create(registry.THIS_MACHINE),
        san=str(san),
        sandbox=settings.sandbox,
    )


def host_setup(
    host: inv.HostTable, inventory: inv.Inventory, san: Path, settings: Settings
) -> HostSetup:
    """Return how to reach a host of the inventory."""
    return HostSetup(
        # ``is False``: None means that the host has the inventory's folder.
        plan=HostPlan(
            host.name, host.slots, host.idle_below, host.busy_above, needs_transfer=host.san is False
        ),
        transport=_transport(host, settings),
        san=_seen_san(host, inventory, san),
        scratch=host.scratch,
        python=host.python,
        ghostscript=host.ghostscript,
        sandbox=host.sandbox or settings.sandbox,
        connect_timeout=host.connect_timeout,
    )


def _seen_san(host: inv.HostTable, inventory: inv.Inventory, san: Path) -> str | None:
    """Return where a host sees the shared folder: its own key, the inventory's, or as this machine."""
    # The host's own key first; without one all hosts see the folder under the same path.
    if host.san is False:
        return None
    if host.san is not None:
        return host.san
    return str(inventory.san.path if inventory.san is not None else san)


def _transport(host: inv.HostTable, settings: Settings) -> Transport:
    from sshrender.transports import registry

    config_file = str(settings.ssh_config) if settings.ssh_config else None
    return registry.create(registry.HOSTS, host.name, overrides_of(host, config_file))
