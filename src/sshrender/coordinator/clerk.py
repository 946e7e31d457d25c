"""The thread that looks for requests of other people, on other machines or in a dashboard here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sshrender.core import events as ev
from sshrender.job import requests
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
        case "retry":
            return ev.RetryRequested(request.page, request.by)
        case _:
            return ev.CancelRequested(request.by)


class Clerk:
    """Posts what it finds until it is stopped."""

    def __init__(self, folder: JobFolder, post: Callable[[Asked], None]) -> None:
        self._folder = folder
        self._post = post
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="requests")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; does not wait for a SAN that hangs."""
        self._stop.set()

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
            self._stop.wait(LOOK)
