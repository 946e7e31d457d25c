"""Return the names that a setting has on the command line and in the environment.

Imports nothing: every start of the program loads this module.
"""

from __future__ import annotations

_ONE = {"gs_options": "gs_option"}
"""Settings that hold a list. Options and variables that give one value at a time have its singular
name."""


def variable(key: str) -> str:
    """Return the environment variable of a setting."""
    return f"SSHRENDER_{_ONE.get(key, key).upper()}"


def option(key: str) -> str:
    """Return the long option of a setting."""
    return f"--{_ONE.get(key, key).replace('_', '-')}"
