"""Moments as people write them: ``22:30``, ``2026-01-31 22:30``, or so long from now: ``2h``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sshrender.config.units import parse_duration


def parse(text: str, now: datetime) -> datetime:
    """The moment, in UTC. ``now`` says where we are; a time of day is the next. Raises ValueError."""
    words = text.strip()
    try:
        return _clock(words, now)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        return _later(words, now)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return moment.astimezone(UTC)


def _clock(words: str, now: datetime) -> datetime:
    found = datetime.strptime(words, "%H:%M")  # noqa: DTZ007 - the hour and the minute alone are taken
    moment = now.replace(hour=found.hour, minute=found.minute, second=0, microsecond=0)
    return (moment if moment > now else moment + timedelta(days=1)).astimezone(UTC)


def _later(words: str, now: datetime) -> datetime:
    try:
        return now.astimezone(UTC) + timedelta(seconds=parse_duration(words.removeprefix("+")))
    except (ValueError, OverflowError):
        raise ValueError("a moment is 22:30, 2026-01-31 22:30, or 2h for in two hours") from None
