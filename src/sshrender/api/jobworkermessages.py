"""The messages between the queue's dispatcher and the process that runs a job: two JSON objects.

The dispatcher writes a ``JobOrder`` to the process's standard input; the process writes a ``JobEnd`` to
its standard output. Each is one object, written once, and ends with the end of the pipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_CONCURRENT_JOBS = 4
"""Jobs at the same time, by default. Each opens a connection to every host, and sshd limits those that
have not yet logged in (MaxStartups)."""

MAX_ORDER_BYTES = 1 << 20
"""Far more than the paths and options in an order can be."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """A job to run, and how to run it.

    ``options``: by setting, as a user would type them. ``known_dead``: a lease that the dispatcher has
    seen unchanged for long enough (job/lease.py, take). ``parent``: the dispatcher's process id.
    ``password``: the document's, if the dispatcher has it in its memory.
    """

    folder: str
    parent: int
    known_dead: str = ""
    config: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    wants_summary: bool = False
    password: str | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        """Return the order as JSON."""
        # json.dumps escapes what is not ASCII.
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> JobOrder:
        """Return the order in ``data``. Raises ValueError."""
        fields = _object(data)
        # Unknown fields are dropped: the other end may be of another release while the program is
        # upgraded.
        known = {key: fields[key] for key in cls.__slots__ if key in fields}
        # None fails the type check below, so a missing field is an error like a wrong one.
        order = cls(**{"folder": None, "parent": None, **known})
        _require(order.folder, str)
        _require(order.parent, int)
        _require(order.known_dead, str)
        _require(order.config, (str, type(None)))
        _require(order.options, dict)
        _require(order.wants_summary, bool)
        _require(order.password, (str, type(None)))
        return order


@dataclass(frozen=True, slots=True)
class JobEnd:
    """The end of a run. ``error``: why it could not start or continue; empty if the result says it.

    ``summary``: what ``--json`` prints, if the order asked for it. ``needs_user``: the job would fail
    again until a user decides something.
    """

    exit_code: int
    error: str = ""
    summary: dict[str, Any] | None = None
    needs_user: bool = False

    def encode(self) -> bytes:
        """Return the end as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> JobEnd:
        """Return the end in ``data``. Raises ValueError, as for a process that was killed."""
        fields = _object(data)
        end = cls(
            # -1 is not an exit code: a process that ends without one has failed.
            fields.get("exit_code", -1),
            fields.get("error", ""),
            fields.get("summary"),
            fields.get("needs_user", False),
        )
        _require(end.exit_code, int)
        _require(end.error, str)
        _require(end.summary, (dict, type(None)))
        _require(end.needs_user, bool)
        return end


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    # json.loads raises it for nested brackets; it is not a ValueError.
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("this is not a JSON object")
    return found


def _require(value: object, kind: type | tuple[type, ...]) -> None:
    is_bool = isinstance(value, bool) and kind is not bool  # which Python takes for an int
    if is_bool or not isinstance(value, kind):
        raise ValueError(f"{value!r:.40} has the wrong type")
