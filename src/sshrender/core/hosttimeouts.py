"""The timeouts of hosts: what they lead to, and when they have to be checked next. Pure.

A host is not checked on every turn, but when the first of its timeouts may have passed. Whatever sets a
new one wakes the host for it (``SchedulerState.wake``). A timeout that moved away meanwhile, as each
message moves the one for silence, costs one check for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sshrender.core import commands as do
from sshrender.core.policy import Policy
from sshrender.core.records import Attempt, Host
from sshrender.core.schedulerstate import SchedulerState

CHECK_INTERVAL = 0.1
"""Least seconds between two checks of a host's timeouts: none of them is shorter than a second."""


def next_check(host: Host, policy: Policy, stall_timeout: float) -> float | None:
    """Return when the first timeout of the host passes, as it is now; None if there is none."""
    return min(_of_host(host, policy, stall_timeout), default=None)


def _of_host(host: Host, policy: Policy, stall_timeout: float) -> Iterator[float]:
    # TimeoutChecks._check_timeouts checks each of these. A timeout that is added there needs a line
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
        # (TimeoutChecks._check_attempt).
        graces = 2 if attempt.is_killed else 1
        yield attempt.started_at + policy.page_timeout + graces * policy.overdue_grace


def kept_timeout(attempt: Attempt, policy: Policy) -> float:
    """Return the seconds in which an attempt has to end that its host keeps."""
    return policy.kill_timeout if attempt.is_killed else policy.page_timeout + 2 * policy.overdue_grace


class TimeoutChecks:
    """Checks the hosts' timeouts when they are due.

    ``mark_lost`` and ``distrust`` are called to leave a host, with the reason.
    """

    def __init__(
        self,
        run: SchedulerState,
        mark_lost: Callable[[Host, str], None],
        distrust: Callable[[Host, str], None],
    ) -> None:
        self._run = run
        self._mark_lost = mark_lost
        self._distrust = distrust

    def check_due(self, may_reconnect: bool) -> None:
        """Check the timeouts of the hosts whose turn it is, and set when each is checked next."""
        run = self._run
        for host in run.take_due_hosts():
            self._check_timeouts(host, may_reconnect)
            due = next_check(host, run.policy, run.stall_timeout)
            if due is not None:
                # Not at once: what is compared with the newest handled message may still be too early.
                run.wake(host, max(due, run.now + CHECK_INTERVAL))

    def _check_timeouts(self, host: Host, may_reconnect: bool) -> None:
        """Check a host for silence, ended pauses, and attempts that do not start, end or return."""
        run = self._run
        # Compared with heard_until, not with the clock: messages may wait in the coordinator's inbox.
        silence = host.silence(run.policy)
        if host.is_connected and run.heard_until - host.heard_at > silence:
            self._mark_lost(host, f"no message for {silence:g} s")
        # At most one of these: each changes the connection.
        elif host.is_connected and host.budget.is_exhausted:
            self._distrust(host, "it caused too many journal entries")
        elif host.retry_at is not None and run.now >= host.retry_at and may_reconnect:
            host.retry_at = None
            run.issue(do.ConnectHost(host.name))
        if host.recalling_since is not None and run.now - host.recalling_since >= host.recall_grace:
            for attempt in host.in_flight.values():
                run.kill(attempt, host.recall_reason)
        for attempt in list(host.in_flight.values()):
            self._check_attempt(host, attempt)
        self._check_stall(host)

    def _check_attempt(self, host: Host, attempt: Attempt) -> None:
        """Enforce the page timeout on a runner that does not do so itself."""
        # Not there: the check of an earlier attempt has left the host.
        if attempt.name not in host.in_flight or self._ignores_recall(host, attempt):
            return
        if attempt.started_at is None:
            return
        policy = self._run.policy
        # First the attempt is killed; if that does not end it, the host is left.
        late = self._run.now - attempt.started_at - policy.page_timeout
        if late > 2 * policy.overdue_grace:
            self._mark_lost(host, f"it does not finish page {attempt.page}")
        elif late > policy.overdue_grace:
            self._run.kill(attempt, "it exceeded the page timeout")

    def _ignores_recall(self, host: Host, attempt: Attempt) -> bool:
        """Leave a host that ignores requests to return or end an attempt; return whether it was left."""
        # As in _check_timeouts: the answer may wait in the coordinator's inbox.
        policy, now = self._run.policy, self._run.heard_until
        unanswered = attempt.unanswered_since()
        if unanswered is not None and now - unanswered > policy.answer_timeout:
            self._distrust(host, f"no answer to the request to return page {attempt.page}")
        elif attempt.kept_at is not None and now - attempt.kept_at > kept_timeout(attempt, policy):
            # It answered that a slot has the attempt. So the attempt must end, by the page timeout at
            # latest.
            self._distrust(host, f"it neither returned page {attempt.page} nor rendered it")
        return not host.is_connected

    def _check_stall(self, host: Host) -> None:
        """Leave a host that sends heartbeats but starts none of its attempts: it would block the job.

        A host that reports no free slot may be right, as other jobs may hold them all. Then its
        attempts are recalled, which only a host that follows the protocol answers.
        """
        since = host.stalled_since
        if since is not None and self._run.now - since > self._run.stall_timeout:
            if host.usable_slots:  # by its own account a slot is free for us
                self._mark_lost(host, "it does not start the pages that were sent to it")
                return
            # A new period: else the host would be due again at every check.
            host.stalled_since = self._run.now
            for attempt in host.in_flight.values():
                self._run.revoke(attempt, "its host had no free slot for it for a long time")
