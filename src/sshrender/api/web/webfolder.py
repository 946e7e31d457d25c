"""Finds and makes the folder of the web front end in the shared folder; uploads and links are in it.

Each user has one, and another user may have taken the plain name.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from sshrender.job import userfolders
from sshrender.storage import files

FOLDER = ".web"
"""Beside the jobs' folders; hidden, so that no reader takes it for a job."""

_own: dict[Path, Path] = {}
"""By shared folder: what ``own_folder`` has found."""


def own_folder(san: Path) -> Path:
    """Return this user's folder of the web front end: another user may have taken the plain name."""
    if san not in _own and (found := userfolders.find(san, FOLDER)):
        user = files.user_in(san)
        for each in found:
            if each.user == user and not stat.S_IMODE(each.path.stat().st_mode) & 0o022:
                _own[san] = each.path
                break
    return _own.get(san, san / FOLDER)


def _has_own(san: Path) -> bool:
    """Return whether this user's folder of the web front end is there; forget one that is gone."""
    known = _own.get(san)
    if known is not None and not known.is_dir():
        _own.pop(san, None)
    own_folder(san)
    return san in _own


def make_folder(san: Path, name: str) -> None:
    """Make a folder in that of the web front end. Raises OSError."""
    if not _has_own(san):
        path = san / FOLDER
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            # Another request of this user has made it a moment ago. Or it is another user's folder: then
            # a random name is used beside it.
            if not _has_own(san):
                path = san / f"{FOLDER}-{secrets.token_hex(8)}"
                path.mkdir(mode=0o700)
                _own[san] = path
        else:
            _own[san] = path
    folder = own_folder(san) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    os.close(files.open_folder(folder))  # ENOTDIR for a link, which leads elsewhere
