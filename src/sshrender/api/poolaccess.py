"""How the batch systems of an inventory are reached."""

from __future__ import annotations

import shlex
from pathlib import Path

from sshrender.api.sshcommand import SshCommand
from sshrender.config import inventory as inv
from sshrender.config.pools import PoolEntry
from sshrender.config.settings import Settings
from sshrender.coordinator.pilots.pool import PoolSetup


def pool_setup(pool: PoolEntry, inventory: inv.Inventory, san: Path, settings: Settings) -> PoolSetup:
    """Return how to reach a pool of the inventory."""
    from sshrender.transports.batch.enginecalls import EngineCalls
    from sshrender.transports.batch.engines.names import engine

    defaults = inventory.defaults
    via = _ssh_words(pool, inventory, settings)
    return PoolSetup(
        name=pool.name,
        engine=engine(pool.engine),
        call=EngineCalls(via),
        carrier=pool.carrier,
        via=tuple(via),
        pilots=pool.pilots,
        cores=pool.cores,
        walltime=pool.walltime,
        san=pool.san or str(inventory.san.path if inventory.san is not None else san),
        memory=pool.memory,
        queue=pool.queue_name,
        options=tuple(pool.options),
        environment=dict(pool.environment),
        python=defaults.python or "python3",
        ghostscript=defaults.ghostscript or "gs",
        sandbox=defaults.sandbox or settings.sandbox,
    )


def _ssh_words(pool: PoolEntry, inventory: inv.Inventory, settings: Settings) -> list[str]:
    """Return the ssh command to the host of ``via``, perhaps one of the inventory; none: here."""
    if pool.via is None:
        return []
    known = {host.name: host for host in inv.expand(inventory)}
    host = known.get(pool.via) or inv.unlisted(pool.via, inventory)
    config_file = str(settings.ssh_config) if settings.ssh_config else None
    # BatchMode: a command that asks for a password would block the run. The time-out bounds a dead host.
    command = SshCommand(host, config_file).ssh(
        "", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"
    )
    return shlex.split(command)
