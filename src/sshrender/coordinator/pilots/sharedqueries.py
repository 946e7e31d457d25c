"""Shares an engine's answers among all runs of a user on this machine: one query a minute for all.

The run whose turn it is asks for the arrays of all runs, and leaves the answer in a file of the user.
Runs that find it locked, or a fresh answer without their arrays, wait for the next minute. If the file
cannot be used, a run asks for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sshrender.coordinator.pilots.pilotarray import digits
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.storage.files import write_whole
from sshrender.transports.batch.engines.interface import (
    ArrayHandle,
    Element,
    ElementState,
    EngineUnavailable,
    SubmissionRefused,
)

QUERY_INTERVAL, MAX_QUERY_INTERVAL = 60.0, 600.0
"""Seconds between two queries of the engine, and most while it does not answer."""

FORGET_AFTER = MAX_QUERY_INTERVAL + QUERY_INTERVAL
"""Seconds without a look of its run after which an array is not asked for any more."""

LOCKED_PAUSE, MAX_LOCKED = 2.0, 120.0
"""Seconds until a run looks again while another one asks, and after which that one counts as frozen."""


@dataclass(frozen=True, slots=True)
class Listing:
    """An engine's answer about pilots. ``asked_at``: the time of the question, as time.time() counts."""

    asked_at: float
    elements: Sequence[Element]


class NotYet(Exception):
    """Another run has asked less than a minute ago, and its answer says nothing new of these arrays."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class _Record:
    """``arrays``: name to id, and when its run has looked; ``asked``: the names of the last query."""

    time: float = 0.0
    asked: Sequence[str] = ()
    arrays: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    elements: Sequence[Element] = ()
    error: str = ""


class SharedQueries:
    """The queries of one run at one pool."""

    def __init__(self, setup: PoolSetup, clock: Callable[[], float] = time.time) -> None:
        self._engine, self._call = setup.engine, setup.call
        self._clock = clock
        self._used = 0.0
        self._locked_since: float | None = None
        self._path = setup.shared

    def listing(self, handles: Sequence[ArrayHandle]) -> Listing:
        """Return what the engine has of these arrays. Raises EngineUnavailable or NotYet."""
        with contextlib.ExitStack() as locked:
            try:
                path = locked.enter_context(self._locked())
                record = _load(path)
            except BlockingIOError:
                return self._ask_instead(handles)
            except OSError:  # no home, a full disk, or a file system without locks
                return self.ask(handles)
            now, self._locked_since = self._clock(), None
            arrays = {
                name: known for name, known in record.arrays.items() if now - known[1] < FORGET_AFTER
            }
            arrays |= {each.name: (each.array, now) for each in handles}
            record = replace(record, arrays=arrays)
            # A time in the future is that of another machine, or of a clock that was set.
            is_fresh = 0 <= now - record.time < QUERY_INTERVAL
            if not is_fresh:
                record = self._ask(record)
            _save(path, record)
        is_new = record.time > self._used and {each.name for each in handles} <= set(record.asked)
        if not is_new:
            raise NotYet(max(1.0, record.time + QUERY_INTERVAL - now))
        self._used = record.time
        if record.error:
            raise EngineUnavailable(record.error)
        return Listing(record.time, record.elements)

    def _ask_instead(self, handles: Sequence[ArrayHandle]) -> Listing:
        """Ask in place of a run that asks for too long. Raises EngineUnavailable or NotYet."""
        now = self._clock()
        if self._locked_since is None:
            self._locked_since = now
        if now - self._locked_since < MAX_LOCKED:
            raise NotYet(LOCKED_PAUSE)
        self._locked_since = now
        return self.ask(handles)

    def ask(self, handles: Sequence[ArrayHandle]) -> Listing:
        """Ask the engine, no matter when it was asked before. Raises EngineUnavailable."""
        asked_at = self._clock()
        try:
            return Listing(asked_at, self._engine.elements(self._call(self._engine.query(handles))))
        except SubmissionRefused as error:
            raise EngineUnavailable(str(error)) from None

    def _ask(self, record: _Record) -> _Record:
        """Ask for the arrays of all runs. What the engine has of others is left out."""
        handles = [ArrayHandle(name, array) for name, (array, _) in record.arrays.items()]
        asked_at, error = self._clock(), ""
        elements: list[Element] = []
        try:
            elements = list(self.ask(handles).elements)
        except EngineUnavailable as unavailable:
            error = str(unavailable)
        numbers = {digits(each.array) for each in handles} - {""}
        own = [each for each in elements if each.name in record.arrays or digits(each.array) in numbers]
        return _Record(asked_at, tuple(record.arrays), record.arrays, own, error)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Path]:
        """Lock the file of the answer. Raises OSError; BlockingIOError while another run asks."""
        if self._path is None:
            raise FileNotFoundError
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Users may share a cache (XDG_CACHE_HOME, or HOME after sudo). An answer of another user could
        # name any job of this one as a pilot to cancel.
        found = self._path.parent.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # Not the file itself, which is replaced. The kernel unlocks it when the process ends.
        descriptor = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield self._path
        finally:
            os.close(descriptor)


def _load(path: Path) -> _Record:
    """Read the record; an empty one if there is none, or none that can be read. Raises OSError."""
    try:
        fields: Any = json.loads(path.read_text(encoding="utf-8"))
        return _Record(
            time=float(fields["time"]),
            asked=[str(name) for name in fields["asked"]],
            arrays={name: (str(array), float(at)) for name, (array, at) in fields["arrays"].items()},
            elements=[
                Element(**{**each, "state": ElementState(each["state"])}) for each in fields["elements"]
            ],
            error=str(fields["error"]),
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return _Record()


def _save(path: Path, record: _Record) -> None:
    elements = [{**asdict(each), "state": each.state.value} for each in record.elements]
    fields = {name: getattr(record, name) for name in record.__slots__}
    text = json.dumps({**fields, "elements": elements})
    # Without it the next run asks once more; the answer of this one is there anyway.
    with contextlib.suppress(OSError):
        write_whole(path, text.encode("utf-8"))
