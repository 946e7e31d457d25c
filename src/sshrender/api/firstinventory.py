"""Writes a first inventory, and checks the folder that it names."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path

from sshrender.config import inventory
from sshrender.errors import ExitCode, UserError
from sshrender.storage.files import write_whole
from sshrender.storage.hangguard import guarded_call

HEAD = """\
# The inventory of sshrender: which machines may render, and how to reach them.
# "sshrender config schema hosts" lists every key; "sshrender hosts" checks each of them.
"""


def inventory_text(san: Path | None, node_set: str, user: str | None) -> str:
    """Return the inventory as TOML, whose basic strings have the same escapes as JSON's.

    ``san`` None: the hosts share no folder, and files travel by SFTP.
    """
    lines = [HEAD]
    if san is not None:
        lines += ["[san]", f"path = {json.dumps(str(san))}", ""]
    if san is None or user is not None:
        lines += ["[defaults]"]
        lines += ["san = false   # no shared folder: files travel by SFTP"] if san is None else []
        lines += [f"user = {json.dumps(user)}"] if user is not None else []
        lines += [""]
    lines += ["[[hosts]]", f"name = {json.dumps(node_set)}", ""]
    return "\n".join(lines)


def require_valid(target: Path, text: str) -> None:
    """Raise UserError if the text is not an inventory."""
    inventory.check(tomllib.loads(text), target)


def folder_problem(folder: Path) -> str:
    """Return why this machine cannot use a folder as the shared one; empty if it can. Never blocks."""

    def work() -> str:
        if not folder.exists():
            return f"{folder} does not exist on this machine"
        if not folder.is_dir():
            return f"{folder} is not a folder"
        # A real write: permissions alone do not show a read-only or a full file system.
        with tempfile.TemporaryFile(dir=folder):
            return ""

    try:
        return guarded_call(folder, work)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"


def write_inventory(target: Path, text: str) -> None:
    """Check the text and write it. Raises UserError."""
    # Checked before it is written, so a file that the program itself cannot read is never left.
    require_valid(target, text)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    except OSError as error:
        raise UserError(
            ExitCode.USAGE, f"{target}: {error.strerror}", "name another file with --hosts FILE"
        ) from None
