"""The thread that reads requests of users, made on other machines or in a dashboard here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import assert_never

from sshrender.coordinator.jobplan import JobPlan
from sshrender.core import events as ev
from sshrender.errors import UserError
from sshrender.job.lease import LeaseLost
from sshrender.job.queue import drains, queueoperations, requests
from sshrender.job.queue.drains import Drain
from sshrender.job.queue.requestoperations import Operation
from sshrender.job.queue.requests import Request

POLL_INTERVAL = 0.5
"""Seconds between two listings of the requests' folder, which is usually empty."""

SHUTDOWN_TIMEOUT = 1.0
"""Seconds that the thread gets to end: the SAN may hang."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A user's request was recorded if it changes the job, and is to be carried out."""

    request: Request


@dataclass(frozen=True, slots=True)
class RequestsRefused:
    """Files in ``requests/`` were not signed with the owner's key. Posted once in a run."""

    count: int


def event_of(request: Request, limit: int | None = None) -> ev.Event:
    """Return the scheduler's event for a request.

    ``limit``: the job's, after the request was recorded.
    """
    match request.op:
        case Operation.HOLD:
            return ev.HoldRequested(request.by)
        case Operation.RELEASE:
            return ev.ReleaseRequested(request.by)
        case Operation.DRAIN:
            return ev.DrainRequested(request.host, request.by, request.note)
        case Operation.UNDRAIN:
            return ev.UndrainRequested(request.host, request.by)
        case Operation.MOVE:
            return ev.MoveRequested(request.page, request.host, request.by)
        case Operation.RETRY:
            return ev.RetryRequested(request.page, request.by)
        case Operation.ALTER | Operation.RESUBMIT | Operation.REMARK:
            return ev.LimitChanged(limit, request.by)
        case Operation.CANCEL:
            return ev.CancelRequested(request.by)
        # mypy reports an operation that has no case.
        case _:
            assert_never(request.op)


def drained_event(drain: Drain) -> ev.DrainRequested:
    """Return the scheduler's event for a host that is drained for every job."""
    return ev.DrainRequested(drain.host, drain.by, drain.note)


class RequestPoller:
    """Posts requests until it is stopped. ``drained``: the hosts that are known to be drained.

    Changes of the job's attributes are saved before the request is posted. ``fence`` raises LeaseLost
    once another coordinator has the job; ``epoch`` is our lease's.
    """

    def __init__(
        self,
        plan: JobPlan,
        post: Callable[
            [RequestReceived | RequestsRefused | ev.DrainRequested | ev.UndrainRequested], None
        ],
        fence: Callable[[], None],
        drained: Mapping[str, Drain],
        epoch: int | None = None,
        hosts: Collection[str] | None = (),
    ) -> None:
        self._drains = drains.DrainReader(plan.folder.path.parent, hosts)
        self._plan = plan
        self._epoch = epoch
        self._folder = plan.folder
        self._fence = fence
        self._post = post
        self._drained = dict(drained)
        self._has_refused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="requests")

    def start(self) -> None:
        """Start to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling; wait a moment for the thread's end."""
        self._stop.set()
        self._thread.join(SHUTDOWN_TIMEOUT)

    def _read_drains(self) -> None:
        try:
            drained = self._drains.read()
        except OSError:
            return  # the storage is reported by others
        # Compared with what was posted before, as the folder is read whole each time.
        for name, drain in drained.items():
            if self._drained.get(name) != drain:
                self._post(drained_event(drain))
        for name in self._drained.keys() - drained.keys():
            # The file that named the user is gone.
            self._post(ev.UndrainRequested(name, "a user"))
        self._drained = drained

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                # Requests are removed when they are taken, so the job must still be ours.
                self._fence()
                self._refuse(requests.take(self._folder, self._carry_out))
            except (OSError, UserError):
                pass  # other threads report the storage; the request stays in its folder until it works
            except LeaseLost:
                return  # requests are for the coordinator that has the job now
            self._read_drains()
            self._stop.wait(POLL_INTERVAL)

    def _refuse(self, count: int) -> None:
        """Post once in a run, however many files a host puts there, so that the journal stays small."""
        if count and not self._has_refused:
            self._has_refused = True
            self._post(RequestsRefused(count))

    def _carry_out(self, request: Request) -> None:
        plan = self._plan
        admitted = queueoperations.admit(plan.attributes, request)
        if admitted is None:
            return
        # Saved before it is posted: a crash in between must not lose what the user was promised.
        changed = queueoperations.after(admitted, request, time.time())
        if changed != plan.attributes:
            changed.save(self._folder, self._epoch)
            plan.attributes = changed
        self._fence()  # if this raises, the request stays for the other coordinator
        self._post(RequestReceived(request))
