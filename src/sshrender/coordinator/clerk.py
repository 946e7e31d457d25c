"""The thread that looks for requests of other people, on other machines or in a dashboard here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sshrender.core import events as ev
from sshrender.job import drains, requests
from sshrender.job.drains import Drain
from sshrender.job.folder import JobFolder
from sshrender.job.requests import Request

LOOK = 0.5
"""Seconds between two looks: a listing of an empty folder each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for something. ``is_late``: of an earlier run, which did not hear it."""

    request: Request
    is_late: bool = False


def event_of(request: Request) -> ev.Event:
    """The scheduler's event for a request."""
    match request.op:
        case "hold":
            return ev.HoldRequested(request.by)
        case "release":
            return ev.ReleaseRequested(request.by)
        case "drain":
            return ev.DrainRequested(request.host, request.by, request.note)
        case "undrain":
            return ev.UndrainRequested(request.host, request.by)
        case "move":
            return ev.MoveRequested(request.page, request.host, request.by)
        case "retry":
            return ev.RetryRequested(request.page, request.by)
        case _:
            return ev.CancelRequested(request.by)


def drained_event(drain: Drain) -> ev.DrainRequested:
    """The scheduler's event for a host that is out of use for every job."""
    return ev.DrainRequested(drain.host, drain.by, drain.note)


class Clerk:
    """Posts what it finds until it is stopped. ``drained``: the hosts that are known to be."""

    def __init__(
        self,
        folder: JobFolder,
        post: Callable[[Asked | ev.DrainRequested | ev.UndrainRequested], None],
        drained: Mapping[str, Drain],
    ) -> None:
        self._folder = folder
        self._post = post
        self._drained = dict(drained)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="requests")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait for a SAN that hangs."""
        self._stop.set()

    def _look_at_drains(self) -> None:
        try:
            drained = drains.read(self._folder.path.parent)
        except OSError:
            return  # as above
        for name, drain in drained.items():
            if self._drained.get(name) != drain:
                self._post(drained_event(drain))
        for name in self._drained.keys() - drained.keys():
            self._post(ev.UndrainRequested(name, "somebody"))
        self._drained = drained

    def _work(self) -> None:
        is_first = True
        while not self._stop.is_set():
            try:
                found = requests.take(self._folder)
            except OSError:
                found = []  # others report the storage; a request stays where it is until it is back
            for request in found:
                self._post(Asked(request, is_late=is_first))
            is_first = False
            self._look_at_drains()
            self._stop.wait(LOOK)
