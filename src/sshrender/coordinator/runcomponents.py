"""Creates the parts of one run of a job, in the order in which they depend on each other.

The loop (loop.py) owns them; the handlers of inputs and commands (inboxhandlers.py, commandhandlers.py)
use them. Verifier, journal and thumbnail writer start their threads when they are made; ``start`` starts
those that poll folders.
"""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from sshrender.config import keyfile
from sshrender.coordinator.attemptrecords import AttemptRecords
from sshrender.coordinator.documentevents import DocumentEvents
from sshrender.coordinator.hosts.handshake import uses_ghostscript, uses_mutool
from sshrender.coordinator.hosts.loadsampler import LoadSamples
from sshrender.coordinator.hosts.messagehandlers import HostMessages
from sshrender.coordinator.hosts.preconnect import ConnectionPool
from sshrender.coordinator.hosts.router import HostRouter
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.journalrecorder import JournalRecorder
from sshrender.coordinator.pilots.leftpilots import Orphans
from sshrender.coordinator.pilots.pilothosts import Pilots
from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.coordinator.pilots.poolmanager import PoolManager
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.coordinator.workers.localcanary import LocalCanary
from sshrender.coordinator.workers.pageremover import PageRemover
from sshrender.coordinator.workers.requestpoller import RequestPoller, drained_event
from sshrender.coordinator.workers.storageprobe import StorageProbe
from sshrender.coordinator.workers.thumbnailwriter import ThumbnailWriter
from sshrender.coordinator.workers.verifier import Verifier
from sshrender.core import events as ev
from sshrender.core.scheduler import RunStart, Scheduler
from sshrender.job.folder import BATCH, WORK
from sshrender.job.lease import Lease
from sshrender.job.nonce import Nonce
from sshrender.job.queue.drains import Drain
from sshrender.renderers.constants import FILE_TO_MEMORY
from sshrender.storage.primitives import HangDetector
from sshrender.views.interface import View

HANDSHAKE_MARGIN = 5.0
"""Seconds after the time to connect in which a host may still complete its handshake, and have its page
image counted."""


NO_PASSWORD = "the document has a password, which would go into a file on the shared folder"

_NO_PILOTS = ev.HostsExpected(0, NO_PASSWORD)


@dataclass(frozen=True, slots=True)
class RunResources:
    """What the caller of a run brings beside the job.

    ``inbox``: where ``connections`` post what they receive. ``unused_pools``: others of the inventory,
    which may have pilots of earlier runs.
    """

    hosts: Sequence[HostSetup]
    connections: ConnectionPool
    inbox: queue.SimpleQueue[Any]
    view: View
    pools: Sequence[PoolSetup] = ()
    unused_pools: Sequence[PoolSetup] = ()


@dataclass(frozen=True, slots=True)
class RunInputs:
    """Everything that a run is given. ``drained``: the hosts that are out of use for every job."""

    plan: JobPlan
    resources: RunResources
    lease: Lease
    nonce: Nonce
    drained: Mapping[str, Drain]
    clock: Callable[[], float] = time.monotonic

    @property
    def usable_pools(self) -> Sequence[PoolSetup]:
        """Return the pools that may be used: none for a document with a password."""
        return self.resources.pools if self.plan.request.password is None else ()


