"""Routes requests to hosts: over their connection, or through a file transfer if there is no SAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sshrender.coordinator.hosts.connection import HostConnection
from sshrender.coordinator.hosts.documentparts import DocumentParts
from sshrender.coordinator.hosts.filetransfer import FileTransfer, TransferFailed
from sshrender.coordinator.hosts.handshake import preparation
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.coordinator.workers import verificationresults as vf
from sshrender.core import commands as do
from sshrender.core import events as ev
from sshrender.document.splitting import place
from sshrender.job.nonce import Nonce
from sshrender.renderers.constants import FILE_TO_MEMORY


class HostRouter:
    """Carries out the scheduler's commands that concern a host. No method waits.

    ``split``: pages of each part that hosts with a SAN find there; 0: the document is whole.
    """

    def __init__(
        self,
        plan: JobPlan,
        setups: Mapping[str, HostSetup],
        connections: ConnectionPool,
        nonce: Nonce,
        post: Callable[[Any], None],
    ) -> None:
        self.split = plan.spec.settings.split
        self.document_parts = DocumentParts(plan)
        self._plan = plan
        self._setups = setups
        self._connections = connections
        self._nonce = nonce
        self._post = post
        self._current: dict[str, HostConnection] = {}
        self._transfers: dict[str, FileTransfer] = {}

    def is_current(self, link: HostConnection) -> bool:
        """Return whether this is the connection in use: messages of earlier ones do not count."""
        # Identity: after a reconnection the name is the same.
        return self._current.get(link.host) is link

    def needs_transfer(self, host: str) -> bool:
        """Return whether files are copied to and from this host."""
        return self._setups[host].san is None

    def connect(self, host: str) -> None:
        """Connect to a host and send it the job: an idle one starts its renderers while it answers."""
        self.close(host)  # a connection of before, if any
        setup = self._setups[host]
        link = self._current[host] = self._connections.take(setup)
        if self.needs_transfer(host):
            largest = FILE_TO_MEMORY * self._plan.request.limits.page_memory
            self._transfers[host] = FileTransfer(link, self.document_parts, largest, self._post)
        # Sent before the host has answered anything: so its preparation costs no round trip.
        link.send("prepare", **preparation(self._plan, setup, self._nonce, self.split))

    def begin(self, host: str, folder: str) -> None:
        """Start file transfers with a host without a SAN, which works in ``folder``."""
        if host in self._transfers:
            self._transfers[host].begin(folder)

    def render(self, command: do.RenderPage, output: str) -> None:
        """Have a page rendered into ``output``, a file below the job's folder."""
        recipe = command.renderer if self._plan.spec.settings.recipes else None
        if recipe is not None and self._plan.is_sized(recipe):
            recipe = None  # the built-in renderer, which the protocol states by no recipe
        file_transfer = self._transfers.get(command.host)
        if file_transfer is not None:
            file_transfer.render(command.page, command.attempt, output, recipe)
            return
        # ``split`` is read for each page: it changes to 0 when the document cannot be split.
        where = place(command.page, self.split)
        self.send(
            command.host,
            "render",
            attempt=command.attempt,
            page=command.page,
            file=where.file,
            index=where.index,
            output=output,
            recipe=recipe,
        )

    def recall(self, op: str, command: do.RevokeAttempt | do.KillAttempt) -> None:
        """Revoke or kill an attempt: on its host, or here if it was not sent yet."""
        file_transfer = self._transfers.get(command.host)
        # An attempt whose upload still waits never reached the host: it returns at once.
        if file_transfer is not None and file_transfer.cancel(command.attempt):
            # Through the inbox, not at once: the scheduler is in the middle of its commands.
            self._post(ev.AttemptRevoked(command.host, command.attempt))
        else:
            self.send(command.host, op, attempt=command.attempt)

    def drop(self, host: str, attempt: str) -> None:
        """Do not copy the page of this attempt any more."""
        if host in self._transfers:
            self._transfers[host].drop(attempt)

    def fetch(self, task: vf.VerificationTask) -> None:
        """Copy a rendered page here; answered as FileTransfer.fetch is."""
        if task.host in self._transfers:
            self._transfers[task.host].fetch(task)
        else:
            self._post(TransferFailed(task, "the connection to its host was closed before it arrived"))

    def transfer_seconds(self, host: str, attempt: str) -> float:
        """Return the seconds that a page spent on the wire."""
        return self._transfers[host].transfer_seconds(attempt) if host in self._transfers else 0.0

    def send(self, host: str, op: str, **fields: Any) -> None:
        """Send a request to a runner, if its host is connected."""
        link = self._current.get(host)
        if link is not None:
            link.send(op, **fields)

    def send_priority(self, priority: int) -> None:
        """Tell all runners the job's new priority, which decides which job gets a slot first."""
        for host in self._current:
            self.send(host, "priority", priority=priority)

    def close(self, host: str) -> None:
        """Close the connection to a host."""
        file_transfer = self._transfers.pop(host, None)
        if file_transfer is not None:
            file_transfer.close()
        link = self._current.pop(host, None)
        if link is not None:
            link.close()

    def close_all(self) -> None:
        """Close all connections."""
        # A copy: close() removes from the dictionary.
        for host in list(self._current):
            self.close(host)
        self.document_parts.close()
