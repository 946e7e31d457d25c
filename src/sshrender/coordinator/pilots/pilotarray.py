"""An array of pilots, and each of its elements, as the run that submitted it knows them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from sshrender.coordinator.pilots.pool import PoolReport
from sshrender.transports.batch.arrayfolder import ArrayFolder
from sshrender.transports.batch.engines.interface import ArrayHandle, Element, ElementState
from sshrender.transports.batch.filelink import FileTransport

MAX_ABSENT = 2
"""Queries that do not list an element that never spoke, after which it has ended."""

_QUEUED = (ElementState.WAITING, ElementState.HELD)


@dataclass(slots=True)
class Pilot:
    """An element of an array, as this run knows it."""

    host: str
    transport: FileTransport
    token: str = ""
    is_live: bool = False
    has_ended: bool = False
    is_dismissed: bool = False
    """Whether it was told to give its allocation back."""
    changed_at: float = 0.0
    """The time of its start or end, as time.time() counts: an answer may be older."""
    leaves_by: float | None = None
    """The time at which it counts as ended without having reported its end; on the manager's clock."""
    absent: int = 0
    running_unheard: int = 0
    element: Element | None = None

    @property
    def is_waiting(self) -> bool:
        """Return whether it is in the queue, as far as is known."""
        return not self.is_live and not self.has_ended

    def start(self, token: str) -> None:
        """Note that it has reported."""
        self.token, self.is_live, self.has_ended = token, True, False
        self.is_dismissed, self.leaves_by = False, None
        self.changed_at = time.time()

    def end(self) -> None:
        """Note that it has ended, or that its end is not waited for."""
        self.is_live, self.has_ended = False, True
        self.changed_at = time.time()

    def note_element(self, element: Element | None) -> None:
        """Take in the answer of a query about it; None: it is not listed."""
        self.element = element
        # Preempted, or its node failed: the engine has queued it again, and it may start again.
        if self.has_ended and element is not None and element.state in _QUEUED:
            self.has_ended = False
            self.absent = self.running_unheard = 0

    def fault(self) -> str:
        """Return why it will not report, after one more query; empty while it may."""
        element = self.element
        if element is None:
            self.absent += 1
            return "a pilot left the queue before it reported" if self.absent >= MAX_ABSENT else ""
        self.absent = 0
        if element.is_stuck:
            return element.reason
        if element.state in _QUEUED:
            self.running_unheard = 0
        if element.state is ElementState.RUNNING:
            self.running_unheard += 1
            if self.running_unheard > MAX_ABSENT:
                return f"a pilot on {element.node} started and did not report"
        return ""


@dataclass(frozen=True, slots=True)
class SilentPilot:
    """A pilot that will not report. ``is_listed``: the engine still has it, so it is to be cancelled.

    ``is_charged``: it has probably started and failed.
    """

    index: int
    reason: str
    is_listed: bool
    is_charged: bool = True


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
    is_inherited: bool = False
    """Whether an earlier coordinator has submitted it, which may have held or cancelled elements."""
    was_listed: bool = False
    avoid: tuple[str, ...] = ()
    """The nodes that its submission excludes."""

    @property
    def number(self) -> str:
        """Return its number; empty while its id is not known."""
        return digits(self.handle.array)

    def waiting(self) -> list[int]:
        """Return the indexes of those that wait."""
        return [index for index, pilot in self.pilots.items() if pilot.is_waiting]

    def unneeded(self) -> list[int]:
        """Return the indexes of those to cancel at the end: they wait, or may be queued again."""
        # An engine queues a pilot again if it has preempted the pilot, or if the node has failed. One
        # that runs ends by itself when it finds the tombstone.
        return [index for index, pilot in self.pilots.items() if not pilot.is_live]

    def identify(self, elements: Iterable[Element]) -> list[Element]:
        """Return which of the elements are its own; they tell its id if that is not known."""
        mine = [
            each
            for each in elements
            # By name as well: an engine that lost the answer has no number here.
            if each.name == self.handle.name or (self.number and self.number == digits(each.array))
        ]
        if mine and not self.handle.array:  # the answer to its submission was lost
            self.handle = ArrayHandle(self.handle.name, mine[0].array)
        return mine

    def match(self, elements: Iterable[Element], asked_at: float) -> list[SilentPilot]:
        """Take in the list of a query; return the pilots that are given up."""
        mine = self.identify(elements)
        # An element that ended may still be listed for a while.
        by_index = {each.index: each for each in mine if each.state is not ElementState.ENDED}
        held = [each for each in mine if each.state is ElementState.HELD and not each.is_stuck]
        if self.is_inherited and not self.was_listed:
            self.is_held = bool(held)
        self.was_listed = self.was_listed or bool(mine)
        silent = []
        for index, pilot in self.pilots.items():
            if pilot.changed_at > asked_at:
                continue
            pilot.note_element(by_index.get(index))
            if pilot.is_waiting and (reason := pilot.fault()):
                pilot.has_ended = True
                is_listed = pilot.element is not None
                # Pilots that an earlier coordinator cancelled, or that the engine never got, are absent.
                may_be_absent = self.is_inherited or not (self.handle.array or self.was_listed)
                silent.append(SilentPilot(index, reason, is_listed, is_listed or not may_be_absent))
        # Only when the engine lists none of it either: an element that it lists may still start.
        self.is_over = not mine and all(pilot.has_ended for pilot in self.pilots.values())
        return silent


def report_of(pool: str, arrays: Iterable[PilotArray], may_come: bool, reason: str) -> PoolReport:
    """Return the state of a pool's pilots. ``may_come``: one may be submitted yet."""
    pilots = [pilot for array in arrays for pilot in array.pilots.values()]
    waiting = [pilot for pilot in pilots if pilot.is_waiting]
    live = sum(pilot.is_live for pilot in pilots)
    elements = [pilot.element for pilot in waiting if pilot.element is not None]
    return PoolReport(
        pool=pool,
        waiting=len(waiting),
        running=live,
        expected=len(waiting) or int(may_come and not live),
        reason=reason or next((each.reason for each in elements if each.reason), ""),
        start=min((each.start for each in elements if each.start), default=""),
    )


def digits(array: str) -> str:
    """Return the number with which the id of an array begins; empty if it has none."""
    found = re.match(r"\d+", array)
    return found[0] if found else ""
