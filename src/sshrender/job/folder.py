"""Name the files in the folder of one job, create its folders and check their owners."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from sshrender.document.splitting import PARTS, SOURCE
from sshrender.errors import ExitCode, UserError
from sshrender.job.leasefiles import EPOCHS
from sshrender.storage.files import dangling_link, open_folder
from sshrender.storage.newfiles import folder_mode, make_folder

WORK = "work"

BATCH = "batch"
"""The folders of arrays of pilots; nothing in them is needed after the job."""

_EPOCH = re.compile(r"(?:^|\.)e(\d{1,18})\b")
"""The epoch in the name of each file in ``work/``: it identifies the coordinator that requested it."""


@dataclass(frozen=True)
class JobFolder:
    """``<san>/<stem>-<digest>``: the folder of a job."""

    path: Path

    @property
    def name(self) -> str:
        """The job's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """The file that says what to render; it makes the folder a job."""
        return self.path / "job.json"

    @property
    def attributes(self) -> Path:
        """The file of the data that may change."""
        return self.path / "attributes.json"

    @property
    def source(self) -> Path:
        """The document."""
        return self.path / SOURCE

    @property
    def parts(self) -> Path:
        """Its parts, if it was split."""
        return self.path / PARTS

    @property
    def journal(self) -> Path:
        """Every event of every run."""
        return self.path / "journal.jsonl"

    @property
    def lease(self) -> Path:
        """The file that names its coordinator."""
        return self.path / "lease"

    @property
    def requests(self) -> Path:
        """The folder of requests from other machines to the coordinator."""
        return self.path / "requests"

    @property
    def work(self) -> Path:
        """Attempts in progress: the one folder that hosts write to."""
        return self.path / WORK

    @property
    def pages(self) -> Path:
        """Verified pages."""
        return self.path / "pages"

    @property
    def thumbnails(self) -> Path:
        """A small image of each page for which a host had the time."""
        return self.path / "thumbs"

    @property
    def overview(self) -> Path:
        """All pages on one sheet, for a browser."""
        return self.path / "overview.html"

    @property
    def manifest(self) -> Path:
        """The list of all pages, written at the end."""
        return self.path / "manifest.json"

    def create(self) -> None:
        """Create the folders that are missing. The job is as open as the folder that contains it.

        Hosts may log in as another user than the coordinator's. ``work/`` is therefore writable for
        every user who can enter the job's own folder, sticky like ``/tmp`` so that none can touch
        another's files, and with all of the mode that makes the kernel refuse other users' links, FIFOs
        and files in it (proc_sys_fs(5): protected_symlinks, protected_fifos, protected_regular). In a
        shared folder of a group every folder, and so every file of a host, belongs to that group.
        Raises UserError as require_own_folders does, or OSError.
        """
        self.require_workspaces()
        mode = folder_mode(self.path.parent)
        for folder in (self.path, self.pages, self.parts, self.requests, self.thumbnails):
            make_folder(folder, mode)
        # Work: the mode of the others and, unless it is a private folder, write permission for all and
        # the sticky bit (0o1000).
        make_folder(self.work, mode | 0o1077 if mode & 0o055 else mode)

    def belongs_to(self, user: int) -> bool:
        """Whether this is a folder of this user: in a shared folder every user may have made it."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == user

    def require_workspaces(self) -> None:
        """Raise UserError if a folder of the job is now a symbolic link or another user's folder.

        A host that logs in as the owner can put a link there: what is removed or written below it would
        be elsewhere. Raises OSError, too.
        """
        try:
            owner = self.path.lstat().st_uid
        except FileNotFoundError:
            return
        # EPOCHS and BATCH are not in _inner(): they are made with the first claim and the first pilot.
        for folder in (self.path, *self._inner(), self.path / EPOCHS, self.path / BATCH):
            try:
                status = folder.lstat()
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
                raise _no_workspace(folder, status.st_mode)

    def complete(self) -> None:
        """Check before a run that every folder exists and is the owner's. Raises as create."""
        self.require_workspaces()
        # lexists: require_workspaces() has refused links already.
        if not all(os.path.lexists(folder) for folder in self._inner()) or self._has_lost_group():
            self.create()

    def _has_lost_group(self) -> bool:
        """Whether it is in a group's shared folder, and does not belong to that group.

        An earlier version made such jobs, and cp(1) does.
        """
        parts = (self.path.parent, self.path, self.work)
        return len({path.stat().st_mode & stat.S_ISGID for path in parts}) > 1

    def _inner(self) -> tuple[Path, ...]:
        return self.pages, self.parts, self.requests, self.thumbnails, self.work

    def clear_work(self, below: int) -> None:
        """Remove what attempts of epochs below this one left, and what belongs to no epoch.

        Harmless without a lease, too: a coordinator that was stopped just before this, and continues
        when another one has the job, must not remove what that one's hosts write.
        """
        # Removed by descriptor: a symbolic link in place of the folder would lead to others' files.
        place = open_folder(self.work)
        try:
            for name in os.listdir(place):  # noqa: PTH208 - of a descriptor
                epoch = _EPOCH.search(name)
                # A name without an epoch was not made by a coordinator.
                if epoch is None or int(epoch.group(1)) < below:
                    # A folder that a host has made there stays; it harms nothing.
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=place)
        finally:
            os.close(place)


_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "another user's folder"),
)
"""Kinds of files that may have the name of a job's folder; anything else is a device."""


def _no_workspace(folder: Path, mode: int) -> UserError:
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
    name, aside = (shlex.quote(str(path)) for path in (folder, folder.with_name(f"{folder.name}.aside")))
    return UserError(
        ExitCode.STORAGE,
        f"{folder} is not a folder of the job's owner, but {kind}; set it aside, then run the same"
        " command again",
        f"mv {name} {aside}",
    )


def require_san(san: Path) -> None:
    """Raise UserError if the shared folder does not exist."""
    if not san.is_dir():
        # mkdir makes no folder under the name of a link that leads nowhere.
        link = dangling_link(san)
        target = str(san) if link is None else os.path.realpath(san)
        why = "" if link is None else f": {link}"
        hint = (
            "mount it, or name another folder with --san DIR;"
            f" if it is new: mkdir -p {shlex.quote(target)}"
        )
        if ":/" in str(san):  # as mount(8) takes it: SERVER:/FOLDER
            hint = "--san takes the folder where this machine mounts it; what is mounted here: findmnt"
        raise UserError(ExitCode.STORAGE, f"the shared folder {san} does not exist{why}", hint)