class RunParts:
    """The scheduler, the hosts and the workers of a run, and the little state that handlers share."""

    def __init__(self, inputs: RunInputs) -> None:
        plan, lease, post = inputs.plan, inputs.lease, inputs.resources.inbox.put
        self.plan = plan
        self.lease = lease
        self.inbox = inputs.resources.inbox
        self.view = inputs.resources.view
        self.clock = inputs.clock
        # Pilots of pools are added as they start (inboxhandlers.on_pilot_started).
        self.setups = {setup.plan.name: setup for setup in inputs.resources.hosts}
        self.attempts = AttemptRecords()
        self.signal: int | None = None
        """The signal that asked the run to end."""
        self.heard_until: float | None = None
        """The arrival of the newest handled message of any host; None: none waits in the inbox."""
        self.watches = [HangDetector(str(folder)) for folder in (plan.folder.work, plan.output)]
        # The scheduler needs the journal's reference and the size of parts; the messages need all three.
        self.router = HostRouter(plan, self.setups, inputs.resources.connections, inputs.nonce, post)
        self.recorder = JournalRecorder(plan, inputs.resources.view, lease.ensure, post, lease.epoch)
        self.scheduler = _make_scheduler(inputs, self.recorder, self.router)
        self.verifier = Verifier(
            plan.reading,
            self._require_authority,
            post,
            FILE_TO_MEMORY * plan.request.limits.page_memory,
            plan.request.policy.name_wait,
        )
        # Pages that are there already need no size.
        plan.reading.read_pages([page for page in plan.pages if page not in plan.history.pages])
        self.document_events = DocumentEvents(plan.reading, plan.pages)
        self.pilots = _make_pilots(inputs)
        # Nodes of a pool are drained by names that no inventory has.
        drainable = None if inputs.resources.pools else self.setups
        self.request_poller = RequestPoller(
            plan, post, lease.ensure, inputs.drained, lease.epoch, drainable
        )
        self.load_samples = LoadSamples()
        recipes = plan.spec.settings.recipes
        self.canary = LocalCanary(
            post, with_ghostscript=uses_ghostscript(recipes), with_mutool=uses_mutool(recipes)
        )
        self.page_remover = PageRemover(plan, lease.ensure, post)
        self.storage_probe = StorageProbe(plan, post, lease.epoch, self.verifier.trouble)
        self.thumbnail_writer = ThumbnailWriter(plan.folder)
        self.messages = HostMessages(
            plan,
            self.setups,
            self.scheduler,
            self.router,
            self.recorder,
            self.thumbnail_writer,
            self.attempts,
        )
        # A new key in each run: names of earlier runs tell nothing about later ones.
        self._name_key = secrets.token_bytes(32)

    def start(self) -> None:
        """Start the threads that watch the folders and read requests."""
        self.request_poller.start()
        self.pilots.start()
        for watch in self.watches:
            watch.start()

    def work_name(self, page: int, attempt: str) -> str:
        """Return the name of an attempt's file below the job's folder.

        It ends in a token that only the host that gets the request learns. Otherwise another host could
        put a file of its own in its place beforehand.
        """
        epoch, _, number = attempt.partition(".")
        # A keyed digest: without the key the names of other attempts cannot be computed from one's
        # own.
        token = blake2b(attempt.encode(), key=self._name_key, digest_size=12).hexdigest()
        return f"{WORK}/p{page:06d}.e{epoch}.a{number}.{token}"

    def _require_authority(self) -> None:
        """Raise LeaseLost, DocumentReplaced or OSError unless pages may be published.

        Called in the verifier's threads.
        """
        self.lease.ensure()
        self.plan.require_document()


def _make_pilots(inputs: RunInputs) -> Pilots:
    """Return the pools' managers, with the arrays that earlier coordinators of the job have left."""
    plan, folder = inputs.plan, inputs.plan.folder.path / BATCH
    left = plan.history.pilots.values()
    pools = inputs.usable_pools
    secret = (keyfile.load() if pools else None) or b""
    managers = [
        PoolManager(
            pool,
            folder,
            secret,
            inputs.lease.epoch,
            inputs.resources.inbox.put,
            [entry for entry in left if entry.pool == pool.name],
        )
        for pool in pools
    ]
    known = {pool.name for pool in pools}
    orphans = [entry for entry in left if entry.pool not in known]
    every = {pool.name: pool for pool in (*inputs.resources.pools, *inputs.resources.unused_pools)}
    drained = {name: drained_event(drain) for name, drain in inputs.drained.items()}
    ending = Orphans(orphans, folder, every) if orphans else None
    return Pilots(managers, ending, drained)


def _make_scheduler(inputs: RunInputs, recorder: JournalRecorder, router: HostRouter) -> Scheduler:
    """Return the scheduler, with the pages of earlier runs and the drained hosts."""
    plan, hosts, now = inputs.plan, inputs.resources.hosts, inputs.clock()
    connect_timeout = max((setup.connect_timeout for setup in hosts), default=0.0)
    policy = replace(
        plan.request.policy,
        renderers=max(1, len(plan.spec.settings.recipes)),
        limit=plan.attributes.limit,
        ends_when_held=plan.request.is_from_queue,
        compare_timeout=HANDSHAKE_MARGIN + connect_timeout,
    )
    pages = set(plan.pages)
    start = RunStart(
        epoch=inputs.lease.epoch,
        ready=plan.spec.settings.split == 0,
        recovered=[
            ev.Recovered(
                record.page,
                record.is_suspect,
                record.diagnostics,
                record.host,
                recorder.fingerprint_of(record.page),
            )
            for record in plan.history.pages.values()
        ],
        blocked=[(page, reason) for page, reason in plan.blocked.items() if page in pages],
        reference=recorder.reference,
        votes=recorder.votes,
        pages_per_part=router.document_parts.per_part,
        pins=[(page, only) for page, only in plan.pins.items() if page in pages],
        now=now,
    )
    scheduler = Scheduler(policy, [setup.plan for setup in hosts], plan.pages, start)
    # A run without hosts would end at once.
    pilots = ev.HostsExpected(sum(pool.pilots for pool in inputs.usable_pools))
    is_refused = bool(inputs.resources.pools) and not inputs.usable_pools
    scheduler.apply(_NO_PILOTS if is_refused else pilots, now=now)
    # Before the first command: a drained host is connected, but gets no page. Not ``handle``: it could
    # end the run here, where its commands are lost.
    for drain in inputs.drained.values():
        scheduler.apply(drained_event(drain), now=now)
    return scheduler
