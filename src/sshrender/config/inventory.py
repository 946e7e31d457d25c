"""Read the inventory: which hosts there are, how to reach them, and when they count as idle."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from sshrender.config.inventorytable import Table, absolute
from sshrender.config.pools import PoolEntry
from sshrender.config.validation import Duration, Word, describe, invalid, read_toml
from sshrender.errors import ExitCode, UserError
from sshrender.shellwords import path_word

_SCHEMA = "sshrender config schema hosts"
_HOSTS = "sshrender hosts"


class San(Table):
    """The shared folder."""

    path: Annotated[Path, Field(description="the path of the shared folder on this machine")]

    @field_validator("path")
    @classmethod
    def _path_isabsolute(cls, value: Path) -> Path:
        # A relative path would be another folder on each host, and for each current folder here.
        return Path(absolute(str(value)))


class HostSettings(Table):
    """The keys that ``[defaults]`` and each ``[[hosts]]`` may set."""

    user: Word | None = Field(None, min_length=1, description="log in as this user")
    port: int | None = Field(None, ge=1, le=65535, description="port of sshd")
    identity_file: str | None = Field(None, min_length=1, description="private key to log in with")
    known_hosts: str | None = Field(None, min_length=1, description="file of known host keys")
    host_key: Literal["strict", "accept-new"] | None = Field(
        None, description="refuse or record unknown host keys; changed keys are always refused"
    )
    transport: Literal["auto", "fabric", "openssh"] | None = Field(
        None, description="ssh client; auto: Fabric, or OpenSSH's own if ssh_config needs it"
    )
    # As many slots as the coordinator credits one host with (transports/messages.py, MAX_CORES).
    slots: int | None = Field(
        None, ge=1, le=1024, description="pages to render at a time; default: one per core"
    )
    idle_below: float | None = Field(
        None,
        ge=0,
        description="use the host while other users have fewer runnable threads per core than this",
    )
    busy_above: float | None = Field(
        None,
        ge=0,
        description="stop using the host when they have more runnable threads per core than this",
    )
    # False is a value: the host has no shared folder. None: as in [defaults].
    san: str | Literal[False] | None = Field(
        None, description="the path of the shared folder on the host; false: the host does not mount it"
    )
    scratch: str | None = Field(
        None,
        min_length=1,
        pattern="^/",
        description="folder for files on a host without a shared folder",
    )
    # The name is put into a remote command line, so no character may mean something to a shell.
    python: str | None = Field(
        None, min_length=1, pattern=r"^[\w./+-]+$", description="command for Python 3.7 or later"
    )
    ghostscript: str | None = Field(
        None, min_length=1, description="command for Ghostscript 10.0 or later"
    )
    sandbox: Literal["none", "bwrap"] | None = Field(
        None, description="bwrap: renderers see only the document, their pages and the fonts"
    )
    connect_timeout: Duration | None = Field(None, gt=0, description="longest wait for a connection")

    @field_validator("san")
    @classmethod
    def _san_isabsolute(cls, value: str | Literal[False] | None) -> str | Literal[False] | None:
        return absolute(value) if isinstance(value, str) else value


class HostEntry(HostSettings):
    """One ``[[hosts]]``: a host, or a node set of hosts with the same settings."""

    name: str = Field(min_length=1, description="host name or node set, as in node[01-16]")
    address: Word | None = Field(None, min_length=1, description="address to connect to")


class Inventory(Table):
    """The whole file."""

    san: San | None = None
    defaults: HostSettings = HostSettings()
    hosts: list[HostEntry] = Field(default=[])
    pools: list[PoolEntry] = Field(default=[])

    # In the model, so that the checks of one file report it with all other mistakes.
    @model_validator(mode="after")
    def _thresholds_are_ordered(self) -> Inventory:
        if not self.hosts and not self.pools:
            is_stated = "hosts" in self.model_fields_set
            missing = "hosts is missing, and pools as well"
            raise ValueError("hosts: must not be empty without pools" if is_stated else missing)
        for entry in self.hosts:
            # Each host's own thresholds, with the defaults of the file filled in.
            low = _or(entry.idle_below, self.defaults.idle_below, IDLE_BELOW)
            high = _or(entry.busy_above, self.defaults.busy_above, BUSY_ABOVE)
            if low > high:
                raise ValueError(f"idle_below ({low}) is above busy_above ({high}) for {entry.name}")
        return self


IDLE_BELOW, BUSY_ABOVE = 0.5, 0.8
"""Defaults of the thresholds. The gap between them keeps a host from changing its state all the time, as
HTCondor's thresholds for starting and suspending jobs do."""


