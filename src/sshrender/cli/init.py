"""``sshrender init``: writes a first inventory, from options or from answers, and checks its hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from sshrender.cli import hintcommands, hosttables, jsonresult, options, reportersetup
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

T = TypeVar("T")

USUAL_SAN = Path("/san/sshrender")
NONE = ("none", "no", "-")
"""Answers that say that the hosts share no folder."""


def init(
    hosts: options.NewHosts = None,
    san: options.NewSan = None,
    no_san: Annotated[
        bool,
        typer.Option("--no-san", help="The hosts share no folder: files travel by SFTP. [default: off]"),
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            help="Add this host or node set. May be repeated. [default: those of ssh_config]",
            metavar="NODESET",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="User to log in as. [default: as in ssh_config]", metavar="NAME"),
    ] = None,
    ssh_config: options.SshConfig = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask; without --host, use the hosts of ssh_config. [default: off]"
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file. [default: off]")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Check the folder and every host. [default: on]",
            show_default=False,
        ),
    ] = True,
    json_: options.Json = False,
) -> None:
    """Write a first inventory, from ~/.ssh/config and your answers, or from the options alone.

    The command writes the inventory, checks every host, as sshrender hosts does, and shows how to fix
    what is wrong.
    """
    from sshrender.api.firstinventory import inventory_text, write_inventory
    from sshrender.config import sshhosts
    from sshrender.config.paths import places

    # The user's own folder, not the current one.
    target = hosts or places("hosts.toml")[1]
    # Before the questions, so that no answer is lost.
    if target.exists() and not force:
        raise UserError(ExitCode.USAGE, f"{target} exists already", "edit it, or add --force")
    found = sshhosts.find(ssh_config or sshhosts.users_file())
    may_ask = not yes and sys.stdin.isatty()
    folder = None if no_san else _folder(san, may_ask)
    # Said only if the list comes from ssh_config.
    if found.git and not host:
        safeprint.note(f"left out, as they are git servers: {', '.join(found.git)}")
    node_set = _node_set(host, found.names, may_ask, target)
    # Written before the check: what is wrong with a host is mended later.
    write_inventory(target, inventory_text(folder, node_set, user))
    if json_:
        shown = None if folder is None else str(folder)
        result = {"path": str(target), "node_set": node_set, "san": shown}
        raise typer.Exit(jsonresult.put({**result, **(_checked(target, ssh_config) if check else {})}))
    safeprint.line(f"{target}: {node_set}")
    if check:
        _check(target, ssh_config)
    safeprint.line(f"next: {hintcommands.complete('sshrender hosts')}")


def _folder(named: Path | None, may_ask: bool) -> Path | None:
    """Return the shared folder; None if there is none. Raises UserError if it is not known."""
    from sshrender.api.firstinventory import folder_problem

    if named is not None:
        return named.absolute()
    if not may_ask:
        raise UserError(
            ExitCode.USAGE,
            "the shared folder is not known",
            "add --san DIR, or --no-san if the hosts share none",
        )
    # The usual folder as the suggestion, if this machine has it.
    default = str(USUAL_SAN) if USUAL_SAN.is_dir() else NONE[0]
    while True:
        answer = str(typer.prompt("Folder that all hosts mount, or none", default=default, err=True))
        if answer.strip().lower() in NONE:
            return None
        folder = Path(answer.strip()).expanduser().absolute()
        why = folder_problem(folder)
        if not why:
            return folder
        safeprint.note(why)
        if typer.confirm("Use it nevertheless?", default=False, err=True):
            # The folder may be mounted on the hosts alone, or later.
            return folder


def _node_set(named: Sequence[str] | None, found: Sequence[str], may_ask: bool, target: Path) -> str:
    """Return the hosts as a node set. Raises UserError if there are none, or the text is not one."""
    if named:
        return _folded(named)
    suggested = _folded(found) if found else None
    if may_ask:
        return _repeated(lambda: _answered(suggested, target))
    if suggested is None:
        raise UserError(
            ExitCode.USAGE, "no host is given, and ssh_config names none", "add --host 'node[01-16]'"
        )
    return suggested


def _answered(suggested: str | None, target: Path) -> str:
    """Return the answer as a node set. Raises UserError if no inventory can hold it."""
    from sshrender.api.firstinventory import inventory_text, require_valid

    answer = typer.prompt("Hosts, as in node[01-16],big", default=suggested, err=True)
    node_set = _folded([str(answer).strip()])
    # The other fields do not matter for the test of the names.
    require_valid(target, inventory_text(None, node_set, None))
    return node_set


def _repeated(ask: Callable[[], T]) -> T:
    """Return the answer to a question; ask again after one that is wrong. Earlier answers stay."""
    while True:
        try:
            return ask()
        except UserError as error:
            safeprint.note(f"{error.what}; {error.hint}")


def _folded(names: Sequence[str]) -> str:
    from ClusterShell.NodeSet import NodeSet, NodeSetException
    from ClusterShell.RangeSet import RangeSetException

    from sshrender.config.inventory import node_names

    try:
        # Each text may be a node set; the union is folded again.
        every = [name for each in names for name in node_names(each)]
        return str(NodeSet.fromlist(every))
    except (ValueError, NodeSetException, RangeSetException) as error:
        raise UserError(
            ExitCode.USAGE,
            f"{','.join(names)}: {error}",
            "a node set is written as 'node[01-16],big'",
        ) from None


def _check(target: Path, ssh_config: Path | None) -> None:
    """Print the table of the hosts. Problems of hosts are shown; they are not errors of this command."""
    # The inventory is written by then, so an error here is a remark.
    try:
        context, _ = reportersetup.start(_typed(target, ssh_config), None)
        hosttables.show(context)
    except UserError as error:
        safeprint.note(f"the hosts cannot be checked yet: {error.what}")
        safeprint.note(f"hint: {error.hint}")


def _checked(target: Path, ssh_config: Path | None) -> dict[str, Any]:
    """Return what the check of the folder and the hosts found, as fields of the object."""
    from sshrender.api.hosts import check_hosts

    try:
        context, _ = reportersetup.start(_typed(target, ssh_config), None)
        return {"hosts": [asdict(report) for report in check_hosts(context).reports]}
    except UserError as error:
        return {"hosts": [], "problem": error.what}


def _typed(target: Path, ssh_config: Path | None) -> dict[str, Any]:
    return {"hosts": target, **({} if ssh_config is None else {"ssh_config": ssh_config})}
