"""The run in three lines: what, how far, how fast."""

from __future__ import annotations

from rich.text import Text

from sshrender.views.dashboard.source import JobFacts
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import DONE, FAILED, SENT, SUSPECT, JobModel
from sshrender.views.text import clean, count, duration

_BAR_MOST = _GRAPH_MOST = 60


def state_of(job: JobModel, coordinator: str) -> tuple[str, str]:
    """The run's state in a word or two, and its style."""
    if job.ended is not None and not coordinator:
        state = job.ended.state
        style = {"done": "bold green", "failed": "bold red"}.get(state, "bold yellow")
        return state, style
    if job.paused:
        return "paused, the storage fails", "bold red reverse"
    if job.held:
        return clean(job.held), "bold yellow reverse"
    if job.run == 0:
        return "queued", "bold"
    return ("running", "bold") if coordinator else ("abandoned: nobody coordinates it", "bold red")


def lines(
    facts: JobFacts, job: JobModel, coordinator: str, now: float, width: int, looks: Styles
) -> list[Text]:
    """Three lines, none wider than ``width``."""
    found = [_title(facts, job, coordinator), _progress(job, width, looks)]
    found.append(_pace(job, coordinator, now, width, looks))
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found


def _title(facts: JobFacts, job: JobModel, coordinator: str) -> Text:
    state, style = state_of(job, coordinator)
    text = Text(no_wrap=True)
    text.append(clean(facts.name), "bold")
    text.append("  ")
    text.append(state, style)
    if job.ended is not None and job.ended.reason:
        text.append(f": {clean(job.ended.reason)}")
    if coordinator:
        text.append(f"  on {clean(coordinator)}", "dim")
    text.append(f"  {clean(facts.document)}, {facts.settings}", "dim")
    return text


def _progress(job: JobModel, width: int, looks: Styles) -> Text:
    total = len(job.pages)
    share = job.settled / total if total else 1.0
    words = Text(f" {int(100 * share):3d} %  {job.settled} of {count(total, 'page')}", no_wrap=True)
    for state, name in ((SUSPECT, "suspect"), (FAILED, "failed")):
        if job.counts[state]:
            symbol, style = looks.page(state)
            words.append(f"  {symbol} {job.counts[state]} {name}", style)
    room = max(8, min(_BAR_MOST, width - words.cell_len))
    return _bar(job, room, looks).append_text(words)


def _bar(job: JobModel, room: int, looks: Styles) -> Text:
    """The whole document in one line, in reading order: each cell shows the worst of its pages."""
    done, rest = looks.bar
    states = [page.state for page in job.pages.values()]
    text = Text()
    for cell in range(room):
        part = states[cell * len(states) // room : max(1, (cell + 1) * len(states) // room)]
        if FAILED in part or SUSPECT in part:
            text.append(*looks.page(FAILED if FAILED in part else SUSPECT))
        elif part and part.count(DONE) == len(part):
            text.append(done, "green")
        else:
            text.append(rest, "cyan" if SENT in part or DONE in part else "dim")
    return text


def _pace(job: JobModel, coordinator: str, now: float, width: int, looks: Styles) -> Text:
    text = Text(no_wrap=True)
    working = sum(bool(host.flights) for host in job.hosts.values())
    if coordinator and job.ended is None:
        text.append(f"{job.counts[SENT]} on {count(working, 'host')}")
        speed = job.rate.per_second(now)
        if speed:
            text.append(f", {speed:.1f} pages/s" if speed >= 1 else f", {speed * 60:.1f} pages/min")
        left = job.left(now)
        text.append(f", {duration(left)} left" if left is not None else "")
        text.append(f", {duration(now - job.began)} so far  ")
    else:
        text.append(f"{job.counts[DONE] + job.counts[SUSPECT]} delivered  ")
    room = min(_GRAPH_MOST, width - text.cell_len - 16)
    if room >= 8:
        bars = job.bars(room, min(now, job.now + 1.0) if job.ended is not None else now)
        highest = max(bars, default=0.0)
        if highest:
            text.append(_graph(bars, highest, looks), "cyan")
            text.append(f" {highest:.1f}/s at most", "dim")
    return text


def _graph(bars: list[float], highest: float, looks: Styles) -> str:
    steps = len(looks.ramp) - 1
    return "".join(looks.ramp[max(1, round(steps * bar / highest)) if bar else 0] for bar in bars)
