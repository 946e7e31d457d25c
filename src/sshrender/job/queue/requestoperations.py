"""List the operations that a request can ask for (requests.py)."""

from __future__ import annotations

from enum import Enum, StrEnum, auto


class Operation(StrEnum):
    """The operations that a request can ask of a job's coordinator.

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


class Effect(Enum):
    """The change that a handled request makes to the state of a job, according to its journal."""

    HELD = auto()
    RELEASED = auto()
    PAGE_RETRIED = auto()
    NOTHING = auto()
    """Attributes or later entries show its effect."""


def effect_of(name: str) -> Effect:
    """Return the effect of a handled request; ``name``: of its operation, perhaps a later version's."""
    operation = operation_of(name)
    match operation:
        case Operation.HOLD:
            return Effect.HELD
        case Operation.RELEASE:
            return Effect.RELEASED
        case Operation.RETRY:
            return Effect.PAGE_RETRIED
        # Each operation is named, so that a new one without a case is a type error.
        case (
            None
            | Operation.CANCEL
            | Operation.RESUBMIT
            | Operation.ALTER
            | Operation.REMARK
            | Operation.DRAIN
            | Operation.UNDRAIN
            | Operation.MOVE
        ):
            return Effect.NOTHING


def operation_of(name: str) -> Operation | None:
    """Return the operation of this name; None for one of a later version."""
    try:
        return Operation(name)
    except ValueError:
        return None
