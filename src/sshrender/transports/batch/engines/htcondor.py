"""HTCondor: condor_submit, condor_q, condor_rm, condor_hold, condor_release, condor_status.

From its manual and source, and tried with 23.9. Jobs carry the attribute ``SsrPilot``, the name of
their array. ``-forcex`` is never used: it makes the pool forget a job that may still run.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

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
    SubmissionRefused,
    WrongEngine,
    mebibytes,
    require,
)

# The attributes are requested by name: a whole ad has more than a hundred of them.
_ATTRIBUTES = (
    "ClusterId,ProcId,JobStatus,SsrPilot,HoldReason,HoldReasonCode,RemoteHost,LastRejMatchReason"
)

_STATES = {
    1: ElementState.WAITING,
    2: ElementState.RUNNING,
    3: ElementState.ENDING,
    4: ElementState.ENDED,
    5: ElementState.HELD,
    6: ElementState.RUNNING,
    7: ElementState.RUNNING,
    8: ElementState.ENDED,
    9: ElementState.WAITING,
}
"""JobStatus: idle, running, removed, completed, held, transferring output, suspended; failed and
blocked, which no version uses yet (condor_includes/proc.h)."""

_IDLE, _RUNNING = 1, 2

_HELD_ON_PURPOSE = (None, 1, 15)
"""HoldReasonCode (Job ClassAd Attributes): by condor_hold, and at its submission."""

_AWAY = (
    "can't find address",
    "failed to connect",
    "failed to fetch ads",
    "can't connect",
)
_SIZE = ("max_jobs_submitted", "max_jobs_per_submission", "max_jobs_per_owner", "number of jobs")
_REQUIREMENTS = re.compile(r"\s*requirements\s*=\s*(.+)", re.IGNORECASE)

_GONE = re.compile(
    r"couldn't find/|there are no jobs in the queue"
    r"|job [0-9.]+ (not found|already |not held to be released)|all jobs? .*have been ",
    re.IGNORECASE,
)
"""Messages of condor_rm, condor_hold and condor_release if no job matches (condor_tools/tool.cpp). The
first line comes after a failure, too; then another line tells of that."""


class HtCondor:
    """See Engine. It transfers the script from a file, not from its input."""

    name = "htcondor"
    first = 0
    needs_script_file = True

    def version_command(self) -> Command:
        """See Engine."""
        return Command(("condor_version",))

    def version(self, answer: Answer) -> str:
        """See Engine."""
        found = re.search(r"\$CondorVersion: (\S+)", require(answer))
        if found is None:
            raise WrongEngine(f"condor_version is not HTCondor's: {answer.reason}")
        return found[1]

    def submit(self, request: ArrayRequest) -> Command:
        """See Engine. ``want_graceful_removal``: condor_rm sends TERM first, and KILL later."""
        limit = round(request.walltime)
        # The forms of condor_submit(1), one command a line; ``queue`` comes last and makes the elements.
        lines = [
            "universe = vanilla",
            "executable = /bin/sh",
            f'arguments = "{_quoted(request.script_file)} $(Process)"',
            "transfer_executable = false",
            # NO: the script is on the shared folder, which the node mounts.
            "should_transfer_files = NO",
            "initialdir = /",
            f"request_cpus = {request.cores}",
            "output = /dev/null",
            "error = /dev/null",
            "want_graceful_removal = true",
            "job_max_vacate_time = 30",
            "getenv = false",
            # Old versions send mail when a job ends (condor_submit(1)).
            "notification = never",
            f'+SsrPilot = "{request.name}"',
            # HTCondor has no walltime of its own.
            f"periodic_remove = JobStatus == {_RUNNING} && time() - EnteredCurrentStatus > {limit}",
        ]
        if request.memory is not None:
            lines.append(f"request_memory = {mebibytes(request.memory)}MB")
        # After our lines: if a command is given twice, HTCondor takes the last.
        lines += request.options
        if request.avoid:
            given = [found[1] for line in request.options if (found := _REQUIREMENTS.match(line))]
            needs = [f"({given[-1]})"] if given else []
            needs += [_elsewhere(node) for node in request.avoid]
            lines.append(f"requirements = {' && '.join(needs)}")
        lines.append(f"queue {request.count}")
        return Command(("condor_submit", "-terse", "-"), "\n".join(lines) + "\n")

    def submitted(self, answer: Answer) -> str:
        """See Engine."""
        # ``-terse`` prints the first and the last id, as 12.0 - 12.9. Both have the same cluster.
        found = re.match(r"(\d+)\.\d+ - \1\.\d+$", answer.out.strip())
        if answer.code == 0 and found is not None:
            return found[1]
        reason = answer.reason
        if answer.code == 0:
            raise EngineUnavailable(f"condor_submit printed no id: {reason}")
        if any(text in reason.lower() for text in _AWAY):
            raise EngineUnavailable(reason)
        raise SubmissionRefused(reason, is_size=any(text in reason.lower() for text in _SIZE))

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:
        """See Engine."""
        # =!= is also false if a job has no such attribute; == would be undefined.
        everything = "SsrPilot =!= undefined"
        constraint = " || ".join(f'SsrPilot == "{array.name}"' for array in arrays) or everything
        return Command(("condor_q", "-json", "-attributes", _ATTRIBUTES, "-constraint", constraint))

    def elements(self, answer: Answer) -> list[Element]:
        """See Engine. Without any job it prints nothing."""
        found = []
        for job in _ads(require(answer)):
            cluster, process, status = (
                count_of(job, key) for key in ("ClusterId", "ProcId", "JobStatus")
            )
            state = None if status is None else _STATES.get(status)
            # All of these jobs are ours (``query``). Leaving one out would say that it has ended.
            if cluster is None or process is None or state is None:
                raise EngineUnavailable("its answer has a job without an id or a known JobStatus")
            key = "HoldReason" if state is ElementState.HELD else "LastRejMatchReason"
            reason = "" if state is ElementState.RUNNING else field_of(job, key)
            # RemoteHost is ``slot1@node`` (or ``slot1_2@node``).
            node = field_of(job, "RemoteHost").rpartition("@")[2]
            code = count_of(job, "HoldReasonCode")
            # A job whose start has failed is held for its owner to look at.
            is_stuck = state is ElementState.HELD and code not in _HELD_ON_PURPOSE
            name = field_of(job, "SsrPilot")
            found.append(Element(str(cluster), process, name, state, reason, node, is_stuck=is_stuck))
        return found

    def cancel(self, array: ArrayHandle, indexes: Sequence[int] = ()) -> Command:
        """See Engine."""
        if indexes and array.array:
            return Command(("condor_rm", *(f"{array.array}.{index}" for index in indexes)))
        return Command(("condor_rm", "-constraint", f'SsrPilot == "{array.name}"'))

    def hold(self, array: ArrayHandle) -> Command:
        """See Engine. A running job that is held is killed: only those that wait are."""
        waiting = f'SsrPilot == "{array.name}" && JobStatus == {_IDLE}'
        return Command(("condor_hold", "-constraint", waiting))

    def release(self, array: ArrayHandle) -> Command:
        """See Engine."""
        return Command(("condor_release", "-constraint", f'SsrPilot == "{array.name}"'))

    def attached(self, element: str, cores: int, words: Sequence[str]) -> tuple[str, ...] | None:  # noqa: ARG002 - see Engine
        """See Engine. The other end splits the line at blanks and reads it once more as a shell does.

        It is ``eval ${SSH_ORIGINAL_COMMAND}`` in condor_ssh_to_job_shell_setup. Base64 has nothing in it
        that either changes. ``-auto-retry``: for eight seconds after its start (23.9, measured) a job
        cannot be reached, because the schedd does not know the address of its starter.
        """
        line = base64.b64encode(f"exec {shlex.join(words)}".encode()).decode()
        return ("condor_ssh_to_job", "-auto-retry", element, f'eval "$(echo {line} | base64 -d)"')

    def is_done(self, answer: Answer) -> bool:
        """See Engine. The code is 1 for any failure."""
        lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
        return answer.code == 0 or (bool(lines) and all(_GONE.match(line) for line in lines))

    def verify(self, request: ArrayRequest) -> None:
        """See Engine."""

    def verified(self, answer: Answer) -> None:
        """See Engine."""

    def nodes_command(self) -> Command:
        """See Engine."""
        return Command(("condor_status", "-json", "-attributes", "Machine,State,Cpus,TotalSlotCpus"))

    def nodes(self, answer: Answer) -> list[Node]:
        """See Engine. A machine has several slots, each with its own state."""
        total: dict[str, int] = {}
        free: dict[str, int] = {}
        states: dict[str, list[str]] = {}
        for slot in _ads(require(answer)):
            name, state, cpus = (
                field_of(slot, "Machine"),
                field_of(slot, "State"),
                count_of(slot, "Cpus") or 0,
            )
            total[name] = total.get(name, 0) + cpus
            free[name] = free.get(name, 0) + (cpus if state == "Unclaimed" else 0)
            states.setdefault(name, []).append(state)
        return [
            # Owner: the machine is used by its owner, and takes no jobs until it is idle.
            Node(name, states[name][0], set(states[name]) != {"Owner"}, total[name], free[name])
            for name in total
            if name
        ]


def _elsewhere(node: str) -> str:
    """Return the condition of a machine that is not this node."""
    # Machine is the full name; a node may call itself by its first part alone.
    return f'(Machine != "{node}" && !regexp("^{node}[.]", Machine))'


def _quoted(path: str) -> str:
    """Return a path as an argument of a submit description: quotes are doubled (condor_submit(1))."""
    return "'" + path.replace("'", "''").replace('"', '""') + "'"


def _ads(text: str) -> list[Mapping[str, Any]]:
    """Return the objects. Raises EngineUnavailable if it is not a list of them."""
    value = json_of(text, "[]")
    if not isinstance(value, list):
        raise EngineUnavailable("its answer is no list")
    return [each for each in value if isinstance(each, Mapping)]
