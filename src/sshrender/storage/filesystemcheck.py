"""Try in a folder what a job does there, and say what its file system cannot do (docs/storage.md)."""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sshrender.storage import primitives
from sshrender.storage.files import sync_folder
from sshrender.storage.newfiles import create, make_folder, set_mode


class Condition(NamedTuple):
    """One ability of a file system. ``says``: why it lacks it, and the effect; empty if it has it."""

    name: str
    ok: bool
    is_required: bool
    says: str = ""

    def as_json(self) -> dict[str, str | bool]:
        """Return its fields as ``--json`` prints them."""
        return {"name": self.name, "ok": self.ok, "required": self.is_required, "says": self.says}


class _Missing(Exception):
    """Something did not fail, and did not work either."""


def check(folder: Path) -> list[Condition]:
    """Try everything in a folder, and leave nothing there. Never raises OSError."""
    place = folder / f".probe-{uuid.uuid4().hex}"
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        return [Condition("write", False, True, f"cannot be written: {error.strerror}")]
    try:
        found = [
            Condition(name, not says, name in _REQUIRED, says)
            for name, attempt, meaning in _ATTEMPTS
            for says in [_says(attempt, place, meaning)]
        ]
        return [*found, _group(folder, place)]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def missing(conditions: list[Condition]) -> Condition | None:
    """Return the first required condition that is not met; None: a job can run there."""
    return next((each for each in conditions if each.is_required and not each.ok), None)


def _says(attempt: Callable[[Path], None], place: Path, meaning: str) -> str:
    try:
        attempt(place)
    except OSError as error:
        return meaning.format(why=error.strerror or error)
    except _Missing as error:
        return meaning.format(why=error)
    return ""


def _write(place: Path) -> None:
    reason = primitives.try_write(str(place), "condition")
    if reason is not None:
        raise _Missing(reason)


def _create(place: Path) -> None:
    os.close(create(place / "created", 0o600))
    # The second time it must fail: leases and attempts rely on O_EXCL.
    try:
        os.close(create(place / "created", 0o600))
    except FileExistsError:
        return
    raise _Missing("a file was created twice")


def _replace(place: Path) -> None:
    for name in ("old", "new"):
        (place / name).write_text(name)
    primitives.rename(str(place / "new"), str(place / "old"))
    if (place / "old").read_text() != "new":
        raise _Missing("the old file stays")


def _append(place: Path) -> None:
    for _ in range(2):
        with (place / "appended").open("a") as file:
            file.write("line\n")
    if (place / "appended").read_text() != "line\n" * 2:
        raise _Missing("lines are lost")


def _link(place: Path) -> None:
    (place / "one").touch()
    os.link(place / "one", place / "two")


def _set_mode(place: Path) -> None:
    descriptor = create(place / "mode", 0o600)
    try:
        # Twice, as the first mode may be the one that the mount gives.
        for mode in (0o640, 0o600):
            if reason := set_mode(descriptor, mode):
                raise _Missing(reason)
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
                raise _Missing("they stay as they are")
    finally:
        os.close(descriptor)


def _sync(place: Path) -> None:
    if reason := sync_folder(place):
        raise _Missing(reason)


def _group(folder: Path, place: Path) -> Condition:
    """Say whether what is made in a group's folder belongs to that group."""
    status = folder.stat()
    says = ""
    if status.st_mode & stat.S_ISGID:
        inner = place / "group"
        make_folder(inner, 0o2750)
        made = inner.stat()
        if made.st_gid != status.st_gid or not made.st_mode & stat.S_ISGID:
            says = "new folders do not get its group: hosts that log in as another user cannot read them"
    # Without the bit a group can write to the folder, but does not own what is made in it.
    elif status.st_mode & 0o020 and not status.st_mode & 0o005:
        says = (
            "its group may write to it, but it has no set-group-ID bit (chmod g+s):"
            " hosts that log in as another user of the group cannot read jobs"
        )
    return Condition("group", not says, False, says)


REPLACE = "a file cannot be replaced by renaming another: {why}"
"""A job reports this as well, if it is the first to try."""

_REQUIRED = frozenset(("write", "create", "replace", "append"))

_ATTEMPTS: tuple[tuple[str, Callable[[Path], None], str], ...] = (
    ("write", _write, "cannot be written: {why}"),
    ("create", _create, "no file can be created exclusively (O_EXCL): {why}"),
    ("replace", _replace, REPLACE),
    ("append", _append, "a file cannot be appended to: {why}"),
    (
        "links",
        _link,
        "no hard links ({why}): leases are claimed by exclusive creation, and pages are copied",
    ),
    ("modes", _set_mode, "modes cannot be changed ({why}): files keep those of the mount"),
    ("sync", _sync, "folders cannot be flushed ({why}): a crash may lose the names of new files"),
)
"""The name of each condition, what is tried, and what it means when that fails."""
