"""The changes of state that hosts and pages may go through, as tables.

The transitions themselves are made in hosttransitions.py, pagetransitions.py and schedulerstate.py;
these tables say which of them exist, and why each happens. docs/diagrams.py makes the diagrams of
docs/architecture.md from them. tests/machine/conftest.py holds simulated and random runs against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from sshrender.core.states import HostState, PageState

State = TypeVar("State", HostState, PageState)

CONNECTED = frozenset({HostState.IDLE, HostState.BUSY, HostState.DRAINED})
"""The states of a host whose runner is connected and accepted."""

DELIVERED = frozenset({PageState.DONE, PageState.SUSPECT})


class Change(NamedTuple, Generic[State]):
    """Changes from each of ``sources`` to each of ``targets``; a state is never its own target.

    ``cause`` has no colon and no semicolon: Mermaid ends a label there.
    """

    sources: frozenset[State]
    targets: frozenset[State]
    cause: str


def _from(*sources: State) -> frozenset[State]:
    return frozenset(sources)


HOST_CHANGES: tuple[Change[HostState], ...] = (
    Change(_from(HostState.UNKNOWN), _from(HostState.CONNECTING), "run starts"),
    Change(_from(HostState.CONNECTING), CONNECTED, "handshake and canary page accepted"),
    Change(
        _from(HostState.LOST, HostState.QUARANTINED, HostState.REFUSED),
        CONNECTED,
        "connected again after a pause",
    ),
    Change(_from(HostState.IDLE), _from(HostState.BUSY), "load of others above busy_above"),
    Change(_from(HostState.BUSY), _from(HostState.IDLE), "load of others below idle_below"),
    Change(_from(HostState.IDLE, HostState.BUSY), _from(HostState.DRAINED), "drain"),
    Change(_from(HostState.DRAINED), _from(HostState.IDLE, HostState.BUSY), "undrain"),
    Change(CONNECTED, _from(HostState.QUARANTINED), "several different pages failed in a row"),
    # A host's last pages are verified after its connection has ended, too.
    Change(
        _from(HostState.LOST, HostState.CONNECTING),
        _from(HostState.QUARANTINED),
        "pages of the host failed verification",
    ),
    Change(CONNECTED, _from(HostState.LOST), "connection ended, silence, or misbehaviour"),
    Change(_from(HostState.CONNECTING, HostState.QUARANTINED), _from(HostState.LOST), "no connection"),
    Change(
        CONNECTED,
        _from(HostState.REFUSED),
        "outvoted, cannot write to the shared folder, or malformed message",
    ),
    Change(
        _from(HostState.CONNECTING, HostState.LOST, HostState.QUARANTINED),
        _from(HostState.REFUSED),
        "the handshake shows what is missing",
    ),
    Change(
        _from(HostState.CONNECTING), _from(HostState.UNKNOWN), "the run ended before the host answered"
    ),
    Change(
        _from(HostState.REFUSED),
        _from(HostState.CONNECTING),
        "undrain, storage is back, or majority changed",
    ),
    Change(frozenset(HostState) - {HostState.REMOVED}, _from(HostState.REMOVED), "removed from the run"),
    Change(_from(HostState.REMOVED), _from(HostState.CONNECTING), "added again"),
)

PAGE_CHANGES: tuple[Change[PageState], ...] = (
    Change(_from(PageState.UNREADY, PageState.WAITING), DELIVERED, "delivered by an earlier run"),
    Change(
        _from(PageState.UNREADY),
        _from(PageState.WAITING),
        "its part is split off, or the outvoted file is gone",
    ),
    Change(_from(PageState.WAITING), _from(PageState.SENT), "assigned to a host"),
    Change(_from(PageState.SENT), _from(PageState.VERIFYING), "host reports the file"),
    Change(_from(PageState.SENT), _from(PageState.WAITING), "returned, or failed with retries left"),
    Change(_from(PageState.SENT), _from(PageState.FAILED), "failed on as many hosts as it may"),
    Change(_from(PageState.VERIFYING), _from(PageState.DONE), "verified and delivered"),
    Change(_from(PageState.VERIFYING), _from(PageState.SUSPECT), "delivered with a diagnostic"),
    Change(_from(PageState.VERIFYING), _from(PageState.WAITING), "not verified, retries left"),
    Change(_from(PageState.VERIFYING), _from(PageState.SENT), "not verified, a second attempt runs"),
    Change(
        _from(PageState.VERIFYING), _from(PageState.FAILED), "not verified on as many hosts as it may"
    ),
    Change(_from(PageState.DONE), _from(PageState.SUSPECT), "diagnostic came late"),
    Change(DELIVERED, _from(PageState.UNREADY), "withdrawn, its host was outvoted"),
    Change(_from(PageState.FAILED), _from(PageState.WAITING), "retry requested"),
    # After a withdrawal, an attempt that was cancelled before may still report.
    Change(
        _from(PageState.WAITING),
        _from(PageState.VERIFYING, PageState.FAILED),
        "a cancelled attempt reported its result",
    ),
)


def pairs(changes: Iterable[Change[State]]) -> frozenset[tuple[State, State]]:
    """Return every (source, target) of a table."""
    return frozenset(
        (source, target)
        for change in changes
        for source in change.sources
        for target in change.targets
        if source is not target
    )
