"""Where configuration files are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

APP = "sshrender"


def places(name: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Here, the user's folder, the site's: the first inventory found wins, all settings count."""
    user = environ.get("XDG_CONFIG_HOME")
    users = Path(user) / APP if user else platformdirs.user_config_path(APP)
    return [Path(name), users / name, Path("/etc") / APP / name]


def find_inventory(named: Path | None) -> Path | None:
    """The inventory: as named, else the first that is there, else None (this machine alone)."""
    if named is not None:
        return named
    return next((place for place in places("hosts.toml") if place.is_file()), None)


def state_folder() -> Path:
    """Where jobs live when there is no SAN: this user's own state."""
    return platformdirs.user_state_path(APP)


def log_folder() -> Path:
    """Where tracebacks go."""
    return platformdirs.user_log_path(APP)
