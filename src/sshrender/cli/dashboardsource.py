"""A job on the SAN as the dashboard wants it: what is new, who coordinates, pictures, requests."""

from __future__ import annotations

import contextlib
import errno
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sshrender.cli.jobstore import whoami
from sshrender.config import inventory as inv
from sshrender.document import pagelist
from sshrender.errors import UserError
from sshrender.files import read_plain
from sshrender.job import thumbnails
from sshrender.job.folder import JobFolder
from sshrender.job.journal import JournalTail
from sshrender.job.lease import Observer, in_words
from sshrender.job.requests import Request, ask
from sshrender.job.spec import JobSpec
from sshrender.views.dashboard.source import JobFacts
from sshrender.views.protocol import Entry

MAX_THUMBNAIL_BYTES = 64 << 20
"""Bytes of a page's file that are worth reading in order to show it in a terminal."""

_SHOWABLE = frozenset((".png", ".jpg", ".tif", ".bmp", ".pbm", ".pgm", ".ppm", ".pcx"))
"""What Pillow opens without surprises."""


class JobSource:
    """One job. ``hosts`` as the inventory lists them, for how to get there."""

    def __init__(self, folder: JobFolder, spec: JobSpec, hosts: Sequence[inv.HostTable]) -> None:
        self._folder = folder
        self._tail = JournalTail(folder.journal)
        self._observer = Observer(folder.lease)
        self._hosts = {host.name: host for host in hosts}
        settings = spec.settings
        self._facts = JobFacts(
            name=spec.name,
            folder=str(folder.path),
            document=spec.document.name,
            pages=tuple(pagelist.parse(settings.pages, spec.document.pages)),
            settings=f"{settings.device} at {settings.dpi:g} dpi",
        )

    @property
    def facts(self) -> JobFacts:
        """See Source."""
        return self._facts

    def entries(self) -> list[Entry]:
        """See Source."""
        return self._tail.new()

    def coordinator(self) -> str:
        """See Source."""
        claim = self._observer.holder()
        return "" if claim is None else in_words(claim)

    def request(self, op: str, **fields: Any) -> None:
        """See Source."""
        try:
            ask(self._folder, Request(op, whoami(), **fields))
        except UserError as error:  # the dashboard knows of no keys
            raise PermissionError(errno.EPERM, error.what, str(self._folder.path)) from None

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        """See Source. Large: the page itself, or its thumbnail where no viewer can show it."""
        if Path(page_file).name != page_file:
            return None  # the journal says so, and any host of this user can write into it
        small = self._folder.thumbnails / thumbnails.file_of(page_file)
        page = self._folder.pages / page_file
        for path in (page, small) if large else (small,):
            if path.suffix in _SHOWABLE:
                with contextlib.suppress(OSError):  # none is there, or no regular file of that size
                    return read_plain(path, MAX_THUMBNAIL_BYTES)
        return None

    def ssh_command(self, host: str) -> str:
        """See Source."""
        entry = self._hosts.get(host)
        if entry is None:
            return ""
        words = ["ssh"]
        if entry.identity_file:
            words += ["-i", str(entry.identity_file)]
        if entry.port:
            words += ["-p", str(entry.port)]
        if entry.known_hosts:
            words += ["-o", f"UserKnownHostsFile={entry.known_hosts}"]
        target = entry.address or entry.name
        words.append(f"{entry.user}@{target}" if entry.user else target)
        return shlex.join(words)
