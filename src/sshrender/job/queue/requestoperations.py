"""List the operations that a request can ask for (requests.py)."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """What is asked of a job's coordinator.

    Every place that handles operations matches all of them and ends in ``typing.assert_never``: one that
    is added here, and not handled there, is a type error.
    """

    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"
    RESUBMIT = "resubmit"
    ALTER = "alter"
    REMARK = "remark"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    RETRY = "retry"
    MOVE = "move"

    @property
    def is_of_queue(self) -> bool:
        """Whether it concerns the job's place in the queue, not a run of it."""
        match self:
            case (
                Operation.HOLD
                | Operation.RELEASE
                | Operation.CANCEL
                | Operation.RESUBMIT
                | Operation.ALTER
                | Operation.REMARK
            ):
                return True
            # No default: a new operation has to be added to one of the cases.
            case Operation.DRAIN | Operation.UNDRAIN | Operation.RETRY | Operation.MOVE:
                return False


def operation_of(name: str) -> Operation | None:
    """Return the operation of this name; None for one of a later version."""
    try:
        return Operation(name)
    except ValueError:
        return None