class HostTable(Table):
    """One host with all its settings, defaults filled in."""

    name: str
    address: str | None
    user: str | None
    port: int | None
    identity_file: str | None
    known_hosts: str | None
    host_key: str | None
    transport: str | None
    slots: int | None
    idle_below: float
    busy_above: float
    san: str | Literal[False] | None
    scratch: str | None
    python: str
    ghostscript: str
    sandbox: str | None
    connect_timeout: float


def load(path: Path) -> Inventory:
    """Read and check an inventory. Raises UserError with all mistakes in it."""
    # A name alone, without a suffix, is hardly that of an inventory. It may be too long for a file.
    if path.name == str(path) and not path.suffix and not os.path.lexists(path):
        raise UserError(
            ExitCode.USAGE,
            f"{path}: no such file",
            f"--hosts takes a file, the inventory; to use only some hosts of it: --on {path_word(path)}",
        )
    return check(read_toml(path), path)


def looks_like_inventory(table: Mapping[str, Any], path: Path) -> bool:
    """Return whether a file is an inventory rather than settings.

    ``hosts`` and ``san`` are texts in settings and tables in an inventory, which alone has
    ``defaults`` and ``pools``. A file that has none of them is what its name says.
    """
    # Keys that only an inventory has decide first; then the types of keys that both have.
    if any(key in table for key in ("defaults", "pools")) or any(
        isinstance(table.get(key), list | dict) for key in ("hosts", "san")
    ):
        return True
    # A file without any of these keys is told by its name.
    return "hosts" in path.stem and not any(isinstance(table.get(key), str) for key in ("hosts", "san"))


def check(table: dict[str, Any], path: Path) -> Inventory:
    """Return the inventory in a table of a file, which need not exist yet. Raises UserError."""
    try:
        inventory = Inventory.model_validate(table)
    except ValidationError as error:
        raise invalid(describe(path, error, Inventory), _SCHEMA) from None
    # Names are checked after the forms, because a node set can only be read in a valid file.
    problems = [f"{path}: {problem}" for problem in _name_problems(inventory)]
    if problems:
        raise invalid(problems, f"correct the names in it: cat {path_word(path)}")
    return inventory


def expand(inventory: Inventory) -> list[HostTable]:
    """Return every host of the inventory: node sets expanded, defaults filled in."""
    defaults = inventory.defaults
    return [_host(name, entry, defaults) for entry in inventory.hosts for name in node_names(entry.name)]


def unlisted(name: str, inventory: Inventory) -> HostTable:
    """Return a host that the inventory does not list, with its defaults."""
    # A host of a command line: only [defaults] apply to it.
    return _host(name, HostEntry(name=name), inventory.defaults)


def select(
    hosts: list[HostTable], on: str | None, avoid: str | None = None, pools: Iterable[str] = ()
) -> list[HostTable]:
    """Return the hosts that ``--on`` names and ``--avoid`` does not. Raises UserError.

    Both options may name ``pools`` as well (``select_pools``).
    """
    known = {host.name for host in hosts} | set(pools)
    # Names of pools count as known, and are selected by select_pools().
    wanted = known if on is None else _named(on, "--on", known)
    left_out = set() if avoid is None else _named(avoid, "--avoid", known)
    chosen = [host for host in hosts if host.name in wanted - left_out]
    # No host may be left if a pool is.
    if not chosen and not (wanted - left_out) & set(pools):
        raise invalid([f"--avoid {avoid}: no host is left"], _HOSTS)
    return chosen


def select_pools(
    pools: list[PoolEntry], on: str | None, avoid: str | None, engine: str | None
) -> list[PoolEntry]:
    """Return the pools that ``--engine`` or ``--on`` names and ``--avoid`` does not.

    Raises UserError.
    """
    names = [pool.name for pool in pools]
    if engine is not None and engine not in names:
        raise invalid([f"--engine {engine}: {_no_pool(engine, names)}"], _HOSTS)
    # Names of hosts in ``--on`` are no pools; the intersection below leaves them out.
    kept = set(names) if on is None else set(node_names(on))
    left_out = set() if avoid is None else set(node_names(avoid))
    return [
        pool
        for pool in pools
        if pool.name in kept - left_out and (engine is None or pool.name == engine)
    ]


