"""Where configuration files are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from sshrender.errors import ExitCode, UserError

APP = "sshrender"


def places(name: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Here, the user's folder, the site's: the first inventory found wins, all settings count."""
    return [Path(name), user_folder(environ) / name, Path("/etc") / APP / name]


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration folder of this user. Raises UserError where the user's home is unknown."""
    user = environ.get("XDG_CONFIG_HOME")
    return Path(user) / APP if user else _of_user(platformdirs.user_config_path)


def _of_user(find: Callable[[str], Path]) -> Path:
    """A folder that platformdirs knows. Raises UserError: under cron or env -i there may be no home."""
    try:
        found = find(APP)
    except RuntimeError:  # platformdirs from 4.4 on; older ones answer with ~ in front
        found = Path("~")
    if found.is_absolute():
        return found
    raise UserError(
        ExitCode.USAGE,
        "the home of this user is unknown: HOME is not set, and /etc/passwd does not tell",
        "set it to a folder of this user: export HOME=/var/lib/sshrender",
    )


def here_is_ours(place: Path) -> bool:
    """Whether a file that nobody named may be trusted: what it says can run programs (ProxyCommand).

    In the current folder it must be this user's or root's, as ssh asks of its own configuration.
    """
    return place.is_absolute() or place.stat().st_uid in (0, os.geteuid())


def distrusted(place: Path, option: str) -> UserError:
    """A file of somebody else in the current folder."""
    return UserError(
        ExitCode.USAGE,
        f"{place.absolute()} belongs to another user and is not used unasked",
        f"look into it; then name it: {option} {place}",
    )


def find_inventory(named: Path | None) -> Path | None:
    """The inventory: as named, else the first that is there, else None (this machine alone).

    Raises UserError.
    """
    if named is not None:
        return named
    found = next((place for place in places("hosts.toml") if place.is_file()), None)
    if found is not None and not here_is_ours(found):
        raise distrusted(found, "--hosts")
    return found


def state_folder() -> Path:
    """Where jobs live when there is no SAN: this user's own state."""
    return _of_user(platformdirs.user_state_path)


def log_folder() -> Path:
    """Where tracebacks go."""
    return _of_user(platformdirs.user_log_path)
