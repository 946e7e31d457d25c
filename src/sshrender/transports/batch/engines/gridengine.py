"""Grid Engine (SGE, Son of Grid Engine, Univa): qsub, qstat -xml, qdel, qhold, qrls. Seen: 8.1.9.

Cores beyond one need a parallel environment, whose name is the site's: it is among the pool's options.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sshrender.transports.batch.engines.answers import text_of, xml_of
from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    ArrayRequest,
    Command,
    Element,
    ElementState,
    EngineUnavailable,
    Node,
    SubmissionRefused,
    WrongEngine,
    clean,
    hours,
    indexes_of,
    is_number,
    mebibytes,
    number,
    ranges,
    require,
)

_ID = re.compile(r"(\d+)(?:\.\S*)?$")
"""``2``, or ``3.1-6:1``: the number is what precedes the first point."""

_AWAY = ("unable to contact qmaster", "cannot connect to qmaster", "unable to send message to qmaster")
_SIZE = ("tasks", "job_limit", "maximum number of jobs", "max_aj")

_GONE = ("does not exist", "already in deletion")
"""Messages of qdel, qhold and qrls for jobs that have ended."""

SOFT_LIMIT = 100
"""Seconds before the end at which USR1 is sent: KILL comes 90 s after it (measured)."""


class GridEngine:
    """See Engine. The first element of an array is 1: 0 is refused."""

    name = "gridengine"
    first = 1
    needs_script_file = False

    def version_command(self) -> Command:
        """See Engine."""
        return Command(("qstat", "-help"))

    def version(self, answer: Answer) -> str:
        """See Engine."""
        lines = answer.out.strip().splitlines()
        if not lines or not re.search(r"GE |Grid Engine", lines[0]):
            raise WrongEngine(f"qstat is not Grid Engine's: {answer.reason}")
        return clean(lines[0])

    def submit(self, request: ArrayRequest) -> Command:
        """See Engine. -notify: a cancelled job gets USR2 and a minute, and not KILL at once."""
        needs = f"h_rt={hours(request.walltime)}"
        # Only a job that is much longer than the warning gets one; a soft limit near the start would end
        # it at once.
        if request.walltime > 2 * SOFT_LIMIT:
            needs += f",s_rt={hours(request.walltime - SOFT_LIMIT)}"
        if request.memory is not None:
            needs += f",mem_free={mebibytes(request.memory)}M"
        words = [
            # -terse: only the number is printed, not a sentence around it (qsub(1)).
            "qsub",
            "-terse",
            "-N",
            request.name,
            "-t",
            f"1-{request.count}",
            "-l",
            needs,
            "-notify",
        ]
        # No output: the folder of the submission may not exist on the node. Notes go to the shared
        # folder.
        words += ["-S", "/bin/sh", "-j", "y", "-o", "/dev/null"]
        if request.queue is not None:
            words += ["-q", request.queue]
        if request.avoid:
            # An expression of host names (sge_types(1)): ``!`` negates, ``|`` is an alternative.
            words += ["-l", f"h=!({'|'.join(request.avoid)})"]
        return Command((*words, *request.options), request.script)

    def submitted(self, answer: Answer) -> str:
        """See Engine. A warning comes with exit code 1 although the job was submitted."""
        # Warnings may precede the line with the number.
        for line in answer.out.splitlines():
            found = _ID.match(line.strip())
            if found is not None:
                return found[1]
        raise self._refusal(answer)

    def verify(self, request: ArrayRequest) -> Command:
        """See Engine. ``-w v`` compares the request with an empty cluster (qsub(1))."""
        # Free memory is a load value, which an empty cluster has none of: "unknown resource (mem_free)".
        command = self.submit(replace(request, memory=None))
        return Command((command.words[0], "-w", "v", *command.words[1:]), command.stdin)

    def verified(self, answer: Answer) -> None:
        """See Engine."""
        if answer.code:
            raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> Exception:
        reason = answer.reason.removeprefix("Unable to run job: ")
        if any(text in reason.lower() for text in _AWAY):
            return EngineUnavailable(reason)
        return SubmissionRefused(reason, is_size=any(text in reason.lower() for text in _SIZE))

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:  # noqa: ARG002 - it lists all of the user's
        """See Engine."""
        return Command(("qstat", "-xml", "-g", "d"))

    def elements(self, answer: Answer) -> list[Element]:
        """See Engine. Elements that wait may come as one row: ``4-6:1``."""
        found = []
        for job in xml_of(require(answer)).iter("job_list"):
            array, word = text_of(job, "JB_job_number"), text_of(job, "state")
            if not is_number(array):
                continue
            node = text_of(job, "queue_name").partition("@")[2]
            # A job that is not an array has no tasks; an array of one element counts from 1.
            for index in indexes_of(text_of(job, "tasks") or "1"):
                name, is_stuck = text_of(job, "JB_name"), _is_stuck(word)
                reason = "the engine has put it into the error state (Eqw)" if is_stuck else ""
                found.append(Element(array, index, name, _state(word), reason, node, is_stuck=is_stuck))
        return found

    def cancel(self, array: ArrayHandle, indexes: Sequence[int] = ()) -> Command:
        """See Engine. A job's name serves as well as its number."""
        if indexes and array.array:
            pieces = ranges(indexes).split(",")
            return Command(("qdel", *(f"{array.array}.{piece}" for piece in pieces)))
        return Command(("qdel", array.array or array.name))

    def hold(self, array: ArrayHandle) -> Command:
        """See Engine."""
        return Command(("qhold", array.array or array.name))

    def release(self, array: ArrayHandle) -> Command:
        """See Engine."""
        return Command(("qrls", array.array or array.name))

    def attached(self, element: str, cores: int, words: Sequence[str]) -> tuple[str, ...] | None:  # noqa: ARG002 - see Engine
        """See Engine: no command of it does that."""
        return None

    def is_done(self, answer: Answer) -> bool:
        """See Engine. The code is 1 for any failure."""
        return answer.code == 0 or any(text in answer.reason.lower() for text in _GONE)

    def nodes_command(self) -> Command:
        """See Engine."""
        return Command(("qstat", "-f", "-xml"))

    def nodes(self, answer: Answer) -> list[Node]:
        """See Engine. A host has an instance of each queue; the one with most slots counts."""
        found: dict[str, Node] = {}
        for row in xml_of(require(answer)).iter("Queue-List"):
            name = text_of(row, "name").partition("@")[2]
            total, state = number(text_of(row, "slots_total")), text_of(row, "state")
            # Slots that are reserved (slots_resv) are no more free than those in use.
            used = number(text_of(row, "slots_used")) + number(text_of(row, "slots_resv"))
            # a, A: load; u: not reachable; d, D: disabled; E: error; s, S: suspended (qstat(1)).
            is_usable = not state
            node = Node(name, state or "up", is_usable, total, max(0, total - used) if is_usable else 0)
            if name and (name not in found or found[name].cores < total):
                found[name] = node
        return list(found.values())


def _state(word: str) -> ElementState:
    """Return the state that letters of qstat stand for: ``t`` is a start, no failure."""
    # The order matters: ``dr`` is a running job that is being deleted, ``hqw`` a waiting job that is
    # held.
    if "d" in word:
        return ElementState.ENDING
    if _is_stuck(word) or "h" in word:
        return ElementState.HELD
    if "q" in word or "w" in word:
        return ElementState.WAITING
    return ElementState.RUNNING


def _is_stuck(word: str) -> bool:
    """Return whether a start has failed: the engine does not try it again until the owner says so."""
    return "E" in word
