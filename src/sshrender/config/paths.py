"""Find configuration files, and the folders of this user."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from sshrender.errors import ExitCode, UserError

APP = "sshrender"


def places(name: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the paths of a file in the current, the user's and the site's folder.

    The first inventory that is found is used; all settings files are, earlier ones first.
    """
    return [Path(name), user_folder(environ) / name, Path("/etc") / APP / name]


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration folder of this user. Raises UserError if the user has no home."""
    # An empty variable counts as unset (XDG Base Directory Specification).
    user = environ.get("XDG_CONFIG_HOME")
    return Path(user) / APP if user else _of_user(platformdirs.user_config_path)


def _of_user(find: Callable[[str], Path]) -> Path:
    """Return a folder that platformdirs finds. Raises UserError: under env -i there may be no home."""
    try:
        found = find(APP)
    except RuntimeError:  # platformdirs from 4.4 on; older ones answer with ~ in front
        found = Path("~")
    if found.is_absolute():
        return found
    raise UserError(
        ExitCode.USAGE,
        "the home of this user is unknown: HOME is not set, and /etc/passwd has no entry",
        "name this user's home: export HOME=/var/lib/sshrender",
    )


def is_there(place: Path) -> bool:
    """Return whether a configuration file is there. One in a folder that is closed to this user is not.

    ``sudo -u`` may leave HOME and the current folder as they were, and neither may be searched then.
    """
    try:
        return place.is_file()
    except OSError:
        return False


def is_trusted(place: Path) -> bool:
    """Return whether a file that was found, not named, may be used: it can run programs (ProxyCommand).

    In the current folder it must belong to this user or to root, as ssh demands of its configuration.
    """
    # Absolute paths are those of the user and of the site; only the current folder may be another
    # user's.
    return place.is_absolute() or place.stat().st_uid in (0, os.geteuid())


def untrusted_file(place: Path, option: str) -> UserError:
    """Return the error for a file in the current folder that belongs to another user."""
    return UserError(
        ExitCode.USAGE,
        f"{place.absolute()} belongs to another user and is used only if an option names it",
        f"read the file; if you trust it, add {option} {shlex.quote(str(place))}",
    )


def find_inventory(named: Path | None) -> Path | None:
    """Return the inventory: as named, else the first found, else None (only this machine renders).

    Raises UserError.
    """
    if named is not None:
        return named
    found = next((place for place in places("hosts.toml") if is_there(place)), None)
    if found is not None and not is_trusted(found):
        raise untrusted_file(found, "--hosts")
    return found


def state_folder() -> Path:
    """Return where jobs are kept without a shared folder. Raises UserError."""
    return _of_user(platformdirs.user_state_path)


def cache_folder() -> Path:
    """Return where this machine keeps what may be lost at any time. Raises UserError."""
    return _of_user(platformdirs.user_cache_path)


def log_folder() -> Path:
    """Return where tracebacks are written. Raises UserError."""
    return _of_user(platformdirs.user_log_path)
