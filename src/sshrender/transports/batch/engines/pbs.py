"""The common part of TORQUE and OpenPBS: ids, states, qdel, qhold and qrls. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sshrender.transports.batch.engines.interface import (
    Answer,
    ArrayHandle,
    ArrayRequest,
    Command,
    ElementState,
    EngineUnavailable,
    SubmissionRefused,
)

_ID = re.compile(r"([0-9]{1,18})(?:\[([0-9]{0,18})\])?(\..*)?$")
"""``123.desk``, ``123[].desk``, ``123[4].desk``."""

_STATES = {
    "Q": ElementState.WAITING,
    "W": ElementState.WAITING,
    "T": ElementState.WAITING,
    "H": ElementState.HELD,
    "R": ElementState.RUNNING,
    "S": ElementState.RUNNING,
    "U": ElementState.RUNNING,
    "M": ElementState.RUNNING,
    "E": ElementState.ENDING,
}
"""qstat(1B). C, F and X are ends. The row of an array itself is B in OpenPBS."""

# The texts are those of TORQUE's and OpenPBS's clients, in lower case.
_AWAY = ("cannot connect", "unable to communicate", "connection refused", "no permission to contact")

_AWAY_CODE = 111
"""The exit code is the error number modulo 256: ECONNREFUSED."""

_GONE_CODES = (153, 170, 35)
"""PBSE_UNKJOBID (15001), PBSE_BADSTATE (15018) and OpenPBS's PBSE_HISTJOBID (15139), modulo 256."""

_SLOT_LIMIT_CODE = 70
"""15174 modulo 256: TORQUE's qrls of an array in which a limit still holds elements. It worked all the
same (measured with 6.1.3)."""

_FAILED = (
    *("could not connect to mom", "unauthorized request", "server shutting down"),
    *("end of file", "timeout", "server is busy", *_AWAY),
)
"""Message about a job that is still there. With several ids a command does what it can and returns the
code of any failure (measured), so that of an unknown one may hide another."""

# A smaller array may be accepted if one of these is the reason.
_SIZE = (
    "bad job array request",
    "array size too large",
    "maximum number of jobs",
    "max_queued",
    "array size",
)


def split_id(text: str) -> tuple[str, int | None] | None:
    """Return the number of a job or array, and the index of an element; None: this is not an id.

    The index is None for the array itself and for a job that is not an array.
    """
    found = _ID.match(text.strip())
    if found is None:
        return None
    return found[1], int(found[2]) if found[2] else None


def state_of(letter: str) -> ElementState:
    """Return the state that a letter of qstat stands for. Raises EngineUnavailable if it is empty."""
    if not letter:
        raise EngineUnavailable("its answer has a job without a state")
    return _STATES.get(letter, ElementState.ENDED)


def element(array: str, index: int) -> str:
    """Return the id of an element: ``123[4].desk``. A job that is not an array is its own element."""
    # An id without brackets has no index to fill in, and stays the same.
    return array.replace("[]", f"[{index}]")


def element_array(text: str) -> str:
    """Return the id of the array of an element: ``123[].desk`` of ``123[4].desk``."""
    return re.sub(r"\[[0-9]+\]", "[]", text)


def require_id(array: ArrayHandle) -> str:
    """Return the id of an array. Raises EngineUnavailable if the answer to its submission was lost."""
    if not array.array:
        raise EngineUnavailable(f"the id of {array.name} is not known yet")
    return array.array


class PbsEngine:
    """The part of Engine that TORQUE and OpenPBS have in common."""

    first = 0
    needs_script_file = False

    def version_command(self) -> Command:
        """See Engine. It tells TORQUE from OpenPBS: options have other meanings there."""
        return Command(("qsub", "--version"))

    def submitted(self, answer: Answer) -> str:
        """See Engine."""
        lines = [line.strip() for line in answer.out.splitlines()]
        # A site's submit filter or wrapper may print lines of its own before the id and behind it.
        ids = [line for line in lines if split_id(line) is not None]
        if answer.code == 0 and ids:
            return ids[-1]
        reason = answer.reason
        # With -z it prints no id, but the job is in the queue: a query finds it by its name.
        if answer.code == 0:
            raise EngineUnavailable(f"qsub printed no id: {reason}")
        if answer.code == _AWAY_CODE or any(text in reason.lower() for text in _AWAY):
            raise EngineUnavailable(reason)
        raise SubmissionRefused(reason, is_size=any(text in reason.lower() for text in _SIZE))

    def cancel(self, array: ArrayHandle, indexes: Sequence[int] = ()) -> Command:
        """See Engine. Raises EngineUnavailable."""
        require_id(array)
        ids = [element(array.array, index) for index in indexes] or [array.array]
        # dict.fromkeys keeps the order and drops repeats: each element of a plain job has the id of the
        # job.
        return Command(("qdel", *dict.fromkeys(ids)))

    def hold(self, array: ArrayHandle) -> Command:
        """See Engine. OpenPBS can hold arrays as a whole only. Raises EngineUnavailable."""
        return Command(("qhold", require_id(array)))

    def release(self, array: ArrayHandle) -> Command:
        """See Engine. Raises EngineUnavailable."""
        return Command(("qrls", require_id(array)))

    def attached(self, element: str, cores: int, words: Sequence[str]) -> tuple[str, ...] | None:  # noqa: ARG002 - see Engine
        """See Engine: no command of it does that."""
        return None

    def verify(self, request: ArrayRequest) -> None:
        """See Engine."""

    def verified(self, answer: Answer) -> None:
        """See Engine."""

    def is_done(self, answer: Answer) -> bool:
        """See Engine. One that is on a dead node is not done: only a manager can delete it (qdel -p)."""
        if answer.code in (0, _SLOT_LIMIT_CODE):
            return True
        text = (answer.err + answer.out).lower()
        return answer.code in _GONE_CODES and not any(each in text for each in _FAILED)


def owner_of(text: str) -> str:
    """Return the name of the user in a Job_Owner such as ``artist@desk``."""
    return text.rpartition("@")[0]


def held_reason(comment: str, types: str) -> str:
    """Return why a job is held that its user has not held. ``types``: u, o and s (qhold(1B))."""
    others = types.replace("u", "").replace("n", "")
    if not others:
        return ""
    # A scheduler such as Maui sets s, and says nothing.
    return waiting_reason(comment) or f"held by the batch system (Hold_Types {others})"


def waiting_reason(comment: str) -> str:
    """Return why a job waits, by the comment of its scheduler; empty if that tells of its start."""
    # ``Job started on …`` (TORQUE), ``Job run at …`` and ``Job Array Began at …`` (OpenPBS) stay in the
    # comment of a job that was put back into the queue.
    return "" if comment.startswith("Job ") else comment.removeprefix("Not Running: ")
