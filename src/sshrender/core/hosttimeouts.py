"""When a host's timeouts have to be checked next. Pure.

A host is not checked on every turn, but when the first of its timeouts may have passed. Whatever sets a
new one wakes the host for it (``SchedulerState.wake``). A timeout that moved away meanwhile, as each
message moves the one for silence, costs one check for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from sshrender.core.policy import Policy
from sshrender.core.records import Attempt, Host


def next_check(host: Host, policy: Policy, stall_timeout: float) -> float | None:
    """Return when the first timeout of the host passes, as it is now; None if there is none."""
    return min(_of_host(host, policy, stall_timeout), default=None)


def _of_host(host: Host, policy: Policy, stall_timeout: float) -> Iterator[float]:
    # HostTransitions._check_timeouts checks each of these. A timeout that is added there needs a line
    # here, else nothing wakes its host.
    if host.is_connected:
        yield host.heard_at + host.silence(policy)
    if host.retry_at is not None:
        yield host.retry_at
    if host.recalling_since is not None and host.in_flight:
        yield host.recalling_since + host.recall_grace
    if host.stalled_since is not None:
        yield host.stalled_since + stall_timeout
    for attempt in host.in_flight.values():
        yield from _of_attempt(attempt, policy)


def _of_attempt(attempt: Attempt, policy: Policy) -> Iterator[float]:
    unanswered = attempt.unanswered_since()
    if unanswered is not None:
        yield unanswered + policy.answer_timeout
    elif attempt.kept_at is not None:
        yield attempt.kept_at + kept_timeout(attempt, policy)
    if attempt.started_at is not None:
        # The first grace ends with a kill, the second with the connection
        # (HostTransitions._check_attempt).
        graces = 2 if attempt.is_killed else 1
        yield attempt.started_at + policy.page_timeout + graces * policy.overdue_grace


def kept_timeout(attempt: Attempt, policy: Policy) -> float:
    """Return the seconds in which an attempt has to end that its host keeps."""
    return policy.kill_timeout if attempt.is_killed else policy.page_timeout + 2 * policy.overdue_grace
