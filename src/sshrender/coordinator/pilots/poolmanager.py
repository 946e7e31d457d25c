"""Keeps one pool: submits arrays of pilots, reads what they report, asks the engine, cancels.

Whether a pilot lives is its runner's heartbeat alone. The engine is asked once a minute, for display
and for pilots that ended before they spoke. An element that it does not list may still run.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshrender.coordinator.pilots import carriers
from sshrender.coordinator.pilots.pilotarray import Pilot, PilotArray, digits
from sshrender.coordinator.pilots.pool import NAME_PREFIX, Backoff, Demand, PoolReport, PoolSetup, wanted
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch import script
from sshrender.transports.batch.arrayfolder import ArrayFolder, PilotNote
from sshrender.transports.batch.engines.interface import (
    ArrayHandle,
    ArrayRequest,
    Command,
    Element,
    EngineUnavailable,
    SubmissionRefused,
)
from sshrender.transports.batch.filelink import FileTransport
from sshrender.transports.batch.pipelink import PipeTransport

LOOK_INTERVAL = 1.0
"""Seconds between two looks at what pilots report."""

QUERY_INTERVAL, MAX_QUERY_INTERVAL = 60.0, 600.0
"""Seconds between two queries of the engine, and most while it does not answer."""

FIRST_QUERY = 15.0
"""Seconds from a submission to the query that tells why the pilots wait."""

CANCEL_INTERVAL = 15.0
"""Seconds until the engine is asked to cancel again what it has not cancelled."""

WRITTEN_TIMEOUT = 30.0
"""Seconds in which the journal must have the name of an array before it is submitted."""


@dataclass(frozen=True, slots=True)
class EntryRequested:
    """An entry to record; ``written`` is set when the journal has it."""

    entry: je.JournalEntry
    written: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class PilotStarted:
    """A pilot has started on a node, and can be connected to."""

    manager: PoolManager
    host: str
    index: int
    note: PilotNote
    transport: FileTransport | PipeTransport


@dataclass(frozen=True, slots=True)
class PilotRetiring:
    """A pilot's allocation ends soon: it should get no more pages."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class PilotEnded:
    """A pilot's allocation has ended."""

    host: str
    reason: str


