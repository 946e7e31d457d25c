"""Keeps one pool: decides when arrays of pilots are submitted, queried and cancelled; reads their notes.

Only the heartbeat of its runner shows whether a pilot lives. The engine is asked once a minute, for
display and for pilots that ended before they spoke. An element that it does not list may still run.
Commands of the engine may take half a minute, so another thread reads what pilots report.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sshrender.coordinator.pilots import carriers
from sshrender.coordinator.pilots.leftpilots import LeftPilots, uncancelled
from sshrender.coordinator.pilots.pilotarray import Pilot, PilotArray, report_of
from sshrender.coordinator.pilots.pool import Backoff, Demand, PoolReport, PoolSetup, to_submit, wanted
from sshrender.coordinator.pilots.poolengine import CancelTimer, PoolEngine, QueryTimer
from sshrender.coordinator.pilots.poolmessages import EntryRequested, PilotEnded, PilotRetiring
from sshrender.coordinator.pilots.sharedqueries import Listing, NotYet
from sshrender.coordinator.pilots.submission import ArrayMaker, array_request
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch.arrayfolder import PilotNote
from sshrender.transports.batch.engines.interface import (
    ArrayHandle,
    EngineUnavailable,
    SubmissionRefused,
)
from sshrender.transports.batch.filelink import FileTransport
from sshrender.transports.batch.pipelink import PipeTransport

LOOK_INTERVAL, SOON = 1.0, 0.2
"""Seconds between two looks at what pilots report; the second after a note, as others start with it."""

LEAVE_TIMEOUT = 30.0
"""Seconds after which a pilot that was told to leave counts as ended: it may have been killed first."""

WRITTEN_TIMEOUT = 30.0
"""Seconds in which the journal must have the name of an array before it is submitted."""


@dataclass(frozen=True, slots=True)
class PilotStarted:
    """A pilot has started on a node, and can be connected to."""

    manager: PoolManager
    host: str
    index: int
    note: PilotNote
    transport: FileTransport | PipeTransport
    is_inherited: bool = False


class PoolManager:
    """Keeps one pool until it is stopped.

    ``folder``: of the job's arrays. ``secret``: from which the keys of arrays are derived. ``post``
    takes what is to be done in the loop. ``known``: arrays of earlier coordinators that may still be
    there. ``left``: what could not be cancelled, after ``finish``.
    """

    def __init__(
        self,
        setup: PoolSetup,
        folder: Path,
        secret: bytes,
        epoch: int,
        post: Callable[[Any], None],
        known: Iterable[je.PilotsRequested] = (),
    ) -> None:
        self.setup = setup
        self._maker = ArrayMaker(setup.engine.name, folder, secret, epoch)
        self._engine = PoolEngine(setup, self._explain)
        self._post = post
        self._arrays = [self._maker.known(entry) for entry in known]
        self._demand = Demand(0)
        self._backoff = Backoff()
        self._useless: deque[str] = deque()  # from the loop's thread
        self._surplus: deque[tuple[PilotArray, int]] = deque()  # from the thread that reads notes
        self._max_size = setup.pilots
        self._is_held = False
        self._reason = ""
        self._report: PoolReport | None = None
        # Known arrays may wait for a reason, or be gone; otherwise a submission sets the time.
        self._queries = QueryTimer(0.0) if self._arrays else QueryTimer()
        self._cancels = CancelTimer()
        self.left: Sequence[LeftPilots] = ()
        self._is_needed = threading.Event()
        self._stop = threading.Event()
        # Set when the end of the run no longer waits for the thread.
        self._is_given_up = threading.Event()
        # Guards the state of pilots. Not held during a command, nor while a file is read.
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"pool {setup.name}", daemon=True)
        self._reader = threading.Thread(target=self._look, name=f"pilots {setup.name}", daemon=True)

    def start(self) -> None:
        """Start to submit and to look."""
        self._thread.start()
        self._reader.start()

    def need(self, demand: Demand) -> None:
        """Set the demand of the run from now on."""
        self._demand = demand
        self._is_needed.set()

    def give_up(self, host: str) -> None:
        """Take a pilot that does not answer for ended."""
        with self._lock:
            for pilot in self._named(host):
                pilot.end()

    def dismiss(self, host: str) -> None:
        """Note that a pilot was told to give its allocation back: it counts until it reports its end."""
        with self._lock:
            for pilot in self._named(host):
                pilot.is_dismissed = True

    def _named(self, host: str) -> list[Pilot]:
        return [each for array in self._arrays for each in array.pilots.values() if each.host == host]

    def note_useless(self, reason: str) -> None:
        """Note that a pilot has left before it could be used as a host."""
        self._useless.append(reason)

    def note_work(self) -> None:
        """Note that a pilot can be used. Once for each: one good node says nothing of the others."""
        self._backoff.worked()

    def stop(self) -> None:
        """Begin to end: no pilot is submitted any more."""
        self._stop.set()

    def finish(self, timeout: float) -> list[je.JournalEntry]:
        """Cancel waiting pilots and end all arrays in ``timeout`` seconds; return what to record."""
        self._stop.set()
        until = time.monotonic() + timeout
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._is_given_up.set()
        # First the tombstones: a pilot that starts from now on ends at once, even if the engine does
        # not answer.
        for array in self._arrays:
            array.folder.bury()
        ended: list[je.PilotsEnded] = []
        worker = threading.Thread(target=lambda: ended.extend(self._cancel_all()), daemon=True)
        worker.start()
        # At least a second: the thread may have used up all of the time, in a command of the engine.
        worker.join(max(1.0, until - time.monotonic()))
        entries = list(ended)
        names = {each.name for each in entries}
        why = self._reason or f"{self.setup.engine.name} does not answer"
        self.left = [
            uncancelled(self.setup, array.handle, why)
            for array in self._arrays
            if array.handle.name not in names
        ]
        return list[je.JournalEntry](entries)

    def _cancel_all(self) -> Iterator[je.PilotsEnded]:
        for array in self._arrays:
            # The engine may take the submission after this command: the tombstone and the open entry in
            # the journal stay. A thread that still runs then cancels it (_submit).
            unneeded = array.unneeded()
            if array.is_submitting:
                self._engine.cancel(array, unneeded, self._arrays)
                continue
            if array.is_over or not unneeded or self._engine.cancel(array, unneeded, self._arrays):
                array.folder.remove()
                yield je.PilotsEnded(pool=self.setup.name, name=array.handle.name)

    def _run(self) -> None:
        while not self._stop.is_set():
            # is_set() stays true after the first demand: from then on this line does not wait.
            if not self._is_needed.wait(LOOK_INTERVAL):
                continue  # what the run needs is not known yet
            now = time.monotonic()
            try:
                self._take_from_threads(now)
                if now >= self._queries.due:
                    self._query(now)
                self._resize(now)
            except OSError as error:  # the shared folder, which others report, too
                self._reason = f"cannot write to the shared folder: {error.strerror}"
            self._show(now)
            self._stop.wait(LOOK_INTERVAL)

    def _take_from_threads(self, now: float) -> None:
        while self._useless:
            self._reason = f"its pilots cannot be used: {self._useless.popleft()}"
            self._backoff.note_useless(now)
        while self._surplus:
            array, index = self._surplus.popleft()
            self._engine.cancel(array, [index])

    def _explain(self, reason: str) -> None:
        self._reason = reason

    # What pilots report

    def _look(self) -> None:
        while not self._stop.is_set():
            if self._is_needed.wait(LOOK_INTERVAL):
                self._stop.wait(SOON if self._read_notes() else LOOK_INTERVAL)

    def _read_notes(self) -> bool:
        found = False
        for array in list(self._arrays):
            # A pilot is named after the id, so its notes wait for the answer to the submission.
            if array.is_over or array.is_submitting:
                continue
            for note in array.folder.notes(array.pilots):
                self._take(array, note)
                found = True
        return found

    def _take(self, array: PilotArray, note: PilotNote) -> None:
        with self._lock:
            self._take_note(array, note)

    def _take_note(self, array: PilotArray, note: PilotNote) -> None:
        pilot = array.pilots[note.index]
        if note.kind == "started":
            if pilot.is_live:  # it was run again; the end of its first start was not reported
                self._post(PilotEnded(pilot.host, "the batch system runs it again"))
            pilot.start(note.token)
            self._backoff.spoke()
            # The engine has queued it again, and another one has taken its place meanwhile.
            if sum(each.is_live for known in self._arrays for each in known.pilots.values()) > (
                self.setup.pilots
            ):
                pilot.end()
                self._surplus.append((array, note.index))
                return
            # Slurm's step needs the number of the job, which its holder reports.
            element = note.job or f"{array.number}.{note.index}"
            carrier = carriers.carrier(self.setup, pilot.transport, note, element)
            started = PilotStarted(self, pilot.host, note.index, note, carrier, array.is_inherited)
            self._post(started)
        # A late note of an earlier start.
        elif note.token != pilot.token or not pilot.is_live:
            return
        elif note.kind == "retiring":
            self._post(PilotRetiring(pilot.host, note.reason))
        elif note.kind == "ended":
            pilot.end()
            self._post(PilotEnded(pilot.host, note.reason))

    # What the engine says

    def _query(self, now: float) -> None:
        """Ask the engine once for all arrays."""
        self._queries.begin(now)
        open_ = [array for array in self._arrays if not array.is_over]
        if not open_:
            return
        try:
            listing = self._engine.query(open_)
        except NotYet as turn:
            self._queries.postponed(now, turn.seconds)
            return
        except EngineUnavailable as error:
            self._queries.failed(now)
            self._reason = f"{self.setup.engine.name} does not answer: {error}"
            return
        self._queries.answered(now)
        # The reason of a refusal stays until a submission is accepted.
        if not self._backoff.refused:
            self._reason = ""
        for array in open_:
            self._match(array, listing, now)
        self._hold_waiting()

    def _match(self, array: PilotArray, listing: Listing, now: float) -> None:
        with self._lock:
            silent = array.match(listing.elements, listing.asked_at)
        for each in silent:
            if each.is_charged:
                # A pilot that finds no folder takes that for a tombstone, and says nothing.
                lacks = f": its node may lack {self.setup.san} or {self.setup.python}"
                self._note_silent(each.reason + ("" if each.is_listed else lacks), now)
        # Its answer was lost, and the engine has never listed it: it was not submitted.
        if not array.is_inherited and any(not each.is_charged for each in silent):
            self._backoff.note_refused(now)
        # In one command: a script that fails at once, or a node, fails all of them.
        if listed := [each.index for each in silent if each.is_listed]:
            self._engine.cancel(array, listed)
        if array.is_over:
            array.folder.remove()
            self._post(EntryRequested(je.PilotsEnded(pool=self.setup.name, name=array.handle.name)))

    def _note_silent(self, reason: str, now: float) -> None:
        self._reason = reason
        self._backoff.note_silent(now)

    # How many there should be

    def _resize(self, now: float) -> None:
        demand = self._demand
        if demand.is_held != self._is_held:
            self._is_held = demand.is_held
            self._hold_waiting()
        if not demand.is_held:
            self._cancel_narrow(demand.avoid, now)
        with self._lock:
            pilots = [pilot for array in self._arrays for pilot in array.pilots.values()]
            for pilot in pilots:
                if pilot.is_live and pilot.is_dismissed:
                    pilot.leaves_by = now + LEAVE_TIMEOUT if pilot.leaves_by is None else pilot.leaves_by
                    if now >= pilot.leaves_by:
                        pilot.end()
            live, waiting = sum(p.is_live for p in pilots), sum(p.is_waiting for p in pilots)
        want = wanted(demand, self.setup)
        if demand.is_held:
            return
        missing = to_submit(want, live, waiting)
        if missing and self._backoff.may_submit(now):
            self._submit(min(missing, self._max_size), now)
        elif waiting and live + waiting > want:
            self._cancel_some(live + waiting - want, now)

    def _hold_waiting(self) -> None:
        """Keep waiting pilots from being started while the job is held: they keep their place.

        If the engine holds none, as a site may forbid it, they are cancelled. Repeated after each query:
        then an id may have become known, or the engine answers again.
        """
        for array in self._arrays:
            waiting = array.waiting()
            if array.is_held == self._is_held or not waiting or not array.handle.array:
                continue
            if self._engine.set_held(array, self._is_held) and self._is_held:
                self._cancel(array, waiting)

    def _cancel_narrow(self, avoid: tuple[str, ...], now: float) -> None:
        """Cancel waiting pilots that exclude a node which is no longer to be avoided.

        No other node may be free. New ones are submitted in their place.
        """
        narrow = [array for array in self._arrays if not set(array.avoid) <= set(avoid)]
        for array in narrow if now >= self._cancels.due else ():
            if (waiting := array.waiting()) and not self._cancel_in_time(array, waiting, now):
                return

    def _cancel_some(self, count: int, now: float) -> None:
        """Cancel the newest of those that wait; after a failure not at once again."""
        if now < self._cancels.due:
            return
        for array in reversed(self._arrays):
            indexes = array.waiting()[-count:] if count else []
            if not indexes:
                continue
            if not self._cancel_in_time(array, indexes, now):
                return
            count -= len(indexes)

    def _cancel_in_time(self, array: PilotArray, indexes: Sequence[int], now: float) -> bool:
        """Cancel pilots that wait, and note for the next time whether the engine did it; return that."""
        is_done = self._cancel(array, indexes)
        if is_done:
            self._cancels.succeeded()
        else:
            self._cancels.failed(now)
        return is_done

    def _cancel(self, array: PilotArray, indexes: Sequence[int]) -> bool:
        """Cancel pilots that wait; return whether the engine did it."""
        if not self._engine.cancel(array, indexes):
            return False
        with self._lock:
            for index in indexes:
                # One that has started meanwhile reports its end.
                if not array.pilots[index].is_live:
                    array.pilots[index].end()
        return True

    def _submit(self, count: int, now: float) -> None:
        """Submit an array. Its name is in the journal first: a lost answer leaves no unknown pilot."""
        setup, engine = self.setup, self.setup.engine
        indexes = range(engine.first, engine.first + count)
        array = self._maker.new(indexes)
        name = array.handle.name
        # The files of the connections exist before the submission (arrayfolder.py).
        try:
            array.folder.create(indexes, self._maker.epoch)
            array.avoid = self._demand.avoid
            command = engine.submit(array_request(setup, array, array.avoid))
        except OSError:  # it is tried again, and a full disk must not be filled with folders
            array.folder.remove()
            raise
        request = EntryRequested(
            je.PilotsRequested(pool=setup.name, name=name, count=count, first=engine.first)
        )
        self._post(request)
        if not self._await(request.written):
            array.folder.remove()
            return
        # Before the call: a run that ends during it has to bury and cancel this array, too.
        array.is_submitting = True
        self._arrays.append(array)
        try:
            answer = setup.call(command)
            array.handle = ArrayHandle(name, engine.submitted(answer))
        except SubmissionRefused as refused:
            self._arrays.remove(array)
            array.folder.remove()
            self._post(EntryRequested(je.PilotsEnded(pool=setup.name, name=name, reason=refused.reason)))
            self._reason = f"{engine.name} refused: {refused.reason}"
            # Half the size, as the limit is not told: each refusal halves it again.
            if refused.is_size and count > 1:
                self._max_size = count // 2
            else:
                self._backoff.note_refused(now)
            return
        except EngineUnavailable as error:
            # It may be in the queue anyway: the next queries tell.
            self._reason = f"{engine.name} does not answer: {error}"
        else:
            self._backoff.accepted()
            self._reason = ""
        for index in indexes:
            array.pilots[index].host = self._maker.host(array.handle, index)
        array.is_submitting = False
        if self._is_given_up.is_set():
            self._engine.cancel(array, array.waiting(), self._arrays)
        entry = je.PilotsSubmitted(pool=setup.name, name=name, array=array.handle.array)
        self._post(EntryRequested(entry))
        self._queries.submitted(now)

    def _await(self, written: threading.Event) -> bool:
        until = time.monotonic() + WRITTEN_TIMEOUT
        while not self._stop.is_set() and time.monotonic() < until:
            if written.wait(0.1):
                return True
        return False

    # What is shown

    def _show(self, now: float) -> None:
        may_need = self._demand.pages > 0 or self._demand.may_grow
        may_come = may_need and not self._backoff.is_hopeless(now)
        with self._lock:
            report = report_of(self.setup.name, self._arrays, may_come, self._reason)
        # Only what has changed: the loop records each report.
        if report != self._report:
            self._report = report
            self._post(report)
