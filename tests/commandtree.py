"""The commands of the program, as typer makes them: once for all tests, as that takes a while."""

from __future__ import annotations

from typing import Any

import typer.main

from sshrender.cli.app import app

TREE: Any = typer.main.get_command(app)
