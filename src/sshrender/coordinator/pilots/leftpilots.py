"""Cancels or holds pilots that a coordinator which is gone has left in an engine's queue.

Arrays to cancel have tombstones by then, so a pilot that starts anyway does nothing. Without this, it
would keep its place in the queue until it starts. A pilot that is held keeps its place, and the job's
next coordinator releases it; one that starts anyway ends after a minute without a coordinator.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sshrender.coordinator.pilots.pool import NAME_PREFIX, PoolSetup
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch.arrayfolder import ArrayFolder
from sshrender.transports.batch.engines.interface import (
    ArrayHandle,
    Command,
    EngineUnavailable,
    SubmissionRefused,
)

# The journal lies where hosts write, and both become words of a command.
_NAME = re.compile(NAME_PREFIX + r"[0-9a-f]{8}")
_ID = re.compile(r"[0-9][0-9A-Za-z_.\[\]-]*")

_Order = Callable[[PoolSetup, list[je.PilotsRequested]], "list[LeftPilots]"]


@dataclass(frozen=True, slots=True)
class LeftPilots:
    """An array whose pilots may still wait. ``command`` cancels them; empty: not known here."""

    pool: str
    name: str
    array: str
    reason: str
    command: str = ""

    def in_words(self) -> str:
        """Return the pilots that are left, the reason, and what to type, in one line."""
        text = f"pool {self.pool}: pilots may be left in the queue, and end soon after they start"
        text += f" ({self.reason})"
        return f"{text}; to cancel them: {self.command}" if self.command else text


def cancel_left(
    arrays: Iterable[je.PilotsRequested], pools: Mapping[str, PoolSetup], lacking: str = ""
) -> list[LeftPilots]:
    """Cancel arrays; return those that could not be cancelled. At most two commands of 30 s a pool.

    ``pools``: of the inventory, by name; ``lacking``: why one may not be there.
    """
    return _at_each_pool(_cancel, arrays, pools, lacking)


def hold_left(
    arrays: Iterable[je.PilotsRequested], pools: Mapping[str, PoolSetup], lacking: str = ""
) -> list[LeftPilots]:
    """Hold arrays, or cancel those that their engine does not hold; return those for which both failed.

    ``pools`` and ``lacking`` as for ``cancel_left``.
    """
    return _at_each_pool(_hold, arrays, pools, lacking)


def _at_each_pool(
    order: _Order, arrays: Iterable[je.PilotsRequested], pools: Mapping[str, PoolSetup], lacking: str
) -> list[LeftPilots]:
    left, by_pool = [], dict[str, list[je.PilotsRequested]]()
    for entry in arrays:
        if not _NAME.fullmatch(entry.name) or not (entry.array == "" or _ID.fullmatch(entry.array)):
            continue  # no coordinator has written this
        by_pool.setdefault(entry.pool, []).append(entry)
    for name in by_pool.keys() - pools.keys():
        reason = lacking or "the inventory does not have this pool"
        left += [LeftPilots(name, each.name, each.array, reason) for each in by_pool[name]]
    known = [(pools[name], entries) for name, entries in by_pool.items() if name in pools]
    if known:
        left += _side_by_side(order, known)
    return left


def _side_by_side(
    order: _Order, known: Sequence[tuple[PoolSetup, list[je.PilotsRequested]]]
) -> list[LeftPilots]:
    found: list[LeftPilots] = []
    # Daemons, unlike the threads of an executor: the end of the program does not wait for an engine.
    threads = [
        threading.Thread(target=lambda one=each: found.extend(order(*one)), daemon=True)
        for each in known
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def uncancelled(pool: PoolSetup, handle: ArrayHandle, reason: str) -> LeftPilots:
    """Return an array that could not be cancelled, with the command that does if it is known."""
    command = ""
    with contextlib.suppress(EngineUnavailable):  # its id is needed, and not known
        command = pool.typed(*pool.engine.cancel(handle).words)
    return LeftPilots(pool.name, handle.name, handle.array, reason, command)


class Orphans:
    """Pilots of earlier coordinators whose pool this run does not use: it ends them, in a thread.

    ``folder``: of the job's arrays; ``pools``: of the inventory, by name. ``left``: what it could not
    cancel, after ``finish``.
    """

    def __init__(
        self,
        arrays: Sequence[je.PilotsRequested],
        folder: Path,
        pools: Mapping[str, PoolSetup],
    ) -> None:
        self._arrays = arrays
        self._folder = folder
        self._pools = pools
        self._found: list[LeftPilots] | None = None
        self.left: Sequence[LeftPilots] = ()
        self._thread = threading.Thread(target=self._end, daemon=True, name="pilots of other pools")

    def start(self) -> None:
        """Start to end them."""
        self._thread.start()

    def _end(self) -> None:
        # First the tombstones, which need no key, as they are no signed lines.
        for each in self._arrays:
            ArrayFolder(self._folder / each.name, b"").bury()
        self._found = cancel_left(self._arrays, self._pools)

    def finish(self, timeout: float) -> list[je.JournalEntry]:
        """Wait at most ``timeout`` seconds; return the entries to record."""
        self._thread.join(timeout)
        found = self._found
        if found is None:
            why = "its batch system or the shared folder has not answered yet"
            found = [LeftPilots(each.pool, each.name, each.array, why) for each in self._arrays]
        self.left = found
        names = {each.name for each in found}
        return [
            je.PilotsEnded(pool=each.pool, name=each.name)
            for each in self._arrays
            if each.name not in names
        ]


def _cancel(pool: PoolSetup, entries: list[je.PilotsRequested]) -> list[LeftPilots]:
    return _give(pool, entries, [pool.engine.cancel])


def _hold(pool: PoolSetup, entries: list[je.PilotsRequested]) -> list[LeftPilots]:
    # If a site forbids users to hold jobs, cancelled arrays are submitted again after ``release``.
    return _give(pool, entries, [pool.engine.hold, pool.engine.cancel])


def _give(
    pool: PoolSetup,
    entries: list[je.PilotsRequested],
    verbs: Sequence[Callable[[ArrayHandle], Command]],
) -> list[LeftPilots]:
    """Give each array the first of these orders that the engine carries out."""
    engine = pool.engine
    handles = {each.name: ArrayHandle(each.name, each.array) for each in entries}
    known, unknown = dict[str, ArrayHandle](), list[str]()
    for name, handle in handles.items():
        try:
            verbs[0](handle)
            known[name] = handle
        except EngineUnavailable:  # its id is needed, and the answer to its submission was lost
            unknown.append(name)
    # Why the engine is not asked again for each array: it does not answer.
    away = ""
    if unknown:
        try:
            query = engine.query([handles[name] for name in unknown])
            # An array that is not listed was never submitted, or has ended.
            found = {each.name: each.array for each in engine.elements(pool.call(query))}
            known |= {name: ArrayHandle(name, found[name]) for name in unknown if name in found}
            unknown = []
        except (EngineUnavailable, SubmissionRefused) as error:
            away = str(error)
    left = [uncancelled(pool, handles[name], away) for name in unknown]
    for handle in known.values():
        reason = away
        for verb in () if away else verbs:
            try:
                answer = pool.call(verb(handle))
                reason = "" if engine.is_done(answer) else answer.reason
            except (EngineUnavailable, SubmissionRefused) as error:
                reason = away = str(error)
            if away or not reason:
                break
        if reason:
            left.append(uncancelled(pool, handle, reason))
    return left