class PoolManager:
    """Keeps one pool until it is stopped.

    ``folder``: of the job's arrays. ``secret``: from which the keys of arrays are derived. ``post``
    takes what is to be done in the loop. ``known``: arrays of earlier coordinators that may still be
    there.
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
        self._folder = folder
        self._secret = secret
        self._epoch = epoch
        self._post = post
        self._arrays = [
            self._array(entry.name, entry.array, range(entry.first, entry.first + entry.count))
            for entry in known
        ]
        self._demand = Demand(0)
        self._backoff = Backoff()
        self._useless: deque[str] = deque()  # from the loop's thread
        self._max_size = setup.pilots
        self._is_held = False
        self._reason = ""
        self._report: PoolReport | None = None
        # Known arrays may wait for a reason, or be gone; otherwise a submission sets the time.
        self._query_at = 0.0 if self._arrays else float("inf")
        self._last_query = -QUERY_INTERVAL
        self._query_interval = QUERY_INTERVAL
        self._cancel_at = 0.0
        self._is_needed = threading.Event()
        self._stop = threading.Event()
        # Set when the end of the run no longer waits for the thread.
        self._is_given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pool {setup.name}", daemon=True)

    def start(self) -> None:
        """Start to submit and to look."""
        self._thread.start()

    def need(self, demand: Demand) -> None:
        """Set what the run needs from now on."""
        self._demand = demand
        self._is_needed.set()

    def give_up(self, host: str) -> None:
        """Take a pilot that does not answer for ended."""
        for array in self._arrays:
            for pilot in array.pilots.values():
                if pilot.host == host:
                    pilot.is_live, pilot.has_ended = False, True

    def refuse(self, host: str, reason: str) -> None:
        """Take a pilot for ended that cannot be used as a host."""
        self.give_up(host)
        self._useless.append(reason)

    def note_work(self) -> None:
        """Note that a pilot can be used."""
        self._backoff.worked()

    def stop(self) -> None:
        """Begin to end: no pilot is submitted any more."""
        self._stop.set()

    def finish(self, timeout: float) -> list[je.JournalEntry]:
        """Cancel what waits and bury all arrays, in so many seconds at most; return what to record."""
        self._stop.set()
        until = time.monotonic() + timeout
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._is_given_up.set()
        # First the tombstones: a pilot that starts from now on ends at once, even if the engine does
        # not answer.
        for array in self._arrays:
            array.folder.bury()
        ended: list[je.JournalEntry] = []
        worker = threading.Thread(target=lambda: ended.extend(self._cancel_all()), daemon=True)
        worker.start()
        # At least a second: the thread may have used up all of the time, in a command of the engine.
        worker.join(max(1.0, until - time.monotonic()))
        return list(ended)

    def _cancel_all(self) -> Iterator[je.JournalEntry]:
        for array in self._arrays:
            # The engine may take the submission after this command: the tombstone and the open entry in
            # the journal stay. A thread that still runs then cancels it (_submit).
            unneeded = array.unneeded()
            if array.is_submitting:
                self._cancel(array, unneeded)
                continue
            if array.is_over or not unneeded or self._cancel(array, unneeded):
                # A folder that is gone is a tombstone, too.
                shutil.rmtree(array.folder.path, ignore_errors=True)
                yield je.PilotsEnded(pool=self.setup.name, name=array.handle.name)

    def _run(self) -> None:
        while not self._stop.is_set():
            # is_set() stays true after the first demand: from then on this line does not wait.
            if not self._is_needed.wait(LOOK_INTERVAL):
                continue  # what the run needs is not known yet
            now = time.monotonic()
            try:
                self._read_notes()
                while self._useless:
                    self._reason = f"its pilots cannot be used: {self._useless.popleft()}"
                    self._backoff.note_useless(now)
                if now >= self._query_at:
                    self._query(now)
                self._resize(now)
            except OSError as error:  # the shared folder, which others report, too
                self._reason = f"cannot write to the shared folder: {error.strerror}"
            self._show(now)
            self._stop.wait(LOOK_INTERVAL)

    # What pilots report

    def _read_notes(self) -> None:
        for array in self._arrays:
            if array.is_over:
                continue
            for note in array.folder.notes(array.pilots):
                self._take(array, note)

    def _take(self, array: PilotArray, note: PilotNote) -> None:
        pilot = array.pilots[note.index]
        if note.kind == "started":
            if pilot.is_live:  # it was run again; the end of its first start was not reported
                self._post(PilotEnded(pilot.host, "the batch system runs it again"))
            pilot.token, pilot.is_live, pilot.has_ended = note.token, True, False
            self._backoff.spoke()
            # The engine has queued it again, and another one has taken its place meanwhile.
            if sum(each.is_live for known in self._arrays for each in known.pilots.values()) > (
                self.setup.pilots
            ):
                pilot.is_live, pilot.has_ended = False, True
                self._cancel(array, [note.index])
                return
            # Slurm's step needs the number of the job, which its holder reports.
            element = note.job or f"{array.number}.{note.index}"
            carrier = carriers.carrier(self.setup, pilot.transport, note, element)
            self._post(PilotStarted(self, pilot.host, note.index, note, carrier))
        # A late note of an earlier start.
        elif note.token != pilot.token or not pilot.is_live:
            return
        elif note.kind == "retiring":
            self._post(PilotRetiring(pilot.host, note.reason))
        elif note.kind == "ended":
            pilot.is_live, pilot.has_ended = False, True
            self._post(PilotEnded(pilot.host, note.reason))

    # What the engine says

    def _query(self, now: float) -> None:
        """Ask the engine once for all arrays."""
        self._last_query = now
        open_ = [array for array in self._arrays if not array.is_over]
        if not open_:
            self._query_at = float("inf")
            return
        engine = self.setup.engine
        try:
            answer = self.setup.call(engine.query([array.handle for array in open_]))
            elements = engine.elements(answer)
        except (EngineUnavailable, SubmissionRefused) as error:
            self._query_interval = min(MAX_QUERY_INTERVAL, 2 * self._query_interval)
            self._query_at = now + self._query_interval
            self._reason = f"{engine.name} does not answer: {error}"
            return
        self._query_interval = QUERY_INTERVAL
        self._query_at = now + QUERY_INTERVAL
        # The reason of a refusal stays until a submission is accepted.
        if not self._backoff.refused:
            self._reason = ""
        for array in open_:
            self._match(array, elements, now)
        self._hold_waiting()

    def _match(self, array: PilotArray, elements: list[Element], now: float) -> None:
        silent = array.match(elements)
        for each in silent:
            self._note_silent(each.reason, now)
        # In one command: a script that fails at once, or a node, fails all of them.
        if listed := [each.index for each in silent if each.is_listed]:
            self._cancel(array, listed)
        if array.is_over:
            array.folder.bury()
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
        pilots = [pilot for array in self._arrays for pilot in array.pilots.values()]
        live, waiting = sum(p.is_live for p in pilots), sum(p.is_waiting for p in pilots)
        want = wanted(demand, self.setup)
        if demand.is_held:
            return
        if live + waiting < want and self._backoff.may_submit(now):
            self._submit(min(want - live - waiting, self._max_size), now)
        elif waiting and live + waiting > want:
            self._cancel_some(live + waiting - want, now)

    def _hold_waiting(self) -> None:
        """Keep waiting pilots from being started while the job is held: they keep their place.

        Repeated after each query: then an id may have become known, or the engine answers again.
        """
        engine = self.setup.engine
        for array in self._arrays:
            if array.is_held != self._is_held and array.waiting() and array.handle.array:
                verb = engine.hold if self._is_held else engine.release
                if self._order(verb(array.handle)):
                    array.is_held = self._is_held

    def _cancel_some(self, count: int, now: float) -> None:
        """Cancel the newest of those that wait; after a failure not at once again."""
        if now < self._cancel_at:
            return
        for array in reversed(self._arrays):
            indexes = array.waiting()[-count:] if count else []
            if not indexes:
                continue
            if self._cancel(array, indexes):
                count -= len(indexes)
                for index in indexes:
                    array.pilots[index].has_ended = True
            else:
                self._cancel_at = now + CANCEL_INTERVAL

    def _cancel(self, array: PilotArray, indexes: list[int]) -> bool:
        """Cancel elements; return whether the engine took it. All of them: the array as a whole."""
        engine = self.setup.engine
        try:
            chosen = () if len(indexes) == len(array.pilots) else indexes
            return self._order(engine.cancel(array.handle, chosen))
        except EngineUnavailable:  # its id is not known yet
            return False

    def _order(self, command: Command) -> bool:
        try:
            answer = self.setup.call(command)
        except (EngineUnavailable, SubmissionRefused) as error:
            self._reason = str(error)
            return False
        if self.setup.engine.is_done(answer):
            return True
        self._reason = answer.reason
        return False

    def _submit(self, count: int, now: float) -> None:
        """Submit an array. Its name is in the journal first: a lost answer leaves no unknown pilot."""
        setup, engine = self.setup, self.setup.engine
        name = f"{NAME_PREFIX}{secrets.token_hex(4)}"
        indexes = range(engine.first, engine.first + count)
        array = self._array(name, "", indexes)
        # The files of the connections exist before the submission (arrayfolder.py).
        array.folder.create(indexes, self._epoch)
        request = EntryRequested(
            je.PilotsRequested(pool=setup.name, name=name, count=count, first=engine.first)
        )
        self._post(request)
        if not self._await(request.written):
            array.folder.bury()
            return
        command = engine.submit(self._request(array, count))
        # Before the call: a run that ends during it has to bury and cancel this array, too.
        array.is_submitting = True
        self._arrays.append(array)
        try:
            answer = setup.call(command)
            array.handle = ArrayHandle(name, engine.submitted(answer))
        except SubmissionRefused as refused:
            self._arrays.remove(array)
            array.folder.bury()
            self._post(EntryRequested(je.PilotsEnded(pool=setup.name, name=name, reason=refused.reason)))
            self._reason = f"{engine.name} refused: {refused.reason}"
            # Half the size, as the limit is not told: each refusal halves it again.
            if refused.is_size and count > 1:
                self._max_size = count // 2
            else:
                self._backoff.note_refused(now)
            return
        except EngineUnavailable as error:
            # It may be in the queue all the same: the next queries tell.
            self._reason = f"{engine.name} does not answer: {error}"
        else:
            self._backoff.accepted()
            self._reason = ""
        for index in indexes:
            array.pilots[index].host = self._host(array.handle, index)
        array.is_submitting = False
        if self._is_given_up.is_set():
            self._cancel(array, array.waiting())
        entry = je.PilotsSubmitted(pool=setup.name, name=name, array=array.handle.array)
        self._post(EntryRequested(entry))
        # Not before the interval since the last query has passed.
        self._query_at = min(self._query_at, max(now + FIRST_QUERY, self._last_query + QUERY_INTERVAL))

    def _request(self, array: PilotArray, count: int) -> ArrayRequest:
        setup, folder = self.setup, array.folder
        # <job>/batch/<array>, as nodes see it.
        seen = "/".join((setup.san.rstrip("/"), *folder.path.parts[-3:]))
        python = setup.python
        text = script.build(python, seen, folder.key, setup.walltime, setup.environment)
        script_file = ""
        if setup.engine.needs_script_file:
            script_file = f"{seen}/{folder.write_script(text).name}"
        return ArrayRequest(
            name=array.handle.name,
            count=count,
            cores=setup.cores,
            walltime=setup.walltime,
            memory=setup.memory,
            queue=setup.queue,
            options=setup.options,
            avoid=self._demand.avoid,
            script=text,
            script_file=script_file,
        )

    def _await(self, written: threading.Event) -> bool:
        until = time.monotonic() + WRITTEN_TIMEOUT
        while not self._stop.is_set() and time.monotonic() < until:
            if written.wait(0.1):
                return True
        return False

    def _array(self, name: str, array: str, indexes: Iterable[int]) -> PilotArray:
        # Derived from the owner's key: only a coordinator of the same owner can find it.
        key = hmac.new(self._secret, f"sshrender pilots {name}".encode(), hashlib.sha256).digest()
        handle, folder = ArrayHandle(name, array), ArrayFolder(self._folder / name, key)
        pilots = {
            index: Pilot(self._host(handle, index), FileTransport(folder.path, index, key, self._epoch))
            for index in indexes
        }
        return PilotArray(handle, folder, pilots)

    def _host(self, handle: ArrayHandle, index: int) -> str:
        return f"{self.setup.engine.name}:{digits(handle.array) or handle.name}_{index}"

    # What is shown

    def _show(self, now: float) -> None:
        pilots = [pilot for array in self._arrays for pilot in array.pilots.values()]
        waiting = [pilot for pilot in pilots if pilot.is_waiting]
        live = sum(pilot.is_live for pilot in pilots)
        elements = [pilot.element for pilot in waiting if pilot.element is not None]
        may_come = wanted(self._demand, self.setup) and not self._backoff.is_hopeless(now)
        report = PoolReport(
            pool=self.setup.name,
            waiting=len(waiting),
            running=live,
            expected=len(waiting) or (int(bool(may_come)) if not live else 0),
            reason=self._reason or next((each.reason for each in elements if each.reason), ""),
            start=min((each.start for each in elements if each.start), default=""),
        )
        # Only what has changed: the loop records each report.
        if report != self._report:
            self._report = report
            self._post(report)
