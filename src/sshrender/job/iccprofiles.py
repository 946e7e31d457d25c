"""ICC profiles that switches of Ghostscript name: they travel with the job, as files in its folder.

A profile's file is named by its digest. So the switch in ``job.json`` says which content is meant, the
job's name depends on it, and no machine needs the path that the user typed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sshrender.document.facts import Stamp, open_document
from sshrender.document.staging import digest_plain
from sshrender.errors import ExitCode, UserError
from sshrender.job.folder import JobFolder
from sshrender.renderers import switches
from sshrender.shellwords import path_word
from sshrender.storage.files import open_plain, write_whole

NAME = re.compile(r"profile-([0-9a-f]{64})\.icc")
"""The name of a profile's file in the job's folder."""

MAX_BYTES = 64 << 20
"""Profiles of printers have up to 10 MB; device links a little more."""

_HEADER_BYTES, _COLOURS, _SIGNATURE = 128, slice(16, 20), slice(36, 40)
"""ICC.1:2022, 7.2: the header, and where its colour space and its signature ``acsp`` are."""


class Profile(NamedTuple):
    """A profile that the user named, as it was when the command started."""

    name: str
    data: bytes

    @property
    def colour_space(self) -> str:
        """The colours, as in renderers/devices.py: RGB, CMYK, GRAY and others."""
        return self.data[_COLOURS].decode("ascii", "replace").strip()


class Taken(NamedTuple):
    """The switches with the names that profiles have in the job's folder, and these profiles.

    ``output_name``: how the user named the profile of the device.
    """

    options: tuple[str, ...]
    profiles: tuple[Profile, ...]
    output_name: str


def taken(options: Sequence[str]) -> Taken:
    """Read the profiles that switches name. Raises UserError if a file is not there or no profile."""
    changed, found, output_name = list(options), {}, ""
    for number, path in switches.profiles(options):
        switch = switches.parse(options[number])
        profile = _read(Path(path), switch)
        changed[number] = f"-s{switch.name}={profile.name}"
        found[profile.name] = profile
        if switch.name == switches.OUTPUT_PROFILE:
            # Below a folder of the host such a name would lead out of it.
            output_name = str(Path(path).resolve()) if ".." in path.split("/") else path
    # A switch that names a profile which comes with Ghostscript needs no name of a user.
    if switches.output_profile(changed) in switches.SHIPPED_PROFILES:
        output_name = ""
    return Taken(tuple(changed), tuple(found.values()), output_name)


def names(options: Sequence[str]) -> tuple[str, ...]:
    """Return the files in the job's folder that a job's switches name."""
    return tuple(dict.fromkeys(name for _, name in switches.profiles(options)))


def copy(folder: JobFolder, profiles: Iterable[Profile]) -> None:
    """Copy profiles into the job's folder, unless they are there. Raises OSError."""
    for profile in profiles:
        # A file with the name and another content is replaced as well.
        if _stamp(folder, profile.name) is None:
            write_whole(folder.path / profile.name, profile.data)


def require(folder: JobFolder, options: Sequence[str]) -> dict[str, Stamp]:
    """Return the stamp of each profile. Raises UserError if one is missing or has another content."""
    stamps = {name: _stamp(folder, name) for name in names(options)}
    for name, stamp in stamps.items():
        if stamp is None:
            raise UserError(
                ExitCode.STORAGE,
                f"{folder.path / name}: this ICC profile of the job is missing or was changed",
                "render or submit the document again with the same --gs-option, which copies it again",
            )
    return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def are_same(folder: JobFolder, before: Mapping[str, Stamp]) -> bool:
    """Return whether every profile is the file that it was; before each page is published."""
    return all(_is_same(folder, name, stamp) for name, stamp in before.items())


def _is_same(folder: JobFolder, name: str, before: Stamp) -> bool:
    try:
        # Opened, because NFS asks the server on open(2) only (nfs(5), close-to-open).
        with open_plain(folder.path / name) as file:
            now = Stamp.of(os.fstat(file.fileno()))
    except OSError:
        return False
    # A file system that is mounted again may have other numbers. The digest decides if the numbers
    # changed: the name is made of it.
    return now == before or _stamp(folder, name) is not None


def _stamp(folder: JobFolder, name: str) -> Stamp | None:
    """Return the stamp of a profile; None if its file is missing or has another content."""
    path = folder.path / name
    try:
        # A stamp and a digest of one open file; the size only tells digest_plain what to expect.
        stamp, found = digest_plain(path, path.lstat().st_size)
    except OSError:
        return None
    return stamp if f"profile-{found}.icc" == name else None


def _read(path: Path, switch: switches.Switch) -> Profile:
    what, hint = f"--gs-option -s{switch.name}: {path}", f"ls -l {path_word(path)}"
    try:
        with open_document(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(ExitCode.USAGE, f"{what}: {error.strerror}", hint) from None
    # More than MAX_BYTES was asked for, so that a file that is too large is noticed.
    if len(data) > MAX_BYTES or len(data) <= _HEADER_BYTES or data[_SIGNATURE] != b"acsp":
        raise UserError(ExitCode.USAGE, f"{what}: this is not an ICC profile", hint)
    return Profile(f"profile-{hashlib.sha256(data).hexdigest()}.icc", data)
