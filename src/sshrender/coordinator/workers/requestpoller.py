"""The thread that looks for requests of other people, on other machines or in a dashboard here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import assert_never

from sshrender.coordinator.plan import JobPlan
from sshrender.core import events as ev
from sshrender.errors import UserError
from sshrender.job import drains, queueoperations, requests
from sshrender.job.drains import Drain
from sshrender.job.lease import LeaseLost
from sshrender.job.operations import Operation
from sshrender.job.requests import Request

LOOK = 0.5
"""Seconds between two looks: a listing of an empty folder each."""

CLOSING = 1.0


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """Somebody asks for something."""

    request: Request


@dataclass(frozen=True, slots=True)
class RequestsRefused:
    """Files in ``requests/`` were not signed with the owner's key. Told once in a run."""

    count: int


def event_of(request: Request, limit: int | None = None) -> ev.Event:
    """The scheduler's event for a request. ``limit``: the job's, now that this was recorded."""
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
        case _:
            assert_never(request.op)


def drained_event(drain: Drain) -> ev.DrainRequested:
    """The scheduler's event for a host that is out of use for every job."""
    return ev.DrainRequested(drain.host, drain.by, drain.note)


class RequestPoller:
    """Posts what it finds until it is stopped. ``drained``: those of the ``hosts`` that are known to be.

    What changes the job's attributes is on record before anybody hears of it: ``fence`` raises LeaseLost
    when they are not ours to change; ``epoch`` is our lease's.
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
        hosts: Collection[str] = (),
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
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait long for a SAN that hangs."""
        self._stop.set()
        self._thread.join(CLOSING)

    def _look_at_drains(self) -> None:
        try:
            drained = self._drains.read()
        except OSError:
            return  # as above
        for name, drain in drained.items():
            if self._drained.get(name) != drain:
                self._post(drained_event(drain))
        for name in self._drained.keys() - drained.keys():
            self._post(ev.UndrainRequested(name, "somebody"))
        self._drained = drained

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._fence()
                self._refuse(requests.take(self._folder, self._do))
            except (OSError, UserError):
                pass  # others report the storage; a request stays where it is until it is back
            except LeaseLost:
                return  # requests are for whoever has the job now
            self._look_at_drains()
            self._stop.wait(LOOK)

    def _refuse(self, count: int) -> None:
        """One entry in a run, however many files a host lays there: the journal stays small."""
        if count and not self._has_refused:
            self._has_refused = True
            self._post(RequestsRefused(count))

    def _do(self, request: Request) -> None:
        plan = self._plan
        admitted = queueoperations.admit(plan.attributes, request)
        if admitted is None:
            return
        changed = queueoperations.after(admitted, request, time.time())
        if changed != plan.attributes:
            changed.save(self._folder, self._epoch)
            plan.attributes = changed
        self._fence()  # the request stays where it was not ours to do
        self._post(RequestReceived(request))
