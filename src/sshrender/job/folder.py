"""The folder of one job: which file is where, and who may write it."""

from __future__ import annotations

import contextlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from sshrender.document.splitting import PARTS, SOURCE

WORK = "work"

_EPOCH = re.compile(r"(?:^|\.)e(\d{1,18})\b")
"""In the name of everything that is written to ``work/``: whose coordinator wanted it."""


@dataclass(frozen=True)
class JobFolder:
    """``<san>/<stem>-<digest>``; every name in it is one of ours."""

    path: Path

    @property
    def name(self) -> str:
        """The job's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """What to render; its presence makes the folder a job."""
        return self.path / "job.json"

    @property
    def attributes(self) -> Path:
        """What of it may change."""
        return self.path / "attributes.json"

    @property
    def source(self) -> Path:
        """The document."""
        return self.path / SOURCE

    @property
    def parts(self) -> Path:
        """Its parts, where it was split."""
        return self.path / PARTS

    @property
    def journal(self) -> Path:
        """Every event of every run."""
        return self.path / "journal.jsonl"

    @property
    def lease(self) -> Path:
        """Who coordinates."""
        return self.path / "lease"

    @property
    def requests(self) -> Path:
        """What other machines ask of the coordinator."""
        return self.path / "requests"

    @property
    def work(self) -> Path:
        """Attempts in progress: the one folder that hosts write to."""
        return self.path / WORK

    @property
    def pages(self) -> Path:
        """Proved pages."""
        return self.path / "pages"

    @property
    def thumbnails(self) -> Path:
        """A small picture of each page that a host had time to draw twice."""
        return self.path / "thumbs"

    @property
    def overview(self) -> Path:
        """All pages on one sheet, for a browser."""
        return self.path / "overview.html"

    @property
    def manifest(self) -> Path:
        """The account of every page, at the end."""
        return self.path / "manifest.json"

    def create(self) -> None:
        """Make what is missing. The job is as open as the folder that it lies in.

        Hosts may log in as another user than the coordinator's. ``work/`` is therefore writable for
        whoever gets through the job's own folder, sticky like ``/tmp`` so that none can touch another's
        files, and with all of the mode that makes the kernel refuse other users' links, FIFOs and files
        in it (proc_sys_fs(5): protected_symlinks, protected_fifos, protected_regular).
        """
        openness = stat.S_IMODE(self.path.parent.stat().st_mode) & 0o077
        readable = 0o700 | (openness & 0o055)
        for folder in (self.path, self.pages, self.parts, self.requests, self.thumbnails):
            _make(folder, readable)
        _make(self.work, 0o1777 if readable & 0o055 else 0o700)

    def belongs_to(self, user: int) -> bool:
        """Whether this is a folder, and this user's: in a shared folder anybody may have made it."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(status.st_mode) and status.st_uid == user

    def clear_work(self, below: int) -> None:
        """Remove what attempts left of epochs below this one, and what is of no epoch.

        Harmless without a lease too: a coordinator that was stopped just before this, and goes on when
        another one has the job, must not remove what that one's hosts write.
        """
        for left in self.work.iterdir():
            epoch = _EPOCH.search(left.name)
            if epoch is None or int(epoch.group(1)) < below:
                with contextlib.suppress(OSError):
                    left.unlink()


def _make(folder: Path, mode: int) -> None:
    """Make a folder of exactly this mode; one that exists and is not ours keeps its own."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        with contextlib.suppress(PermissionError):
            folder.chmod(mode)
