"""Parse points in time: ``22:30``, ``2026-01-31 22:30``, or ``2h`` from now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sshrender.config.units import parse_duration


def parse(text: str, now: datetime) -> datetime:
    """Return a point in time, in UTC; a time of day is the next such time. Raises ValueError.

    ``now`` has the local time zone, in which times without a zone are read.
    """
    stripped = text.strip()
    try:
        # The order matters: 22:30 is no date, and a duration such as 2h is neither.
        return _next_time_of_day(stripped, now)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(stripped)
    except ValueError:
        return _from_now(stripped, now)
    # Without an offset the time is the user's own.
    if found.tzinfo is None:
        found = found.replace(tzinfo=now.tzinfo)
    return found.astimezone(UTC)


def _next_time_of_day(text: str, now: datetime) -> datetime:
    clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - only hour and minute are used
    # Today if that is still to come, else tomorrow. The zone of ``now`` is kept, so a change of summer
    # time may shift it.
    found = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return (found if found > now else found + timedelta(days=1)).astimezone(UTC)


def _from_now(text: str, now: datetime) -> datetime:
    try:
        # A plus sign is allowed, as in at(1).
        return now.astimezone(UTC) + timedelta(seconds=parse_duration(text.removeprefix("+")))
    except (ValueError, OverflowError):  # a time of many years is beyond what a date can be
        raise ValueError("a start time is 22:30, 2026-01-31 22:30, or 2h (in two hours)") from None
