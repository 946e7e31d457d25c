"""An array of pilots, and each of its elements, as the run that submitted it knows them."""

from __future__ import annotations

import re
from dataclasses import field

from sshrender.records import dataclass
from sshrender.transports.batch.arrayfolder import ArrayFolder
from sshrender.transports.batch.engines.interface import ArrayHandle, Element
from sshrender.transports.batch.filelink import FileTransport


@dataclass(slots=True)
class Pilot:
    """An element of an array, as this run knows it."""

    host: str
    transport: FileTransport
    token: str = ""
    is_live: bool = False
    has_ended: bool = False
    absent: int = 0
    running_unheard: int = 0
    element: Element | None = None

    @property
    def is_waiting(self) -> bool:
        """Return whether it is in the queue, as far as is known."""
        return not self.is_live and not self.has_ended


@dataclass(slots=True)
class PilotArray:
    """An array of pilots. ``pilots`` by index."""

    handle: ArrayHandle
    folder: ArrayFolder
    pilots: dict[int, Pilot] = field(default_factory=dict)
    is_over: bool = False
    is_held: bool = False
    """Whether the engine was told to hold it."""
    is_submitting: bool = False
    """Whether the engine's answer to its submission is still awaited."""

    @property
    def number(self) -> str:
        """Return its number; empty while its id is not known."""
        return digits(self.handle.array)

    def waiting(self) -> list[int]:
        """Return the indexes of those that wait."""
        return [index for index, pilot in self.pilots.items() if pilot.is_waiting]


def digits(array: str) -> str:
    """Return the number with which the id of an array begins; empty if it has none."""
    found = re.match(r"\d+", array)
    return found[0] if found else ""
