"""A list of jobs as plain lines: ``watch`` without a terminal prints each job that has changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from sshrender.views.dashboard.source import JobLine, Listed
from sshrender.views.text import clean, count, duration


def changed(before: Listed | None, listed: Listed, now: float) -> Iterator[str]:
    """Yield a line for each job that is new or differs from ``before``, and one for each that is gone.

    ``now``: seconds since 1970. All jobs the first time.
    """
    at = datetime.fromtimestamp(now).astimezone().strftime("%H:%M:%S")
    # By name, because a job keeps its name and changes everything else.
    known = {job.name: job for job in before.jobs} if before is not None else {}
    width = max((len(job.name) for job in listed.jobs), default=0)
    for job in listed.jobs:
        # Speed and time left change with each reading, and would make every line a new one.
        if _timeless(known.get(job.name)) != _timeless(job):
            yield f"{at}  {clean(job.name):<{width}}  {describe(job)}"
    for name in known.keys() - {job.name for job in listed.jobs}:
        yield f"{at}  {clean(name):<{width}}  removed"
    if before is None and not listed.jobs:
        yield "no jobs"


def _timeless(job: JobLine | None) -> JobLine | None:
    """Return a job without the fields that change although nothing happens."""
    return None if job is None else replace(job, speed=None, left=None, hosts=0)


def describe(job: JobLine) -> str:
    """Return the state of a job in a line: state, pages, problems, speed, time left, reason."""
    words = [job.state]
    if job.total:
        words.append(f"{job.done + job.suspect}/{count(job.total, 'page')}")
    words += [f"{number} {what}" for number, what in _problems(job) if number]
    if job.hosts:
        words.append(f"on {count(job.hosts, 'host')}")
    if job.speed:
        fast = job.speed >= 1
        words.append(f"{job.speed:.1f} pages/s" if fast else f"{60 * job.speed:.1f} pages/min")
    if job.left is not None:
        words.append(f"{duration(job.left)} left")
    reason = f": {clean(job.note)}" if job.note else ""
    return ", ".join(words) + reason


def _problems(job: JobLine) -> tuple[tuple[int, str], ...]:
    return (job.suspect, "suspect"), (job.failed, "failed")
