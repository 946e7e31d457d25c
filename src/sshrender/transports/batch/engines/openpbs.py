"""OpenPBS and PBS Professional: qsub -J, qstat -f -F json, qdel, qhold, qrls, pbsnodes. Seen: 23.06.

Its JSON may be invalid because of other users' jobs (openpbs issues 1255 and 2541): only own ids are
asked for. An array of one element is refused, so that is a plain job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sshrender.transports.batch.engines import pbs
from sshrender.transports.batch.engines.answers import count_of, field_of, json_of
from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    ArrayRequest,
    Command,
    Element,
    ElementState,
    EngineUnavailable,
    Node,
    WrongEngine,
    clean,
    hours,
    mebibytes,
)

_GONE = frozenset({0, 35, 153})
"""Exit codes of qstat that come with an answer: 35 finished and 153 unknown are said of single ids."""

_STUCK = "too many failed attempts to run"
"""In the comment of a job that the server holds because its start has failed 21 times."""

_DOWN = ("down", "offline", "unknown", "stale", "provisioning", "maintenance", "sleep")


class OpenPbs(pbs.PbsEngine):
    """See Engine."""

    name = "openpbs"

    def version(self, answer: Answer) -> str:
        """See Engine."""
        if answer.code:
            raise EngineUnavailable(answer.reason)
        text = answer.out + answer.err
        _, found, version = text.partition("pbs_version = ")
        if not found:
            # TORQUE's qsub prints ``Version:`` and ``Commit:`` lines (measured with 6.1.3) and no
            # ``pbs_version``.
            is_torque = "Version:" in text and "Commit:" in text
            why = 'qsub is that of TORQUE: engine = "torque"' if is_torque else answer.reason
            raise WrongEngine(why)
        return version.split()[0] if version.split() else ""

    def submit(self, request: ArrayRequest) -> Command:
        """See Engine."""
        needs = f"select=1:ncpus={request.cores}"
        if request.memory is not None:
            needs += f":mem={mebibytes(request.memory)}mb"
        words = ["qsub", "-N", request.name]
        if request.count > 1:
            words += ["-J", f"0-{request.count - 1}"]
        words += ["-l", needs, "-l", f"walltime={hours(request.walltime)}"]
        # Both outputs go nowhere: the server would copy them to the folder of the submission.
        words += ["-j", "oe", "-o", "/dev/null", "-S", "/bin/sh"]
        # Otherwise each pilot that is cancelled is a mail: Mail_Points is ``a`` by default.
        words += ["-m", "n"]
        if request.queue is not None:
            words += ["-q", request.queue]
        return Command((*words, *request.options), request.script)

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:
        """See Engine. Only ids that are known; an array whose answer was lost is looked for by name."""
        ids = [array.array for array in arrays if array.array]
        # Without an id only the list of all jobs can show the array.
        if not ids or len(ids) < len(arrays):
            return Command(("qstat", "-t", "-f", "-F", "json"))
        return Command(("qstat", "-t", "-f", "-F", "json", *ids))

    def elements(self, answer: Answer) -> list[Element]:
        """See Engine."""
        if answer.code not in _GONE:
            raise EngineUnavailable(answer.reason)
        found = []
        jobs = _table(json_of(answer.out, "{}"), "Jobs")
        # The elements of an array that is held are Q; the row of the array says H (measured).
        held = {
            text: field_of(_as_table(job), "comment")
            for text, job in jobs.items()
            if field_of(_as_table(job), "job_state") == "H"
        }
        for text, job in jobs.items():
            parts = pbs.split_id(text)
            if parts is None or not isinstance(job, Mapping) or field_of(job, "job_state") == "B":
                continue
            # The row of the array itself has no index; its elements follow in rows of their own (-t).
            if parts[1] is None and "[]" in text:
                continue
            state = pbs.state_of(field_of(job, "job_state"))
            if state is ElementState.WAITING and pbs.element_array(text) in held:
                state = ElementState.HELD
            is_held = state is ElementState.HELD
            comment = held.get(text) or held.get(pbs.element_array(text)) or ""
            is_stuck = is_held and _STUCK in comment
            reason = field_of(job, "comment") if state is ElementState.WAITING else ""
            if is_held:
                reason = comment if is_stuck else pbs.held_reason(comment, field_of(job, "Hold_Types"))
            found.append(
                Element(
                    # The id as commands need it: the bare number of an array is an unknown job.
                    array=pbs.element_array(text),
                    index=parts[1] or 0,
                    name=field_of(job, "Job_Name"),
                    state=state,
                    reason=pbs.waiting_reason(reason),
                    node=field_of(job, "exec_host").partition("/")[0],
                    # Like every attribute with parts, such as Resource_List.
                    start=field_of(_table(job, "estimated"), "start_time"),
                    is_stuck=is_stuck,
                    owner=pbs.owner_of(field_of(job, "Job_Owner")),
                )
            )
        return found

    def nodes_command(self) -> Command:
        """See Engine."""
        return Command(("pbsnodes", "-a", "-F", "json"))

    def nodes(self, answer: Answer) -> list[Node]:
        """See Engine."""
        if answer.code:
            raise EngineUnavailable(answer.reason)
        found = []
        for name, node in _table(json_of(answer.out, "{}"), "nodes").items():
            if not isinstance(node, Mapping):
                continue
            state = field_of(node, "state")
            cores = _count(node, "resources_available")
            # A state may be several words with commas, such as ``free,offline``, so each word is
            # searched for.
            is_usable = not any(word in state for word in _DOWN)
            free = max(0, cores - _count(node, "resources_assigned")) if is_usable else 0
            found.append(Node(clean(name), state, is_usable, cores, free, field_of(node, "comment")))
        return found


def _count(node: Mapping[str, Any], key: str) -> int:
    return count_of(_table(node, key), "ncpus") or 0


def _table(fields: Any, key: str) -> Mapping[str, Any]:
    return _as_table(fields.get(key) if isinstance(fields, Mapping) else None)


def _as_table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
