"""Parse points in time: ``22:30``, ``2026-01-31 22:30``, or ``2h`` from now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sshrender.config.units import parse_duration


def parse(text: str, now: datetime) -> datetime:
    """Return a point in time, in UTC; a time of day is the next such time. Raises ValueError.

    Times without a zone are read in that of ``now``; without one it is the local time of this machine,
    with its rules for summer time.
    """
    stripped = text.strip()
    try:
        # The order matters: 22:30 is not a date, and a duration such as 2h is neither.
        return _next_time_of_day(stripped, now)
    except ValueError:
        pass  # no time of day: it is tried as a date
    try:
        found = datetime.fromisoformat(stripped)
    except ValueError:
        return _from_now(stripped, now)
    # Without an offset the time is the user's own.
    if found.tzinfo is None:
        found = found.replace(tzinfo=now.tzinfo)
    return _in_utc(found)


def _next_time_of_day(text: str, now: datetime) -> datetime:
    clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - only hour and minute are used
    today = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    # Today if that is still to come, else tomorrow; each day has its own offset.
    days = (today, today + timedelta(days=1))
    return next(found for day in days for found in _both(day) if found > _in_utc(now))


def _both(local: datetime) -> tuple[datetime, datetime]:
    """Return what a local time stands for: two times in the hour that the end of summer time repeats."""
    # PEP 495. In the hour that the beginning of summer time leaves out, the second time is the earlier
    # one, and is not used.
    first = _in_utc(local.replace(fold=0))
    return first, max(first, _in_utc(local.replace(fold=1)))


def _in_utc(moment: datetime) -> datetime:
    # astimezone() alone is an hour early for a local time that the beginning of summer time leaves out
    # (measured with CPython 3.11); timestamp() is not.
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def _from_now(text: str, now: datetime) -> datetime:
    try:
        # A plus sign is allowed, as in at(1).
        return now.astimezone(UTC) + timedelta(seconds=parse_duration(text.removeprefix("+")))
    except (ValueError, OverflowError):  # a time of many years is beyond what a date can be
        raise ValueError("a start time is 22:30, 2026-01-31 22:30, or 2h (in two hours)") from None
