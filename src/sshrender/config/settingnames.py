"""Return the names that a setting has on the command line and in the environment.

Imports nothing: every start of the program loads this module.
"""

from __future__ import annotations


def variable(key: str) -> str:
    """Return the environment variable of a setting."""
    return f"SSHRENDER_{key.upper()}"


def option(key: str) -> str:
    """Return the long option of a setting."""
    return f"--{key.replace('_', '-')}"
