"""A snapshot of the scheduler's state for the views: plain data that never changes afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from sshrender.core.records import Host
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import PageState


@dataclass(frozen=True, slots=True)
class HostView:
    """One host. Loads are active threads per core; ``median`` is seconds per page."""

    name: str
    state: str
    reason: str
    slots: int
    running: int
    others: float
    ours: float
    pages: int
    failures: int
    median: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole run. Counts are pages."""

    total: int
    done: int
    suspect: int
    failed: int
    waiting: int
    running: int
    delivered_here: int
    paused: str
    held: str
    hosts: tuple[HostView, ...]
    paused_seconds: float = 0.0
    """Seconds since the pause began."""
    pause_left: float = 0.0
    """Seconds that it still waits for the storage before it gives up."""
    no_host_left: float | None = None
    """Seconds that it still waits for a usable host; None: one is usable, or there is no limit."""
    withheld: str = ""
    """Why no page is sent for a while though the storage works; empty while pages are sent."""
    withheld_left: float = 0.0
    """Seconds until pages are sent again."""

    @property
    def delivered(self) -> int:
        """Return the number of pages that were delivered, suspect ones too."""
        return self.done + self.suspect

    @property
    def settled(self) -> int:
        """Return the number of pages in a final state."""
        return self.done + self.suspect + self.failed

    @property
    def missing(self) -> int:
        """Return the number of pages that are not in a final state."""
        return self.total - self.settled


def take(scheduler: Scheduler) -> Snapshot:
    """Return a snapshot of the scheduler."""
    counts = scheduler.page_queue.counts
    withheld, withheld_left = scheduler.withheld
    return Snapshot(
        total=len(scheduler.page_queue.pages),
        done=counts[PageState.DONE],
        suspect=counts[PageState.SUSPECT],
        failed=counts[PageState.FAILED],
        waiting=counts[PageState.WAITING] + counts[PageState.UNREADY],
        running=counts[PageState.SENT] + counts[PageState.VERIFYING],
        delivered_here=scheduler.delivered_here,
        paused=scheduler.paused,
        held=scheduler.held,
        hosts=tuple(_view(host) for host in scheduler.hosts.values()),
        paused_seconds=scheduler.paused_seconds,
        pause_left=_pause_left(scheduler),
        no_host_left=scheduler.no_host_left,
        withheld=withheld,
        withheld_left=withheld_left,
    )


def _pause_left(scheduler: Scheduler) -> float:
    if not scheduler.paused:
        return 0.0
    return max(0.0, scheduler.policy.storage_wait - scheduler.paused_seconds)


def _view(host: Host) -> HostView:
    return HostView(
        name=host.name,
        state=host.state.value,
        reason=host.reason,
        slots=host.slots,
        running=_rendering(host),
        others=host.others_per_core,
        ours=host.ours / max(host.cores, 1),
        pages=host.pages_done,
        failures=host.failures,
        median=host.median_seconds,
    )


def _rendering(host: Host) -> int:
    """Return the number of slots that render.

    More attempts may have started, as a host reports several at a time.
    """
    return min(host.started_count, host.slots)
