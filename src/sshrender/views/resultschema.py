"""The JSON Schema of the objects that ``--json`` prints, and of the lines of ``--progress jsonl``.

It is the file results.schema.json. ``$defs`` has the form of each command by the command's name, with a
hyphen as in ``config-show``, and the forms ``error`` and ``event``. Tests compare it with what commands
print.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def load() -> dict[str, Any]:
    """Return the schema."""
    schema: dict[str, Any] = json.loads(
        files("sshrender.views").joinpath("results.schema.json").read_text("utf-8")
    )
    return schema
