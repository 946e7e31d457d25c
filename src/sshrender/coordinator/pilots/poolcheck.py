"""Asks the engine of each pool how it stands, without a job: for ``hosts``. Three commands a pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sshrender.coordinator.pilots.pool import PoolSetup
from sshrender.transports.batch.engines.interface import (
    ArrayRequest,
    EngineUnavailable,
    SubmissionRefused,
    WrongEngine,
)

USABLE, LOST, REFUSED = "usable", "lost", "refused"


@dataclass(frozen=True, slots=True)
class PoolCheck:
    """How a pool stands. ``state``: usable, lost (no answer) or refused (not this engine, no command).

    ``nodes``: their numbers by state, as the engine calls it; ``free``: cores that no job has now.
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


def check_pools(pools: Sequence[PoolSetup]) -> list[PoolCheck]:
    """Return how the pools stand, in their order."""
    if not pools:
        return []
    with ThreadPoolExecutor(min(8, len(pools))) as workers:
        return list(workers.map(_check, pools))


def _check(pool: PoolSetup) -> PoolCheck:
    engine = pool.engine
    try:
        # The version first: an engine that is another one is told from one that does not answer.
        version = engine.version(pool.call(engine.version_command()))
    except SubmissionRefused as refused:
        return _failed(pool, REFUSED, refused.reason)
    except EngineUnavailable as error:
        return _failed(pool, REFUSED if isinstance(error, WrongEngine) else LOST, str(error))
    try:
        # Its failure is no refusal: the engine answered a moment ago.
        nodes = engine.nodes(pool.call(engine.nodes_command()))
    except (EngineUnavailable, SubmissionRefused) as error:
        return _failed(pool, LOST, f"{engine.name} does not answer: {error}", version)
    usable = [node for node in nodes if node.is_usable]
    reason = _refusal(pool)
    state = REFUSED if reason else USABLE
    if not usable and not reason:
        state, reason = LOST, "no node takes jobs now"
    return PoolCheck(
        name=pool.name,
        engine=engine.name,
        state=state,
        reason=reason,
        version=version,
        nodes=dict(Counter(node.state for node in nodes)),
        free=sum(node.free for node in usable),
        cores=sum(node.cores for node in nodes),
        pilots=pool.pilots,
    )


def _refusal(pool: PoolSetup) -> str:
    """Return why the engine would refuse a pilot; empty where it would not, or cannot say."""
    request = ArrayRequest(
        name="ssr-check",
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
    return PoolCheck(pool.name, pool.engine.name, state, reason, version, pilots=pool.pilots)
