"""The pilots of a run, on the side of the loop: they become hosts, retire and leave.

``update`` is called on every turn of the loop; the handlers translate what managers post into events.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sshrender.coordinator.pilots import poolmanager as pm
from sshrender.coordinator.pilots.leftpilots import Orphans
from sshrender.coordinator.pilots.pool import Demand, PoolReport, shares
from sshrender.coordinator.pilots.poolmessages import PilotEnded, PilotRetiring
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.core import events as ev
from sshrender.core.constrainedpages import Constraint
from sshrender.core.policy import HostPlan
from sshrender.core.scheduler import Scheduler
from sshrender.core.states import HostState, PageState
from sshrender.job.journal import journalentries as je
from sshrender.transports.batch.filelink import CONNECT_TIMEOUT, FileTransport
from sshrender.transports.batch.pipelink import PipeTransport

SILENCE = 30.0
"""Seconds without a message over files after which either end considers the other gone."""

QUEUE_SECONDS = 4.0
"""Seconds of work behind each slot: over files a line takes up to 2 s each way when it was quiet."""

IDLE_TIMEOUT = 20.0
"""Seconds without a page, while none waits, after which an allocation is given back."""

SLOW_PAGES = 3
"""An allocation is left when less time remains than this many of its slowest recent pages take."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""A name of a node that may be part of a word: commas and quotes mean more to engines."""

UPDATE_INTERVAL = 0.5
FINISH_TIMEOUT = 20.0
"""Seconds for the engines to cancel waiting pilots at the end of a run. Pilots that start later do
nothing."""

FAILURES, FAILURE_WINDOW = 2, 180.0
"""Failed connections of a pilot within so many seconds, after which it is taken for ended: its holder
gives up after a minute (runner/allocationholder.py)."""


@dataclass(slots=True)
class _PilotHost:
    """A pilot that is a host now."""

    pool: str
    manager: pm.PoolManager
    node: str
    transport: FileTransport | PipeTransport
    ends_at: float
    """The end of its allocation, on the monotonic clock; after a take-over it may end earlier."""
    is_retiring: bool = False
    was_usable: bool = False
    """Whether it was idle for a page once, here or in an earlier run."""
    idle_since: float | None = None
    failed_at: list[float] = field(default_factory=list)


