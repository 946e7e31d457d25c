"""Asks the engine of each pool for its state, without a job: for ``hosts``. Four commands a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sshrender.coordinator.pilots.pool import NAME_PREFIX, PoolSetup
from sshrender.transports.batch.engines.interface import (
    ArrayRequest,
    Element,
    ElementState,
    EngineUnavailable,
    SubmissionRefused,
    WrongEngine,
)

_SHOWN_BY = {
    "slurm": ("sinfo",),
    "torque": ("pbsnodes",),
    "openpbs": ("pbsnodes", "-a"),
    "gridengine": ("qstat", "-f"),
    "htcondor": ("condor_status",),
}
"""The command of an engine that shows its nodes to a user."""

USABLE, LOST, REFUSED = "usable", "lost", "refused"


@dataclass(frozen=True, slots=True)
class PoolCheck:
    """The state of a pool. ``state``: usable, lost (no answer) or refused (not this engine, no command).

    ``nodes``: their numbers by state, as the engine calls it; ``free``: cores that no job has now.
    ``waiting``, ``running``: pilots of all runs in its queue. ``reason``: also why they wait.
    ``command`` shows the nodes to the user who types it.
    """

    name: str
    engine: str
    state: str
    reason: str = ""
    version: str = ""
    nodes: dict[str, int] = field(default_factory=dict)
    free: int = 0
    cores: int = 0
    pilots: int = 0
    waiting: int = 0
    running: int = 0
    command: str = ""


def check_pools(pools: Sequence[PoolSetup]) -> list[PoolCheck]:
    """Return the states of the pools, in their order."""
    if not pools:
        return []
    with ThreadPoolExecutor(min(8, len(pools))) as workers:
        return list(workers.map(_check, pools))


def _check(pool: PoolSetup) -> PoolCheck:
    engine = pool.engine
    try:
        # The version first: it tells a wrong engine from one that does not answer. And an option that
        # only asks one engine makes another one submit (-w of qsub).
        version = engine.version(pool.call(engine.version_command()))
    except SubmissionRefused as refused:
        return _failed(pool, REFUSED, refused.reason)
    except EngineUnavailable as error:
        return _failed(pool, REFUSED if isinstance(error, WrongEngine) else LOST, str(error))
    # Side by side, so that an engine that hangs costs the time of two commands and not of four.
    with ThreadPoolExecutor(2) as workers:
        listing, refusal = workers.submit(_pilots, pool), workers.submit(_refusal, pool)
        try:
            # Its failure is not a refusal: the engine answered a moment ago.
            nodes = engine.nodes(pool.call(engine.nodes_command()))
            # HTCondor's nodes and its queue are the business of two daemons.
            pilots = listing.result()
        except (EngineUnavailable, SubmissionRefused) as error:
            return _failed(pool, LOST, f"{engine.name} does not answer: {error}", version)
        reason = refusal.result()
    usable = [node for node in nodes if node.is_usable]
    waiting = [each for each in pilots if each.state in (ElementState.WAITING, ElementState.HELD)]
    state = REFUSED if reason else USABLE
    if not usable and not reason:
        state, reason = LOST, "no node takes jobs now"
    return PoolCheck(
        name=pool.name,
        engine=engine.name,
        state=state,
        reason=reason or _why(waiting),
        version=version,
        nodes=dict(Counter(node.state for node in nodes)),
        free=sum(node.free for node in usable),
        cores=sum(node.cores for node in nodes),
        pilots=pool.pilots,
        waiting=len(waiting),
        running=sum(each.state is ElementState.RUNNING for each in pilots),
        command=pool.typed(*_SHOWN_BY[engine.name]),
    )


def _pilots(pool: PoolSetup) -> list[Element]:
    """Return the pilots in the queue. Raises what ``call`` raises."""
    found = pool.engine.elements(pool.call(pool.engine.query([])))
    # TORQUE and OpenPBS list the jobs of everybody, and other users have pilots, too. The other engines
    # are asked for the user's own jobs, and name no owner.
    return [
        each
        for each in found
        if each.name.startswith(NAME_PREFIX)
        and (not pool.user or not each.owner or each.owner == pool.user)
    ]


def _why(waiting: Sequence[Element]) -> str:
    """Return how many pilots wait, why, and when one is expected to start; empty if none waits."""
    if not waiting:
        return ""
    why = [next((each.reason for each in waiting if each.reason), "")]
    start = min((each.start for each in waiting if each.start), default="")
    why += [f"expected to start {start}"] if start else []
    words = "; ".join(each for each in why if each)
    return f"{len(waiting)} waiting in the queue" + (f": {words}" if words else "")


def _refusal(pool: PoolSetup) -> str:
    """Return why the engine would refuse a pilot; empty if it would not, or cannot say."""
    request = ArrayRequest(
        name=f"{NAME_PREFIX}check",
        count=1,
        cores=pool.cores,
        walltime=pool.walltime,
        memory=pool.memory,
        queue=pool.queue,
        options=pool.options,
        script="#!/bin/sh\n",
    )
    command = pool.engine.verify(request)
    if command is None:
        return ""
    try:
        pool.engine.verified(pool.call(command))
    except SubmissionRefused as refused:
        return f"{pool.engine.name} would refuse a pilot: {refused.reason}"
    except EngineUnavailable:
        pass  # it answered a moment ago
    return ""


def _failed(pool: PoolSetup, state: str, reason: str, version: str = "") -> PoolCheck:
    command = pool.typed(*_SHOWN_BY[pool.engine.name])
    name = pool.engine.name
    return PoolCheck(pool.name, name, state, reason, version, pilots=pool.pilots, command=command)
