"""How a setting is called on the command line and in the environment. Imports nothing: start-up."""

from __future__ import annotations


def variable(key: str) -> str:
    """The environment variable of a setting."""
    return f"SSHRENDER_{key.upper()}"


def option(key: str) -> str:
    """The long option of a setting."""
    return f"--{key.replace('_', '-')}"
