"""Read and make the owner's key: 256 random bits that sign this user's jobs and requests.

The key is made on first use, in the configuration folder. It is never written to the shared folder or
sent to a host: a host that logs in as the same user can write into the shared folder, and must not be
able to sign a job.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shlex
import stat
import uuid
from pathlib import Path

from sshrender.config.paths import user_folder
from sshrender.errors import ExitCode, UserError

KEY_BYTES = 32
"""The output of SHA-256: a longer HMAC key adds no strength (RFC 2104, section 3)."""

MAX_TEXT_BYTES = 256
"""Bytes that are read of a key's file; a sound one has 65."""

_memory: bytes | None = None
"""The key of this process alone, if it can be kept in no file."""

_TEXT = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


class NoPlace(UserError):
    """No key can be kept: the user's configuration folder is not writable."""

    def __init__(self, place: Path, why: str) -> None:
        super().__init__(
            ExitCode.USAGE,
            f"the key {place} cannot be made: {why}",
            "export XDG_CONFIG_HOME=DIR  # an absolute path, writable, outside the shared folder",
        )


def path() -> Path:
    """Return the path of the key. Raises UserError if this user has no folder for it."""
    folder = user_folder()
    if not folder.is_absolute():
        raise UserError(
            ExitCode.USAGE,
            "the configuration folder of this user is unknown, so its key cannot be kept",
            "name this user's home: export HOME=/var/lib/sshrender",
        )
    return folder / "key"


def load() -> bytes | None:
    """Return the key; None if none has been made. Raises UserError if it cannot be trusted."""
    if _memory is not None:
        return _memory
    place = path()
    try:
        # O_NONBLOCK: a FIFO at this place must not block. Links are followed, because the folder is the
        # user's own.
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            # The open file is examined, so it cannot be replaced between the check and the read.
            _require_private(place, os.fstat(file.fileno()))
            text = file.read(MAX_TEXT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        # The folder may be entered, so it is the file that is closed to its own user.
        if os.access(place.parent, os.X_OK):
            raise _unusable(place, str(error.strerror)) from None
        return None  # the folder is closed to this user, which can neither read nor make a key there
    except OSError as error:
        raise _unusable(place, str(error.strerror)) from None
    return parse(text.decode("ascii", "replace"), str(place))


def load_or_make() -> bytes:
    """Return the key; make it if there is none. Raises UserError; NoPlace if it cannot be kept."""
    found = load()
    if found is not None:
        return found
    place = path()
    try:
        _make_folder(place)
        with contextlib.suppress(FileExistsError):  # another process has just made one: use that
            _write(place, secrets.token_bytes(KEY_BYTES), is_new=True)
    except OSError as error:
        raise NoPlace(place, str(error.strerror)) from None
    # Read back: if another process was faster, its key counts.
    made = load()
    if made is None:
        raise _unusable(place, "it was removed right after it was made")
    return made


def keep_in_memory() -> None:
    """Make a key for this process alone. Other processes do not accept its signatures."""
    global _memory  # noqa: PLW0603 - one user, one process, one key
    _memory = secrets.token_bytes(KEY_BYTES)


def is_in_memory() -> bool:
    """Return whether the key is that of this process alone."""
    return _memory is not None


def install(key: bytes, *, is_forced: bool) -> bool:
    """Store a key; return whether it is new. Raises UserError if there is another one, unless forced."""
    place = path()
    found = load()
    # The same key: nothing is written, and the command can be repeated.
    if found == key:
        return False
    if found is not None and not is_forced:
        raise UserError(
            ExitCode.USAGE,
            f"{place} holds another key, {fingerprint(found)}; the new one is {fingerprint(key)}",
            "jobs that the old key signed cannot be run here any more if you replace it:"
            " sshrender key import --force",
        )
    try:
        _make_folder(place)
        # Forced: the rename replaces the file in one step, so there is no moment without a key.
        _write(place, key, is_new=not is_forced)
    except OSError as error:
        raise NoPlace(place, str(error.strerror)) from None
    return True


def fingerprint(key: bytes) -> str:
    """Return a name for the key from which the key cannot be derived."""
    # A prefix of its own: the digest is of no use for what the key signs. 64 bits tell keys apart.
    return hashlib.sha256(b"sshrender key\0" + key).hexdigest()[:16]


def parse(text: str, origin: str) -> bytes:
    """Return the key that ``as_text`` wrote. Raises UserError."""
    word = text.strip()
    if _TEXT.fullmatch(word) is None:
        raise UserError(
            ExitCode.USAGE,
            f"{origin}: no key: a key is {2 * KEY_BYTES} hexadecimal digits",
            "on the machine that has the key: sshrender key show",
        )
    return bytes.fromhex(word)


def as_text(key: bytes) -> str:
    """Return the key as its file holds it."""
    return key.hex()


# The same demands that ssh has on a private key.
def _require_private(place: Path, status: os.stat_result) -> None:
    """Raise UserError if other users can read the key, or may have written it."""
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(place, "it is not a regular file")
    if status.st_uid != os.geteuid():
        raise _unusable(place, "it belongs to another user")
    if status.st_mode & 0o077:
        raise UserError(
            ExitCode.USAGE,
            f"{place}: other users can read or write this key; make another if they may have read it",
            f"chmod 600 {shlex.quote(str(place))}",
        )


def _make_folder(place: Path) -> None:
    """Make the key's folder, but not a missing home. Raises OSError or NoPlace.

    Debian gives system users the home /nonexistent so that none is ever made.
    """
    # With XDG_CONFIG_HOME the user has named a folder, which may be made.
    if not os.environ.get("XDG_CONFIG_HOME"):
        home = Path.home()
        if not home.is_dir():
            raise NoPlace(place, f"the home {home} is not a folder")
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(place: Path, key: bytes, *, is_new: bool) -> None:
    """Write the file as a whole. Raises OSError; FileExistsError if ``is_new`` and there is one."""
    # Another process sees either no key or a complete one, never a part of one.
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(as_text(key).encode() + b"\n")
            file.flush()
            # Synced before it gets its name: after a power failure the key is whole or not there.
            os.fsync(file.fileno())
        if is_new:
            _give_name(temporary, place)
        else:
            temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _give_name(temporary: Path, place: Path) -> None:
    """Rename the file; unlike rename(2), never replace one. Raises OSError."""
    try:
        os.link(temporary, place)
    except FileExistsError:
        raise
    except OSError:
        # No links here. The name is taken at once, so that another process finds it taken.
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            temporary.replace(place)
        except OSError:
            # An empty file at this place would be no key for every later process.
            place.unlink(missing_ok=True)
            raise


def _unusable(place: Path, why: str) -> UserError:
    return UserError(
        ExitCode.USAGE, f"the key {place} cannot be used: {why}", f"ls -l {shlex.quote(str(place))}"
    )
