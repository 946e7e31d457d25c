"""TORQUE: qsub, qstat -x -t, qdel, qhold, qrls, pbsnodes -x. Measured with 6.1.3.

``qstat 'ID[]'`` prints every job of the server, so all are listed and picked by id. There is no JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sshrender.transports.batch.engines import pbs
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
    WrongEngine,
    hours,
    mebibytes,
    number,
    require,
)

_OPENPBS = "pbs_version"

_UNUSABLE = frozenset({"down", "offline", "unknown", "state-unknown", "reserve"})
"""States of a node that gets no job until an administrator or its return changes that (pbsnodes(8))."""


class Torque(pbs.PbsEngine):
    """See Engine."""

    name = "torque"

    def version(self, answer: Answer) -> str:
        """See Engine."""
        if answer.code:
            raise EngineUnavailable(answer.reason)
        text = answer.out + answer.err
        if _OPENPBS in text:
            raise WrongEngine('qsub is that of OpenPBS: engine = "openpbs"')
        found = re.search(r"ersion: *(\S+)", text)
        if found is None:
            raise WrongEngine(f"qsub is not TORQUE's: {answer.reason}")
        return found[1]

    def submit(self, request: ArrayRequest) -> Command:
        """See Engine. Never -V: an escape character of a variable makes the XML of qstat invalid.

        ``nodes=1:ppn=N`` and no ``+``: two parts that land on one node hang (measured with 6.1.3).
        """
        needs = f"nodes=1:ppn={request.cores},walltime={hours(request.walltime)}"
        if request.memory is not None:
            needs += f",mem={mebibytes(request.memory)}mb"
        words = [
            "qsub",
            "-N",
            request.name,
            "-t",
            # One element is still an array in TORQUE, so its id has brackets.
            f"0-{request.count - 1}" if request.count > 1 else "0",
        ]
        # The mom copies nothing to a path that begins with /dev/null, also with the ``-INDEX`` that an
        # element has behind it (req_cpyfile in resmom/requests.c). So no file stays on a node.
        words += ["-l", needs, "-j", "oe", "-o", "/dev/null", "-S", "/bin/sh"]
        # Otherwise each pilot that is cancelled is a mail: Mail_Points is ``a`` by default.
        words += ["-m", "n"]
        if request.queue is not None:
            words += ["-q", request.queue]
        return Command((*words, *request.options), request.script)

    def query(self, arrays: Sequence[ArrayHandle]) -> Command:  # noqa: ARG002 - it lists all jobs
        """See Engine."""
        return Command(("qstat", "-x", "-t"))

    def elements(self, answer: Answer) -> list[Element]:
        """See Engine. Without any job old versions print nothing at all."""
        found = []
        for job in xml_of(require(answer)).iter("Job"):
            name, parts = text_of(job, "Job_Name"), pbs.split_id(text_of(job, "Job_Id"))
            if parts is None or (parts[1] is None and "[]" in text_of(job, "Job_Id")):
                continue  # the row of the array itself
            state = pbs.state_of(text_of(job, "job_state"))
            holds = text_of(job, "Hold_Types")
            if state is ElementState.HELD and holds == "l":
                state = ElementState.WAITING  # the array's own limit on running elements
            index = parts[1] or 0
            # An element's name is the array's with its index behind.
            found.append(
                Element(
                    # The id as commands need it: the bare number of an array is an unknown job.
                    array=pbs.element_array(text_of(job, "Job_Id")),
                    index=index,
                    name=name.removesuffix(f"-{index}"),
                    state=state,
                    reason=_reason(state, text_of(job, "comment"), holds),
                    # exec_host is ``node/0-3``, with ``+`` between nodes; a pilot has one node.
                    node=text_of(job, "exec_host").partition("/")[0],
                    owner=pbs.owner_of(text_of(job, "Job_Owner")),
                )
            )
        return found

    def nodes_command(self) -> Command:
        """See Engine."""
        return Command(("pbsnodes", "-x"))

    def nodes(self, answer: Answer) -> list[Node]:
        """See Engine. A job of several cores on a node is listed as ``0-3/12.desk``."""
        found = []
        for node in xml_of(require(answer)).iter("Node"):
            state = text_of(node, "state")
            # np: the number of processors that the administrator has given the node (pbsnodes(8)).
            cores = number(text_of(node, "np"))
            used = sum(
                sum(1 for _ in _cores(each.partition("/")[0]))
                for each in text_of(node, "jobs").replace(" ", "").split(",")
                if each
            )
            # Several words are joined by commas, such as ``job-exclusive,busy`` or ``down,offline``.
            # job-exclusive: every core has a job, but the node is in use and may become free.
            words = set(state.split(","))
            is_usable = not words & _UNUSABLE
            # busy: the load of the node is above its max_load, so it gets no job now.
            free = max(0, cores - used) if is_usable and "busy" not in words else 0
            found.append(
                Node(text_of(node, "name"), state, is_usable, cores, free, text_of(node, "note"))
            )
        return found


def _cores(text: str) -> range:
    low, _, high = text.partition("-")
    return range(number(low), number(high, number(low)) + 1)


def _reason(state: ElementState, comment: str, holds: str) -> str:
    if state is ElementState.HELD:
        return pbs.held_reason(comment, holds)
    return pbs.waiting_reason(comment) if state is ElementState.WAITING else ""