def _no_pool(name: str, pools: list[str]) -> str:
    near = difflib.get_close_matches(name, pools, n=1)
    return "the inventory has no such pool" + (f" (did you mean {near[0]}?)" if near else "")


def _named(node_set: str, option: str, known: set[str]) -> set[str]:
    try:
        names = node_names(node_set)
    except ValueError as error:
        raise invalid([f"{option} {node_set}: {error}"], _HOSTS) from None
    unknown = [name for name in names if name not in known]
    if unknown:
        raise invalid([f"{option}: {unknown_hosts(unknown, known)}"], _HOSTS)
    return set(names)


def unknown_hosts(names: Iterable[str], known: Iterable[str]) -> str:
    """Return in words that these hosts are not in the inventory, and which one has a similar name."""
    listed = list(names)
    near = difflib.get_close_matches(listed[0], known, n=1)
    return f"{', '.join(listed)}: not in the inventory" + (f" (did you mean {near[0]}?)" if near else "")


def node_names(node_set: str) -> list[str]:
    """Return the names in a node set such as ``node[01-16],big``. Raises ValueError."""
    # An empty variable in "$HOST", most often.
    if not node_set.strip(", "):
        raise ValueError("a node set has at least one name")
    if not any(character in node_set for character in "[],@*"):
        return [node_set]
    # ClusterShell takes "@" and "*" for groups, which it reads from files of its own.
    if "@" in node_set or "*" in node_set:
        raise ValueError(
            "a node set is a list of names such as node[01-16],big; groups are not supported"
        )
    # Here, so that plain names do not wait for its import.
    from ClusterShell.NodeSet import NodeSet, NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    try:
        return [str(name) for name in NodeSet(node_set)]
    except (NodeSetException, RangeSetException) as error:
        raise ValueError(f"not a node set: {error}") from None


def _left_out(name: str, node_set: str) -> str:
    """Return how a name is left out of the node set that has it already."""
    if node_set == name:
        return "leave it out of one"
    from ClusterShell.NodeSet import NodeSet

    # From a list: a name alone may mean something else to ClusterShell.
    left = NodeSet.fromlist([each for each in node_names(node_set) if each != name])
    return f'leave it out of the other entry: name = "{left}"'


def _name_problems(inventory: Inventory) -> list[str]:
    problems = []
    # By name, the node set that it is in.
    seen: dict[str, str] = {}
    for number, entry in enumerate(inventory.hosts, 1):
        try:
            names = node_names(entry.name)
        except ValueError as error:
            problems.append(f"hosts[{number}].name: {error}")
            continue
        for name in names:
            # A leading dash would be an option of ssh, and white space would end the word.
            if name.startswith("-") or any(c.isspace() or not c.isprintable() for c in name):
                why = "it has a space, a control character or a leading dash"
                problems.append(f"hosts[{number}].name: {name!r} is no host name: {why}")
            if name in seen:
                problems.append(
                    f"hosts[{number}].name: {name} is named twice: {_left_out(name, seen[name])}"
                )
            seen.setdefault(name, entry.name)
        if entry.address is not None and len(names) > 1:
            problems.append(f"hosts[{number}].address: one address cannot serve {len(names)} hosts")
    for number, pool in enumerate(inventory.pools, 1):
        if pool.name in seen:
            problems.append(f"pools[{number}].name: {pool.name} is named twice")
        seen[pool.name] = pool.name
    return problems


def _host(name: str, entry: HostEntry, defaults: HostSettings) -> HostTable:
    # A value of the host, even 0 or False, overrides that of [defaults].
    def pick(key: str, otherwise: Any = None) -> Any:
        """Return the value of the host, of ``[defaults]``, or ``otherwise``."""
        return _or(getattr(entry, key), getattr(defaults, key), otherwise)

    return HostTable(
        name=name,
        address=entry.address,
        user=pick("user"),
        port=pick("port"),
        identity_file=pick("identity_file"),
        known_hosts=pick("known_hosts"),
        host_key=pick("host_key"),
        transport=pick("transport"),
        slots=pick("slots"),
        idle_below=pick("idle_below", IDLE_BELOW),
        busy_above=pick("busy_above", BUSY_ABOVE),
        san=pick("san"),
        scratch=pick("scratch"),
        python=pick("python", "python3"),
        ghostscript=pick("ghostscript", "gs"),
        sandbox=pick("sandbox"),
        connect_timeout=pick("connect_timeout", 10.0),
    )


def _or(*values: Any) -> Any:
    """Return the first value that is not None; 0 and False are values."""
    return next((value for value in values if value is not None), None)
