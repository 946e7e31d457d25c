"""Keys and one-time links of the web front end, the same on every machine that serves.

The key of the sessions follows from the owner's key (config/keyfile.py). Every machine that runs the
owner's jobs has that key. It is never on the shared folder, so that a host that can write there cannot
make a session.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

from sshrender.api.web.webfolder import make_folder, own_folder
from sshrender.config import keyfile
from sshrender.storage import files

LINK_SECONDS = 24 * 3600.0
"""Seconds after which a one-time link has expired."""

MAX_LINKS = 10_000


def session_key() -> bytes:
    """Return the key that signs sessions and links. Raises UserError if the user can have no key."""
    # Derived, so that the owner's key itself signs nothing for browsers. The words keep this use apart
    # from others.
    return hmac.digest(keyfile.load_or_make(), b"sshrender web sessions", "sha256")


def make_link(san: Path) -> str:
    """Return the token of a new one-time link. Raises OSError."""
    make_folder(san, "links")
    # 256 random bits: a link cannot be guessed.
    token = secrets.token_urlsafe(32)
    expires = time.time() + LINK_SECONDS
    files.write_whole(_place(san, token), json.dumps({"expires": expires}).encode())
    return token


def spend_link(san: Path, token: str) -> bool:
    """Return whether the token is that of an unused link; it is used then. Raises OSError."""
    place = _place(san, token)
    try:
        expires = float(json.loads(files.read_plain(place))["expires"])
        place.unlink()  # of two requests one succeeds
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    return time.time() < expires


def clear_links(san: Path) -> None:
    """Remove links that have expired. Raises OSError."""
    folder = own_folder(san) / "links"
    if not folder.is_dir():
        return
    # Bounded: the folder belongs to the user, and a listing of millions would block.
    for name in files.names_in(folder, MAX_LINKS):
        path = folder / name
        # Used or removed meanwhile, or damaged: such a link opens nothing.
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            if float(json.loads(files.read_plain(path))["expires"]) < time.time():
                path.unlink()


def _place(san: Path, token: str) -> Path:
    """Return the file of a link. Its name is a digest: a listing of the folder shows no token."""
    # "replace": a token of a request may hold anything, halves of surrogate pairs too.
    return own_folder(san) / "links" / hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
