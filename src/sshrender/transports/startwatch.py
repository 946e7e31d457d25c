"""Finds out whether something else runs in place of a runner that does not begin.

A start-up file (``exec fish`` in ``~/.bashrc``) or a forced command may start another program than the
one that was asked for. Some read their input to its end before they do anything, and a runner's input
ends last. So if the loader stays silent, the same command is run once more on the same connection, with
an input that ends at once. A host that is only slow does not answer that either, and is waited for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol

from sshrender.transports import payload
from sshrender.transports.interface import OTHER_SHELL, Link, LinkClosed, RunnerSpec
from sshrender.transports.loaderlink import LoaderLink

TEST_AFTER = 5.0
"""Seconds until the test: a loader says within one that it runs, if the shell's start-up files are
short."""

TEST_TIMEOUT = 20.0
"""Seconds for the test. Start-up files that take longer are waited for as long as for any hello."""


class TestedLink(Link, Protocol):
    """A link whose connection can run the command of the runner a second time."""

    def test(self, timeout: float) -> int | None:
        """Run it with payload.TEST as its whole input; return its exit status, None if there is none."""
        ...


class WatchedLink(LoaderLink):
    """A link to a loader of which it is not known whether it runs. See Link."""

    def __init__(self, link: TestedLink, spec: RunnerSpec) -> None:
        super().__init__(link, spec)
        self._tested = link
        self._since = time.monotonic()
        self._is_replaced = False
        self._end = b""
        self._test: threading.Thread | None = None

    def _look_at(self, data: bytes) -> None:
        super()._look_at(data)
        if self.has_spoken:
            return
        seen = self._end + data
        self._end = seen[-len(payload.BEGINNING) :]  # it may arrive in two pieces
        # A program that repeats its input (cat) is not Python.
        if self._is_replaced or payload.BEGINNING in seen:
            raise LinkClosed("another program runs in place of the runner", OTHER_SHELL)
        if self._test is None and time.monotonic() - self._since > TEST_AFTER:
            # In a thread, as the loader may speak meanwhile.
            self._test = threading.Thread(target=self._run_test, daemon=True, name="test the shell")
            # Without a thread to spare (ulimit -u) the host has the time that it takes to start.
            with contextlib.suppress(RuntimeError):
                self._test.start()

    def _run_test(self) -> None:
        # Any other status may have a cause that is none for the runner, such as a limit on sessions.
        self._is_replaced = self._tested.test(TEST_TIMEOUT) == OTHER_SHELL
