"""Renew the lease in a thread: its heartbeat shows other machines that the run is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sshrender.coordinator.workers.writefailure import is_of_one_name
from sshrender.core import events as ev
from sshrender.core.policy import NAME_WAIT
from sshrender.job.lease import BEAT_SECONDS, Lease, LeaseLost


@dataclass(frozen=True, slots=True)
class LeaseGone:
    """Another coordinator has taken the job over."""

    REASON: ClassVar[str] = "another coordinator took this job over"


class LeaseRenewer:
    """Renews the lease until stopped, then releases it."""

    def __init__(
        self,
        lease: Lease,
        post: Callable[[LeaseGone | ev.StorageFailed], None],
        folder: Path | None = None,
    ) -> None:
        """``folder``: the lease's, to find out whether other files can be written there."""
        self._lease = lease
        self._folder = folder
        self._post = post
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Start to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Release the lease; wait a little for a slow storage."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        first: float | None = None
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._lease.beat()
                first = None
            except LeaseLost:
                self._post(LeaseGone())
                return  # nothing to release: the lease is another coordinator's
            except OSError as error:
                first = time.monotonic() if first is None else first
                is_final = (
                    time.monotonic() - first >= NAME_WAIT
                    and self._folder is not None
                    and is_of_one_name(error, self._folder, "lease")
                )
                self._post(ev.StorageFailed(f"cannot renew the lease: {error.strerror}", is_final))
        self._lease.release()
