"""Provides the dashboard with one job: new journal entries, coordinator, thumbnails, requests."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sshrender.api.jobs import current_user, find_job, on_san
from sshrender.api.sshcommand import SshCommand
from sshrender.config import inventory as inv
from sshrender.config.paths import find_inventory
from sshrender.document import pagelist
from sshrender.errors import UserError
from sshrender.job.folder import JobFolder
from sshrender.job.journal.journal import JournalTail
from sshrender.job.journal.journalentries import JournalEntry
from sshrender.job.lease import Observer, in_words
from sshrender.job.output import thumbnails
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request, ask
from sshrender.job.spec import JobSpec
from sshrender.storage.files import read_plain
from sshrender.views.dashboard.source import JobFacts
from sshrender.views.rendersettings import settings_in_words

MAX_THUMBNAIL_BYTES = 64 << 20
"""Largest page image, in bytes, that is read in order to show it in a terminal."""

_SHOWABLE = frozenset((".png", ".jpg", ".tif", ".bmp", ".pbm", ".pgm", ".ppm", ".pcx"))
"""Formats that Pillow opens without other programs."""


def open_source(
    san: Path, named: str, hosts_file: Path | None, ssh_config: Path | None = None
) -> JobSource:
    """Return the source for the job that the user names. Raises UserError."""
    # Outside of on_san: the inventory is a file of this machine.
    hosts = inventory_hosts(hosts_file)
    return on_san(san, lambda: JobSource(*find_job(san, named), hosts, ssh_config))


def inventory_hosts(named: Path | None) -> list[inv.HostTable]:
    """Return the hosts of the inventory, if one can be read: a job can be watched without."""
    try:
        file = find_inventory(named)
        return [] if file is None else inv.expand(inv.load(file))
    except UserError:
        return []


class JobSource:
    """One job. ``hosts``: as the inventory lists them, for the ssh command of each."""

    def __init__(
        self,
        folder: JobFolder,
        spec: JobSpec,
        hosts: Sequence[inv.HostTable],
        ssh_config: Path | None = None,
    ) -> None:
        self._folder = folder
        self._tail = JournalTail(folder.journal)
        # It judges by changes that it sees itself, so one observer lives as long as the view.
        self._observer = Observer(folder.lease)
        self._ssh_config = None if ssh_config is None else str(ssh_config)
        self._hosts = {host.name: host for host in hosts}
        settings = spec.settings
        self._facts = JobFacts(
            name=spec.name,
            folder=str(folder.path),
            document=spec.document.name,
            pages=tuple(pagelist.parse(settings.pages, spec.document.pages)),
            settings=settings_in_words(settings.model_dump()),
        )

    @property
    def facts(self) -> JobFacts:
        """See Source."""
        return self._facts

    def entries(self) -> list[JournalEntry]:
        """See Source."""
        return self._tail.new()

    def coordinator(self) -> str:
        """See Source."""
        claim = self._observer.holder()
        if claim is not None:
            return in_words(claim)
        silent = self._observer.unresponsive()
        return "" if silent is None else f"{in_words(silent)}, not responding"

    def request(self, op: Operation, **fields: Any) -> None:
        """See Source."""
        try:
            ask(self._folder, Request(op, current_user(), **fields))
        except UserError as error:  # the dashboard knows nothing of keys
            raise PermissionError(errno.EPERM, error.what, str(self._folder.path)) from None

    def page_image(self, page_file: str, *, large: bool) -> bytes | None:
        """See Source. Large: the page itself, or its thumbnail if no viewer can show the page."""
        if Path(page_file).name != page_file:
            return None  # a path from the journal: any host of this user can write into it
        small = [self._folder.thumbnails / name for name in thumbnails.files_of(page_file)]
        page = self._folder.pages / page_file
        for path in (page, *small) if large else small:
            if path.suffix in _SHOWABLE:
                # A file of another kind, or a larger one, is passed over like a missing one.
                with contextlib.suppress(
                    OSError
                ):  # there is none, or it is not a regular file of that size
                    return read_plain(path, MAX_THUMBNAIL_BYTES)
        return None

    def ssh_command(self, host: str) -> str:
        """See Source."""
        entry = self._hosts.get(host)
        if entry is None:
            return ""
        return SshCommand(entry, self._ssh_config).ssh()
