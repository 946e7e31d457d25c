"""Has a Ghostscript count the pages of a document whose own count is not sure.

The hosts are tried one after the other until one answers, this machine first if it has Ghostscript. This
is rare, and happens before the run, so it uses a connection of its own.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from sshrender.coordinator.renderrequest import HostSetup, RunLimits
from sshrender.errors import ExitCode, UserError
from sshrender.renderers.constants import BWRAP, NO_SANDBOX
from sshrender.transports import registry
from sshrender.transports.framing import MessageReader, encode
from sshrender.transports.interface import ConnectFailed, LinkClosed, RunnerSpec, Transport
from sshrender.transports.messages import Inspected, ProtocolError, Trouble

PROBE_TIMEOUT = 300.0
"""Seconds for all hosts together: a document that keeps one of them busy does so with all."""

PROBE_MEMORY = 1 << 30
"""Bytes. Ghostscript 10.00 opens intact documents with 28 MB (measured), and takes memory by the number
of pages that a document claims: 1.1 GB for 276 million."""

_OWN = registry.KINDS[registry.THIS_MACHINE]


class PageCountProbe:
    """Counts pages on these hosts: a PageCounter (coordinator/jobopening.py)."""

    def __init__(self, hosts: Iterable[HostSetup], password: str | None, limits: RunLimits) -> None:
        self._hosts = list(hosts)
        self._password = password
        self._limits = limits
        # The strictest sandbox of the hosts is used here as well: this machine opens the document,
        # too.
        sandboxes = {setup.sandbox for setup in self._hosts}
        self._own_sandbox = BWRAP if BWRAP in sandboxes else NO_SANDBOX

    def __call__(self, san: Path, file: str) -> Inspected:
        """Return the number of pages, 0 if Ghostscript finds none, and its diagnostics.

        Raises UserError if no Ghostscript answers.
        """
        reasons = []
        until = time.monotonic() + PROBE_TIMEOUT
        for name, transport, folder, setup in self._candidates(san):
            try:
                return self._ask(transport, folder, file, setup, until)
            except (ConnectFailed, LinkClosed, ProtocolError, TimeoutError) as error:
                reasons.append(f"{name}: {error}")
            if time.monotonic() >= until:
                break
        raise UserError(
            ExitCode.NO_HOST,
            "the document cannot be read here, and no host's Ghostscript could count its pages"
            + "".join(f"; {reason}" for reason in reasons),
            "install Ghostscript here, or see what the hosts need: sshrender hosts",
        )

    def _candidates(self, san: Path) -> Iterable[tuple[str, Transport, str, HostSetup | None]]:
        if shutil.which("gs") is not None:
            yield "this machine", registry.create(registry.THIS_MACHINE), str(san), None
        for setup in self._hosts:
            if setup.san is None:
                continue  # the whole document would have to be copied first, for one request
            yield setup.plan.name, setup.transport, setup.san, setup

    def _ask(
        self, transport: Transport, folder: str, file: str, setup: HostSetup | None, until: float
    ) -> Inspected:
        """Count on one machine; ``setup`` None: this one.

        Raises the transport's errors or TimeoutError.
        """
        spec = RunnerSpec(setup.python if setup else "python3", "inspection", secrets.token_hex(6), 30.0)
        link = transport.connect(spec, setup.connect_timeout if setup else _OWN.connect_timeout)
        reader = MessageReader(spec.marker)
        try:
            program = setup.ghostscript if setup else "gs"
            slots = setup.plan.slots if setup else None
            requests = encode("hello", ghostscript=program, slots=slots)
            requests += encode(
                "inspect",
                folder=folder,
                device="nullpage",
                dpi="72",
                file=file,
                password=self._password,
                sandbox=setup.sandbox if setup else self._own_sandbox,
                page_timeout=self._limits.page_timeout,
                page_memory=min(self._limits.page_memory, PROBE_MEMORY),
            )
            # Both requests at once: the runner answers them in order.
            link.write(requests, 10.0)
            deadline = min(until, time.monotonic() + self._limits.page_timeout)
            while time.monotonic() < deadline:
                for message in reader.feed(link.read(1.0)):
                    if isinstance(message, Inspected):
                        return message
                    if isinstance(message, Trouble):
                        raise LinkClosed(message.reason)
                # The runner would take silence for the end of this side.
                link.write(encode("ping"), 10.0)
            raise TimeoutError("no answer in time")
        except LinkClosed as closed:
            # The runner's last words explain an end that the transport only notices.
            raise LinkClosed(": ".join([closed.reason, *list(reader.noise)[-1:]])) from None
        finally:
            link.close()