class Pilots:
    """All pilots of a run. ``orphans``: those of earlier coordinators whose pool it does not use.

    ``drained``: the hosts and nodes that are out of use when the run begins, by name.
    """

    def __init__(
        self,
        managers: Sequence[pm.PoolManager],
        orphans: Orphans | None = None,
        drained: Mapping[str, ev.DrainRequested] | None = None,
    ) -> None:
        self._managers = list(managers)
        self._orphans = orphans
        self._hosts: dict[str, _PilotHost] = {}
        self._drained = dict(drained or {})  # by host or node
        self._nodes: dict[str, set[str]] = {}
        self._useless_nodes: set[str] = set()
        self._reports: dict[str, PoolReport] = {}
        self._updated_at = 0.0

    def start(self) -> None:
        """Start the managers."""
        for each in self._managers:
            each.start()
        if self._orphans is not None:
            self._orphans.start()

    def expected(self) -> ev.HostsExpected:
        """Return how many pilots may still become hosts."""
        if len(self._reports) < len(self._managers):
            return ev.HostsExpected(sum(each.setup.pilots for each in self._managers))
        reports = self._reports.values()
        reason = "; ".join(f"pool {each.pool}: {each.reason}" for each in reports if each.reason)
        return ev.HostsExpected(sum(each.expected for each in reports), reason)

    def update(self, scheduler: Scheduler, now: float) -> list[ev.Event]:
        """Pass the demand to the managers; return the removal of pilots that have nothing to do."""
        if not self._managers or now - self._updated_at < UPDATE_INTERVAL:
            return []
        self._updated_at = now
        waiting, pages, may_grow = self._pages(scheduler)
        setups = [each.setup for each in self._managers]
        idle = {each.pool for each in self._reports.values() if not each.expected and not each.running}
        needed = shares(pages, setups, idle)
        unwanted = self._drained.keys() | self._useless_nodes
        for each, part in zip(self._managers, needed, strict=True):
            # Slurm refuses a submission that names a node it does not know.
            known = self._nodes.get(each.setup.name, set())
            avoid = {node for node in known & unwanted if _NODE.fullmatch(node)}
            each.need(Demand(part, bool(scheduler.held), tuple(sorted(avoid)), may_grow))
        may_wait = waiting > 0 and not scheduler.held
        events: list[ev.Event] = []
        for name, pilot in list(self._hosts.items()):
            if self._gave_back_useless(name, pilot, scheduler):
                continue
            events += self._retire_in_time(name, pilot, scheduler)
            reason = self._leaves(name, pilot, scheduler, may_wait, now)
            if reason:
                events += self._remove(name, reason)
        return events

    def _pages(self, scheduler: Scheduler) -> tuple[int, int, bool]:
        """Return how many waiting pages a pilot may render, and for how many of them pilots are needed.

        Pages on other hosts need no pilot: one that left for lack of work would be replaced again and
        again. The last value: whether such a page may come back.
        """
        queue, own = scheduler.page_queue, self._hosts.keys()

        def is_pinned_elsewhere(constraint: Constraint) -> bool:
            return constraint.pinned_to is not None and not constraint.pinned_to & own

        pinned = queue.constrained.count(is_pinned_elsewhere)
        waiting = queue.counts[PageState.WAITING] + queue.counts[PageState.UNREADY] - pinned
        may_grow = len(queue.pages) - queue.finished_count > pinned
        pages = waiting + sum(
            len(host.in_flight) for name, host in scheduler.hosts.items() if name in own
        )
        if scheduler.limit is None:
            return waiting, pages, may_grow
        pages = min(pages, max(0, scheduler.limit - _limited_slots(scheduler, but=own)))
        return waiting, pages, may_grow

    def _gave_back_useless(self, name: str, pilot: _PilotHost, scheduler: Scheduler) -> bool:
        """Give back the allocation of a host that was refused; return whether it was given back.

        The host stays refused and is not removed: it is the reason why a run without others ends.
        """
        host = scheduler.hosts.get(name)
        if host is None or host.state is not HostState.REFUSED:
            if host is not None and host.state is HostState.IDLE and not pilot.was_usable:
                pilot.was_usable = True
                pilot.manager.note_work()
            return False
        del self._hosts[name]
        # The next pilot would start on the same node, which has become free.
        self._useless_nodes.add(pilot.node)
        pilot.manager.note_useless(host.reason)
        self._dismiss(name, pilot)
        return True

    def _retire_in_time(self, name: str, pilot: _PilotHost, scheduler: Scheduler) -> list[ev.Event]:
        """Retire a pilot whose slow pages may take longer than its holder leaves at the end."""
        host = scheduler.hosts.get(name)
        if pilot.is_retiring or host is None or not host.recent_seconds:
            return []
        if pilot.ends_at - time.monotonic() > SLOW_PAGES * max(host.recent_seconds):
            return []
        return self.on_retiring(PilotRetiring(name, "its walltime ends soon"))

    def _leaves(
        self, name: str, pilot: _PilotHost, scheduler: Scheduler, is_waiting: bool, now: float
    ) -> str:
        """Return why the pilot should leave now; empty if it should not."""
        host = scheduler.hosts.get(name)
        # It has work, or is about to have some: its time without a page begins again.
        if host is None or host.in_flight or host.verifying or host.state is HostState.CONNECTING:
            pilot.idle_since = None
            return ""
        if pilot.is_retiring:
            return "its allocation ends"
        # --limit leaves no slot for it.
        is_spare = host.slot_limit == 0 and _limited_slots(scheduler) >= (scheduler.limit or 0)
        # A page waits, so the pilot stays although it has none.
        if is_waiting and not is_spare and host.state is not HostState.DRAINED:
            pilot.idle_since = None
            return ""
        pilot.idle_since = pilot.idle_since or now
        if now - pilot.idle_since < IDLE_TIMEOUT:
            return ""
        return "it is drained" if host.state is HostState.DRAINED else "no page is left for it"

    def on_started(self, item: pm.PilotStarted) -> tuple[HostSetup, list[ev.Event]]:
        """Return how to reach a pilot that has started, and the events that make it a host."""
        setup, note = item.manager.setup, item.note
        plan = HostPlan(
            item.host,
            slots=max(1, min(setup.cores, note.cores or setup.cores)),
            ignores_load=True,  # on a shared node the load of others does not count
            silence=SILENCE,
            is_lent=True,
            queue_seconds=QUEUE_SECONDS,
        )
        self._nodes.setdefault(setup.name, set()).add(note.node)
        ends_at = time.monotonic() + note.left
        self._hosts[item.host] = _PilotHost(
            setup.name,
            item.manager,
            note.node,
            item.transport,
            ends_at,
            was_usable=item.is_inherited,
        )
        host_setup = HostSetup(
            plan=plan,
            transport=item.transport,
            san=setup.san,
            python=setup.python,
            ghostscript=setup.ghostscript,
            sandbox=setup.sandbox,
            connect_timeout=CONNECT_TIMEOUT,
            silence=SILENCE,
            node=note.node,
        )
        events: list[ev.Event] = [ev.HostAdded(plan)]
        # The drain came before the pilot: HostAdded is handled first, and forgets earlier drains
        # (core/events.py).
        drain = self._drained.get(note.node)
        if drain is not None:
            events.append(drain._replace(host=item.host))
        return host_setup, events

    def on_retiring(self, item: PilotRetiring) -> list[ev.Event]:
        """Take a pilot out of use, because its allocation ends soon."""
        pilot = self._hosts.get(item.host)
        if pilot is None:
            return []
        pilot.is_retiring = True
        return [ev.DrainRequested(item.host, f"pool {pilot.pool}", item.reason)]

    def on_ended(self, item: PilotEnded) -> list[ev.Event]:
        """Remove a pilot whose allocation has ended: no page and no host is charged."""
        pilot = self._hosts.pop(item.host, None)
        if pilot is None:
            return []
        _note_use(pilot, item.reason)
        return [ev.HostRemoved(item.host, f"its allocation ended: {item.reason}")]

    def on_report(self, report: PoolReport) -> list[ev.Event]:
        """Take in the state of a pool."""
        self._reports[report.pool] = report
        return [self.expected()]

    def on_failure(self, host: str, reason: str) -> list[ev.Event] | None:
        """Return the events of a failed connection to a pilot that is over; None: as of any host."""
        pilot = self._hosts.get(host)
        if pilot is None:
            return None
        now = time.monotonic()
        pilot.failed_at = [at for at in pilot.failed_at if now - at < FAILURE_WINDOW] + [now]
        if len(pilot.failed_at) < FAILURES:
            return None
        events = self._remove(host, f"its allocation does not answer: {reason}")
        pilot.manager.give_up(host)
        return events

    def on_drain(self, event: ev.DrainRequested | ev.UndrainRequested) -> list[ev.Event]:
        """Return the event for every pilot on the node of this name, and the event itself."""
        if isinstance(event, ev.DrainRequested):
            self._drained[event.host] = event
        else:
            self._drained.pop(event.host, None)
        names = [event.host, *(name for name, pilot in self._hosts.items() if pilot.node == event.host)]
        if isinstance(event, ev.UndrainRequested):
            # The allocation of one that retires still ends.
            retiring = {name for name, pilot in self._hosts.items() if pilot.is_retiring}
            names = [name for name in names if name not in retiring]
        return [event._replace(host=name) for name in names]

    def stop(self) -> list[je.JournalEntry]:
        """Leave no pilot behind: cancel waiting ones, write tombstones. Return the entries to record."""
        for each in self._managers:
            each.stop()
        ending = [each.finish for each in (*self._managers, self._orphans) if each is not None]
        if not ending:
            return []
        with ThreadPoolExecutor(len(ending)) as workers:
            found = workers.map(lambda finish: finish(FINISH_TIMEOUT), ending)
            return [entry for ended in found for entry in ended]

    def left(self) -> list[str]:
        """Return a line for each array that ``stop`` could not cancel."""
        ending = (each for each in (*self._managers, self._orphans) if each is not None)
        return [left.in_words() for each in ending for left in each.left]

    def _remove(self, host: str, reason: str) -> list[ev.Event]:
        pilot = self._hosts.pop(host)
        _note_use(pilot, reason)
        self._dismiss(host, pilot)
        return [ev.HostRemoved(host, reason)]

    def _dismiss(self, host: str, pilot: _PilotHost) -> None:
        pilot.manager.dismiss(host)
        # In a thread: the shared folder may hang.
        threading.Thread(target=pilot.transport.dismiss, daemon=True, name=f"dismiss {host}").start()


def _note_use(pilot: _PilotHost, reason: str) -> None:
    """Count a pilot that left before it could be used: the next ones may do the same."""
    if not pilot.was_usable:
        pilot.manager.note_useless(f"{pilot.node}: {reason}")


def _limited_slots(scheduler: Scheduler, but: Collection[str] = ()) -> int:
    """Return how many slots of the job's limit hosts have; ``but``: without these."""
    hosts = scheduler.hosts.items()
    return sum(
        host.slot_limit or 0 for name, host in hosts if host.state is HostState.IDLE and name not in but
    )
