"""Builds the access to the batch systems of an inventory."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shlex
import shutil
from pathlib import Path

from sshrender.api.sshcommand import SshCommand
from sshrender.config import inventory as inv
from sshrender.config.paths import cache_folder, find_inventory
from sshrender.config.pools import PoolEntry
from sshrender.config.settings import Settings
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.errors import UserError
from sshrender.runner import allocationfacts


def pool_setup(pool: PoolEntry, inventory: inv.Inventory, san: Path, settings: Settings) -> PoolSetup:
    """Return how to reach a pool of the inventory."""
    from sshrender.transports.batch.enginecalls import EngineCalls
    from sshrender.transports.batch.engines.names import engine

    defaults = inventory.defaults
    host, config_file = _via(pool, inventory, settings)
    via = [] if host is None else _ssh_words(host, config_file)
    return PoolSetup(
        name=pool.name,
        engine=engine(pool.engine),
        call=EngineCalls(via, _server(pool)),
        carrier=pool.carrier,
        via=tuple(via),
        shared=_shared_file(pool, via),
        login=() if host is None else tuple(shlex.split(SshCommand(host, config_file).ssh())),
        user=_own_name() if host is None else host.user or "",
        pilots=pool.pilots,
        cores=pool.cores,
        walltime=pool.walltime,
        san=pool.san or str(inventory.san.path if inventory.san is not None else san),
        memory=pool.memory,
        queue=pool.queue_name,
        options=tuple(pool.options),
        environment=_environment(pool),
        python=defaults.python or "python3",
        ghostscript=defaults.ghostscript or "gs",
        sandbox=defaults.sandbox or settings.sandbox,
    )


def _own_name() -> str:
    """Return the name by which a batch system knows this user; empty if there is none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _shared_file(pool: PoolEntry, via: list[str]) -> Path | None:
    """Return the file in which this user's runs share an engine's answers; None if there is no home.

    Pools of one engine share a file, because its controller answers all of them alike.
    """
    from sshrender.transports.batch.engines.names import engine
    from sshrender.transports.batch.loginhost import ENGINE_PREFIXES, ENGINE_VARIABLES

    place = [pool.engine, _server(pool), *via]
    if not via:
        # Each of these may lead to another cluster, whose engine does not know these pilots.
        place += [str(shutil.which(engine(pool.engine).version_command().words[0]))]
        place += [
            f"{name}={value}"
            for name, value in sorted(os.environ.items())
            if name in ENGINE_VARIABLES or name.startswith(ENGINE_PREFIXES)
        ]
    digest = hashlib.sha256(json.dumps(place).encode("utf-8", "surrogateescape")).hexdigest()
    try:
        return cache_folder() / "queues" / f"{digest[:16]}.json"
    except UserError:
        return None


def known_pools(settings: Settings, san: Path) -> dict[str, PoolSetup]:
    """Return the pools of the inventory by name; none if there is no inventory. Raises UserError."""
    file = find_inventory(settings.hosts)
    if file is None:
        return {}
    inventory = inv.load(file)
    return {pool.name: pool_setup(pool, inventory, san, settings) for pool in inventory.pools}


def _environment(pool: PoolEntry) -> dict[str, str]:
    """Return the variables of a pilot. TORQUE, OpenPBS and Grid Engine do not tell a job its memory."""
    memory = {allocationfacts.MEMORY: str(pool.memory)} if pool.memory is not None else {}
    return {**pool.environment, **memory}


def _server(pool: PoolEntry) -> str:
    """Return the server of a queue of PBS such as ``batch@other``; empty: the default one."""
    # qsub takes it from the queue, but qstat and pbsnodes would ask the default server.
    is_pbs = pool.engine in ("torque", "openpbs")
    return (pool.queue_name or "").partition("@")[2] if is_pbs else ""


def _via(
    pool: PoolEntry, inventory: inv.Inventory, settings: Settings
) -> tuple[inv.HostTable | None, str | None]:
    """Return the host of ``via``, perhaps one of the inventory, and the file of --ssh-config."""
    config_file = str(settings.ssh_config) if settings.ssh_config else None
    if pool.via is None:
        return None, config_file
    known = {host.name: host for host in inv.expand(inventory)}
    return known.get(pool.via) or inv.unlisted(pool.via, inventory), config_file


def _ssh_words(host: inv.HostTable, config_file: str | None) -> list[str]:
    """Return the ssh command to the host of ``via`` that runs commands of the engine there."""
    # BatchMode: a command that asks for a password would block the run. The time-out bounds a dead host.
    # These commands use no forwarding and no agent of the user's ssh_config.
    options = ("BatchMode=yes", "ConnectTimeout=10", "ClearAllForwardings=yes")
    words = [word for option in options for word in ("-o", option)]
    if host.host_key is not None:
        checking = "accept-new" if host.host_key == "accept-new" else "yes"
        words += ["-o", f"StrictHostKeyChecking={checking}"]
    command = SshCommand(host, config_file).ssh("", "-T", "-a", "-x", *words)
    return shlex.split(command)
