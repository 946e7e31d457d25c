"""Renew the lease in a thread: its heartbeat shows other machines that the run is alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sshrender.coordinator.workers.writeerrorscope import NameTrouble
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
        # The thread is a daemon: a storage that hangs does not keep the process alive.
        self._thread.join(1.0)

    def _run(self) -> None:
        trouble = NameTrouble(NAME_WAIT)
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._lease.beat()
                # A time of success ends the suspicion of the name.
                trouble.clear()
            except LeaseLost:
                self._post(LeaseGone())
                return  # nothing to release: the lease is another coordinator's
            # It continues: the lease is lost only if another coordinator takes it.
            except OSError as error:
                is_final = self._folder is not None and trouble.is_lasting(error, self._folder, "lease")
                where = f" in {self._folder}" if self._folder is not None else ""
                reason = f"cannot renew the lease{where}: {error.strerror}"
                self._post(ev.StorageFailed(reason, is_final))
        self._lease.release()
