"""The interface of every engine: requests, records, and the Protocol of an adapter. Pure."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

MAX_REASON = 300
"""Characters of an engine's text that are kept."""

MAX_DIGITS = 18
"""Digits of a number in an answer: those of a signed number of 64 bits, in which engines count."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
"""Characters that XML forbids: TORQUE prints them as they are in the variables of any user."""


class ElementState(enum.Enum):
    """The state of an element of an array, as its engine reports it. Absent elements have none."""

    WAITING = "waiting"
    """In the queue."""
    HELD = "held"
    """In the queue, and not to be started until it is released."""
    RUNNING = "running"
    """Started; the engine may not have noticed yet that its node is gone."""
    ENDING = "ending"
    """Told to end, and not gone yet."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an engine: its words, and its input. No shell reads the words."""

    words: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a command, and its exit code."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def reason(self) -> str:
        """Return its complaint in one line, without the names of programs in front."""
        text = _EXPLANATION.split(self.err or self.out, maxsplit=1)[0]
        lines = [each.strip() for each in text.splitlines()]
        # The first three lines: commands repeat their usage after the error.
        kept = [line for line in lines if line and not line.lower().startswith(_USELESS)]
        complaint = "; ".join(dict.fromkeys(_PREFIX.sub("", line) for line in kept[:3]))
        return clean(complaint)[:MAX_REASON] or f"exit code {self.code}"


_PREFIX = re.compile(
    r"^(?:(?:sbatch|squeue|scancel|sinfo|scontrol|qsub|qstat|qdel|qhold|qrls|pbsnodes|condor_)\w*: )?"
    r"(?:error: )?",
    re.IGNORECASE,
)
_EXPLANATION = re.compile(r"^Extra Info:", re.MULTILINE)
"""HTCondor explains at length what the cause may be (condor_utils/condor_q.cpp)."""
_USELESS = ("usage:", "exiting.", "try ")


@dataclass(frozen=True, slots=True)
class ArrayRequest:
    """An array of identical jobs. ``memory`` in bytes (None: the engine's default), walltime in seconds.

    ``avoid``: nodes to keep off, if the engine can. ``script_file``: where the script lies for an engine
    that reads it from a file.
    """

    name: str
    count: int
    cores: int
    walltime: float
    memory: int | None = None
    queue: str | None = None
    options: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    script: str = ""
    script_file: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of an array. ``start``: when the engine expects it to start, in its own words.

    ``is_stuck``: its start has failed, and the engine keeps it in the queue for its owner to look at.
    ``owner``: the user who submitted it, if the engine lists the jobs of all users.
    """

    array: str
    index: int
    name: str
    state: ElementState
    reason: str = ""
    node: str = ""
    start: str = ""
    is_stuck: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster. ``is_usable``: it takes jobs; ``free``: its free cores."""

    name: str
    state: str
    is_usable: bool
    cores: int
    free: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ArrayHandle:
    """An array that was submitted: its name, and its id if the engine's answer arrived."""

    name: str
    array: str = ""
    elements: tuple[int, ...] = field(default=())


class EngineUnavailable(Exception):
    """The engine gave no answer that can be read: nothing is known about its jobs."""


class WrongEngine(EngineUnavailable):
    """The command is another program's of the same name: that will not change by itself."""


class SubmissionRefused(Exception):
    """The engine refused an array. ``is_size``: a smaller array may be accepted."""

    def __init__(self, reason: str, *, is_size: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_size = is_size


class Engine(Protocol):
    """The six verbs of an engine. ``first``: the index of an array's first element."""

    name: str
    first: int
    needs_script_file: bool

    def version_command(self) -> Command:
        """Return the command that prints the engine's version."""
        ...

    def version(self, answer: Answer) -> str:
        """Return the version. Raises EngineUnavailable, or WrongEngine."""
        ...

    def submit(self, request: ArrayRequest) -> Command:
        """Return the command that submits an array."""
        ...

    def submitted(self, answer: Answer) -> str:
        """Return the id of the new array. Raises SubmissionRefused or EngineUnavailable."""
        ...

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:
        """Return the one command that lists these arrays, perhaps among others.

        None given: all that the user has, among them those of all runs. TORQUE and OpenPBS list those
        of other users, too.
        """
        ...

    def elements(self, answer: Answer) -> list[Element]:
        """Return every element in an answer. Raises EngineUnavailable."""
        ...

    def cancel(self, array: ArrayHandle, indexes: Sequence[int] = ()) -> Command:
        """Return the command that cancels these elements of an array; none given: all of it."""
        ...

    def hold(self, array: ArrayHandle) -> Command:
        """Return the command that keeps waiting elements of an array from being started."""
        ...

    def release(self, array: ArrayHandle) -> Command:
        """Return the command that undoes ``hold``."""
        ...

    def is_done(self, answer: Answer) -> bool:
        """Return whether ``cancel``, ``hold`` or ``release`` succeeded, or came after the jobs' end."""
        ...

    def attached(self, element: str, cores: int, words: Sequence[str]) -> tuple[str, ...] | None:
        """Return the words that run a command in the allocation of an element that runs.

        ``element``: its id, or what its holder reports as such. None: the engine cannot do that.
        """
        ...

    def verify(self, request: ArrayRequest) -> Command | None:
        """Return the command that tells whether an array would be accepted; None: there is none.

        Nothing is submitted.
        """
        ...

    def verified(self, answer: Answer) -> None:
        """Take its answer. Raises SubmissionRefused, or EngineUnavailable."""
        ...

    def nodes_command(self) -> Command:
        """Return the command that lists the nodes."""
        ...

    def nodes(self, answer: Answer) -> list[Node]:
        """Return the nodes in an answer. Raises EngineUnavailable."""
        ...


def clean(text: str) -> str:
    """Return a text of an engine without control characters."""
    return _CONTROL.sub("", text).strip()


def require(answer: Answer) -> str:
    """Return what a command printed. Raises EngineUnavailable if it failed."""
    if answer.code:
        raise EngineUnavailable(answer.reason)
    return answer.out


def hours(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, as every engine reads it."""
    # No zero: Slurm takes a time limit of 0 as no limit at all (sbatch(1)).
    whole = max(1, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def mebibytes(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size // (1 << 20))


def ranges(indexes: Iterable[int]) -> str:
    """Return numbers as ``0-3,7``."""
    # The invariant of the loop: ``found`` holds closed ranges in ascending order that do not touch.
    ordered = sorted(set(indexes))
    found: list[list[int]] = []
    for number in ordered:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in found)


def number(text: str | None, default: int = 0) -> int:
    """Return a number of an answer; ``default`` if it is none."""
    try:
        return int(text or "")
    except ValueError:
        return default


def is_number(text: str) -> bool:
    """Return whether a text of an answer is a number that int() reads, in ASCII digits."""
    # isdigit() alone is true for a raised 2, and int() refuses more than 4,300 digits.
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def indexes_of(text: str) -> Iterator[int]:
    """Yield the indexes in a list such as ``5,7-9:2``; of a part at most 100,000, of no list none."""
    for part in text.split(","):
        bounds, _, step = part.partition(":")
        low, dash, high = bounds.partition("-")
        # The text is an engine's; a part that is not a number is passed over.
        if not is_number(low) or (dash and not is_number(high)) or (step and not is_number(step)):
            continue
        last = int(high) if dash else int(low)
        # The bound keeps a range such as 0-999999999 from filling the memory.
        yield from range(int(low), min(last, int(low) + 100_000) + 1, max(1, number(step, 1)))
