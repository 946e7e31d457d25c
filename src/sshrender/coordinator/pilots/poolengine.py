"""Gives orders about a pool's arrays to its engine, and says when the engine is asked next.

An engine that does not answer, or refuses, is no error here: the order is given again later, and why it
failed is shown to the user.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sshrender.coordinator.pilots.pilotarray import PilotArray
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.coordinator.pilots.sharedqueries import (
    MAX_QUERY_INTERVAL,
    QUERY_INTERVAL,
    Listing,
    SharedQueries,
)
from sshrender.transports.batch.engines.interface import (
    Command,
    EngineUnavailable,
    SubmissionRefused,
)

FIRST_QUERY = 15.0
"""Seconds from a submission to the query that tells why the pilots wait."""

CANCEL_INTERVAL = 15.0
"""Seconds until the engine is asked again to cancel pilots that it has not cancelled; doubled after
each failure, up to MAX_QUERY_INTERVAL."""


@dataclass(slots=True)
class QueryTimer:
    """Decides when to ask the engine next about the pilots. Times in seconds, on the caller's clock."""

    due: float = math.inf
    _last: float = -QUERY_INTERVAL
    _interval: float = QUERY_INTERVAL

    def begin(self, now: float) -> None:
        """Note that a query begins; the next one is not planned yet."""
        self._last, self.due = now, math.inf

    def failed(self, now: float) -> None:
        """Note that the engine did not answer: it is asked half as often from now on."""
        self._interval = min(MAX_QUERY_INTERVAL, 2 * self._interval)
        self.due = now + self._interval

    def answered(self, now: float) -> None:
        """Note that the engine has answered."""
        self._interval = QUERY_INTERVAL
        self.due = now + QUERY_INTERVAL

    def postponed(self, now: float, seconds: float) -> None:
        """Note that the turn of this pool comes in this many seconds."""
        self.due = now + seconds

    def submitted(self, now: float) -> None:
        """Note a submission: why its pilots wait is asked soon, but not sooner than queries may come."""
        self.due = min(self.due, max(now + FIRST_QUERY, self._last + QUERY_INTERVAL))


@dataclass(slots=True)
class CancelTimer:
    """Decides when waiting pilots may be cancelled again. Times in seconds, on the caller's clock."""

    due: float = 0.0
    _interval: float = CANCEL_INTERVAL

    def failed(self, now: float) -> None:
        """Note that the engine did not cancel them."""
        self.due = now + self._interval
        self._interval = min(MAX_QUERY_INTERVAL, 2 * self._interval)

    def succeeded(self) -> None:
        """Note that the engine has cancelled them."""
        self._interval = CANCEL_INTERVAL


class PoolEngine:
    """The engine of one pool. ``explain`` takes the reason of each order that failed."""

    def __init__(self, setup: PoolSetup, explain: Callable[[str], None]) -> None:
        self._engine, self._call = setup.engine, setup.call
        self._queries = SharedQueries(setup)
        self._explain = explain
        self._may_identify = True

    def query(self, arrays: Collection[PilotArray]) -> Listing:
        """Return what the engine has of these arrays. Raises EngineUnavailable or NotYet."""
        return self._queries.listing([array.handle for array in arrays])

    def set_held(self, array: PilotArray, is_held: bool) -> bool:
        """Hold or release the waiting pilots of an array; ``array.is_held`` says what worked.

        Return whether the engine refused it. One that does not answer may do it later.
        """
        verb = self._engine.hold if is_held else self._engine.release
        try:
            answer = self._call(verb(array.handle))
        except (EngineUnavailable, SubmissionRefused) as error:
            self._explain(str(error))
            return False
        if self._engine.is_done(answer):
            array.is_held = is_held
            return False
        self._explain(answer.reason)
        return True

    def cancel(
        self, array: PilotArray, indexes: Sequence[int], at_the_end: Collection[PilotArray] = ()
    ) -> bool:
        """Cancel elements; return whether the engine took it. All of them: the array as a whole.

        ``at_the_end``: all arrays, when the run ends. Then an array whose id is not known is looked for,
        or else cancelled by its name, as this is the last occasion: its pilots would wait in the queue
        until they start and find the tombstone.
        """
        chosen = () if len(indexes) == len(array.pilots) else indexes
        # By its name alone all of it would be cancelled, running pilots included.
        if chosen and not array.handle.array and not at_the_end:
            return False
        try:
            command = self._engine.cancel(array.handle, chosen)
        except EngineUnavailable:  # its id is not known yet
            if not at_the_end or not self._identify(array, at_the_end):
                return False
            command = self._engine.cancel(array.handle, chosen)
        return self._order(command)

    def _identify(self, wanted: PilotArray, arrays: Collection[PilotArray]) -> bool:
        """Ask the engine, once in a run, for the ids of arrays whose answers were lost."""
        if not self._may_identify:
            return False
        self._may_identify = False
        try:
            found = self._queries.ask([array.handle for array in arrays if not array.is_over])
        except EngineUnavailable:
            return False
        for array in arrays:
            array.identify(found.elements)
        return bool(wanted.handle.array)

    def _order(self, command: Command) -> bool:
        try:
            answer = self._call(command)
        except (EngineUnavailable, SubmissionRefused) as error:
            self._explain(str(error))
            return False
        if self._engine.is_done(answer):
            return True
        self._explain(answer.reason)
        return False
