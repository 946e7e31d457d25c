"""``sshrender init``: writes a first inventory, from options or from answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import options
from sshrender.errors import ExitCode, UserError
from sshrender.views import output


def init(
    hosts: options.Hosts = None,
    san: options.San = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A host or node set. May be repeated.", metavar="NODESET"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="User to log in as. [default: as in ssh_config]", metavar="NAME"),
    ] = None,
    ssh_config: options.SshConfig = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; use the hosts of ssh_config.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a first inventory, from ~/.ssh/config and your answers, or from the options alone."""
    from sshrender.api.firstinventory import inventory_text, write_inventory
    from sshrender.config import sshhosts
    from sshrender.config.paths import places

    target = hosts or places("hosts.toml")[1]
    if target.exists() and not force:
        raise UserError(ExitCode.USAGE, f"{target} exists already", "edit it, or add --force")
    found = sshhosts.names(ssh_config or Path("~/.ssh/config").expanduser())
    may_ask = not yes and sys.stdin.isatty()
    folder = _folder(san, may_ask)
    node_set = _node_set(host, found, may_ask)
    write_inventory(target, inventory_text(folder, node_set, user))
    output.line(f"{target}: {node_set}")
    output.line("next: sshrender hosts")


def _folder(named: Path | None, may_ask: bool) -> Path:
    if named is not None:
        return named.absolute()
    if not may_ask:
        raise UserError(ExitCode.USAGE, "the shared folder is not known", "add --san DIR")
    return Path(
        str(typer.prompt("Folder that all hosts mount", default="/san/sshrender", err=True))
    ).absolute()


def _node_set(named: Sequence[str] | None, found: Sequence[str], may_ask: bool) -> str:
    """Return the hosts as a node set. Raises UserError if there are none, or the text is not one."""
    if named:
        return _folded(named)
    suggested = _folded(found) if found else None
    if may_ask:
        answer = typer.prompt("Hosts, as in node[01-16],big", default=suggested, err=True)
        return _folded([str(answer)])
    if suggested is None:
        raise UserError(
            ExitCode.USAGE, "no host is given, and ssh_config names none", "add --host 'node[01-16]'"
        )
    return suggested


def _folded(names: Sequence[str]) -> str:
    from ClusterShell.NodeSet import NodeSet, NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    from sshrender.config.inventory import node_names

    try:
        every = [name for each in names for name in node_names(each)]
        return str(NodeSet.fromlist(every))
    except (ValueError, NodeSetException, RangeSetException) as error:
        raise UserError(
            ExitCode.USAGE, f"{','.join(names)}: {error}", "a node set is written as 'node[01-16],big'"
        ) from None
