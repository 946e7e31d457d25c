"""``sshrender init``: a first inventory, by asking or from flags."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sshrender.cli import options
from sshrender.errors import ExitCode, UserError
from sshrender.views import output

HEAD = """\
# The inventory of sshrender: which machines may render, and how to reach them.
# "sshrender config schema" lists every key; "sshrender hosts" asks each of them how it is.
"""


def init(
    hosts: options.Hosts = None,
    san: options.San = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A host or node set; several times.", metavar="NODESET"),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Log in as; default: what ssh_config says.", metavar="NAME"),
    ] = None,
    ssh_config: options.SshConfig = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take what is found.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a first inventory from ~/.ssh/config and what you answer, or from the options alone."""
    from sshrender.config import sshhosts
    from sshrender.config.paths import places

    target = hosts or places("hosts.toml")[1]
    if target.exists() and not force:
        raise UserError(ExitCode.USAGE, f"{target} is there already", "edit it, or add --force")
    found = sshhosts.names(ssh_config or Path("~/.ssh/config").expanduser())
    may_ask = not yes and sys.stdin.isatty()
    folder = _folder(san, may_ask)
    node_set = _node_set(host, found, may_ask)
    text = _inventory(folder, node_set, user)
    _write(target, text)
    output.line(f"{target}: {node_set}")
    output.line("next: sshrender hosts")


def _folder(named: Path | None, may_ask: bool) -> Path:
    if named is not None:
        return named.absolute()
    if not may_ask:
        raise UserError(ExitCode.USAGE, "the shared folder is not known", "add --san DIR")
    return Path(
        str(typer.prompt("The folder that all of them mount", default="/san/sshrender", err=True))
    ).absolute()


def _node_set(named: Sequence[str] | None, found: Sequence[str], may_ask: bool) -> str:
    """The hosts as a node set. Raises UserError where there is none, or it is no node set."""
    if named:
        return _folded(named)
    suggested = _folded(found) if found else None
    if may_ask:
        answer = typer.prompt("Hosts, as in node[01-16],big", default=suggested, err=True)
        return _folded([str(answer)])
    if suggested is None:
        raise UserError(
            ExitCode.USAGE, "no host is named, and ssh_config names none", "add --host node[01-16]"
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
            ExitCode.USAGE, f"{','.join(names)}: not a node set: {error}", "as in node[01-16],big"
        ) from None


def _inventory(san: Path, node_set: str, user: str | None) -> str:
    """TOML. Its basic strings are JSON's."""
    lines = [HEAD, "[san]", f"path = {json.dumps(str(san))}", ""]
    if user is not None:
        lines += ["[defaults]", f"user = {json.dumps(user)}", ""]
    lines += ["[[hosts]]", f"name = {json.dumps(node_set)}", ""]
    return "\n".join(lines)


def _write(target: Path, text: str) -> None:
    """Checked first. Raises UserError."""
    from sshrender.config import inventory
    from sshrender.storage.files import write_whole

    inventory.check(tomllib.loads(text), target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    except OSError as error:
        raise UserError(
            ExitCode.USAGE, f"{target}: {error.strerror}", "name another file with --hosts FILE"
        ) from None
