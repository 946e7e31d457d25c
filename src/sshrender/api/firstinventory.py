"""Writes a first inventory."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from sshrender.config import inventory
from sshrender.errors import ExitCode, UserError
from sshrender.storage.files import write_whole

HEAD = """\
# The inventory of sshrender: which machines may render, and how to reach them.
# "sshrender config schema" lists every key; "sshrender hosts" checks each of them.
"""


def inventory_text(san: Path, node_set: str, user: str | None) -> str:
    """Return the inventory as TOML, whose basic strings have the same escapes as JSON's."""
    lines = [HEAD, "[san]", f"path = {json.dumps(str(san))}", ""]
    if user is not None:
        lines += ["[defaults]", f"user = {json.dumps(user)}", ""]
    lines += ["[[hosts]]", f"name = {json.dumps(node_set)}", ""]
    return "\n".join(lines)


def write_inventory(target: Path, text: str) -> None:
    """Check the text and write it. Raises UserError."""
    inventory.check(tomllib.loads(text), target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text.encode())
    except OSError as error:
        raise UserError(
            ExitCode.USAGE, f"{target}: {error.strerror}", "name another file with --hosts FILE"
        ) from None
