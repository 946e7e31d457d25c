"""Describe the run in three lines: job and state, progress, speed; and in a fourth its pools."""

from __future__ import annotations

from rich.text import Text

from sshrender.views import hostwords
from sshrender.views.dashboard.source import JobFacts
from sshrender.views.dashboard.styles import Styles
from sshrender.views.jobmodel import DONE, FAILED, SENT, SUSPECT, JobModel
from sshrender.views.text import clean, count, duration, pause, waits_until

_MAX_BAR = _MAX_GRAPH = 60
_MIN_BAR = _MIN_GRAPH = 8
"""Columns."""

_PEAK_WIDTH = 20
"""Columns that the words behind the graph need, such as `` peak 14.0 pages/s``."""

_NARROW = 60
"""Columns below which the lines are shortened."""

HANG_TIMEOUT = 5.0
"""Seconds without an answer from the shared folder until that is shown."""


def no_answer(seconds: float) -> str:
    """Return a text if a reading has taken ``seconds`` and that is long; otherwise an empty text."""
    return f"the shared folder has not answered for {seconds:.0f} s" if seconds > HANG_TIMEOUT else ""


def state_of(job: JobModel, coordinator: str) -> tuple[str, str]:
    """Return the state of the run in a few words, and its style."""
    if job.ended is not None and not coordinator:
        state = job.ended.state
        style = {"done": "bold green", "failed": "bold red"}.get(state, "bold yellow")
        return state, style
    # A pause without a coordinator is not waited for by any process.
    if (waits := job.pause or job.told_pause) is not None and coordinator:
        return f"paused {pause(waits.since, waits.until)}", "bold red reverse"
    if job.held:
        return clean(job.held), "bold yellow reverse"
    if job.run == 0:
        return "queued", "bold"
    if coordinator and job.pools.wait(job.counts[SENT]):
        return "waiting in the queue", "bold yellow"
    return ("running", "bold") if coordinator else ("abandoned: no coordinator", "bold red")


def opening(document: str, doing: str, seconds: float) -> list[Text]:
    """Return what stands there before a job is open.

    ``doing``: what is being done, if that is known. ``seconds``: since the dashboard was opened.
    """
    found = [Text(f"opening {clean(document)} …", "bold", no_wrap=True, overflow="ellipsis")]
    # In the first second the time says nothing.
    if seconds >= 1:
        found[0].append(f" {duration(seconds)}", "not bold")
    return [*found, Text(clean(doing), no_wrap=True, overflow="ellipsis")] if doing else found


def lines(
    facts: JobFacts, job: JobModel, coordinator: str, now: float, width: int, styles: Styles
) -> list[Text]:
    """Return three lines, each at most ``width`` columns wide, and one more for pools that are used."""
    found = [_title(facts, job, coordinator, width), _progress(job, coordinator, now, width, styles)]
    found.append(_speed(job, coordinator, now, width, styles))
    if coordinator and job.ended is None and job.pools.latest:
        style = "yellow" if job.pools.wait(job.counts[SENT]) else "dim"
        found.append(Text(job.pools.in_words(), style, no_wrap=True))
    for line in found:
        line.truncate(width, overflow="ellipsis")
    return found


def _title(facts: JobFacts, job: JobModel, coordinator: str, width: int) -> Text:
    state, style = state_of(job, coordinator)
    waits = job.pause or job.told_pause
    # Until when it waits matters more than since when.
    if waits is not None and waits.until and len(facts.name) + 2 + len(state) > width:
        state = state.replace(f" {pause(waits.since, waits.until)}", f", {pause('', waits.until)}")
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


def _progress(job: JobModel, coordinator: str, now: float, width: int, styles: Styles) -> Text:
    total = len(job.pages)
    there = job.delivered_pages
    # A job without pages counts as complete.
    share = there / total if total else 1.0
    done = f"{there}/{total}" if width < _NARROW else f"{there} of {count(total, 'page')}"
    words = Text(f" {int(100 * share):3d} %  {done}", no_wrap=True)
    for state, name in ((SUSPECT, "suspect"), (FAILED, "failed")):
        if job.counts[state]:
            symbol, style = styles.page(state)
            words.append(f"  {symbol} {job.counts[state]} {name}", style)
    elapsed = f"  {duration(now - job.began)} elapsed" if coordinator and job.ended is None else ""
    # The counts of problems matter more than the elapsed time, which is left out first.
    if width - words.cell_len - len(elapsed) >= _MIN_BAR:
        words.append(elapsed)
    room = max(_MIN_BAR, min(_MAX_BAR, width - words.cell_len))
    return _bar(job, room, styles).append_text(words)


def _bar(job: JobModel, room: int, styles: Styles) -> Text:
    """Return all pages as one bar, in reading order. Each cell shows the worst state of its pages."""
    done, rest = styles.bar
    states = [page.state for page in job.pages.values()]
    text = Text()
    for cell in range(room):
        first = cell * len(states) // room
        # At least one page for each cell, if there are fewer pages than cells.
        part = states[first : max(first + 1, (cell + 1) * len(states) // room)]
        if FAILED in part or SUSPECT in part:
            text.append(*styles.page(FAILED if FAILED in part else SUSPECT))
        elif part and part.count(DONE) == len(part):
            text.append(done, "green")
        else:
            text.append(rest, "cyan" if SENT in part or DONE in part else "dim")
    return text


def _speed(job: JobModel, coordinator: str, now: float, width: int, styles: Styles) -> Text:
    if coordinator and job.ended is None:
        text = _present(job, now, has_hosts=True)
        # What is wrong matters more than the number of hosts.
        if text.cell_len > width:
            text = _present(job, now, has_hosts=False)
    else:
        text = Text(_result(job), no_wrap=True)
    room = min(_MAX_GRAPH, width - text.cell_len - _PEAK_WIDTH)
    if room >= _MIN_GRAPH:
        # A job that has ended shows its last minutes, not an empty graph.
        bars = job.bars(room, min(now, job.now + 1.0) if job.ended is not None else now)
        highest = max(bars, default=0.0)
        if highest:
            text.append(_graph(bars, highest, styles), "cyan")
            text.append(f" peak {highest:.1f} pages/s", "dim")
    return text


def _result(job: JobModel) -> str:
    """Return the result of the job: the time that it took, and where its pages are."""
    hosts = sum(host.pages > 0 for host in job.hosts.values())
    seconds = job.times.seconds()
    took = f"took {duration(seconds)} on {count(hosts, 'host')}, " if hosts else ""
    where = f" in {clean(job.output, 200)}" if job.output else ""
    return f"{took}{count(job.delivered_pages, 'page')} delivered{where}  "


def _present(job: JobModel, now: float, has_hosts: bool) -> Text:
    """Return what a running job does at present, and what keeps it from doing more."""
    text = Text(_in_work(job, has_hosts), no_wrap=True)
    speed = job.speed(now)
    if speed:
        text.append(f", {speed:.1f} pages/s" if speed >= 1 else f", {speed * 60:.1f} pages/min")
    left = job.left(now)
    text.append(f", {duration(left)} left  " if left is not None else "  ")
    troubled = hostwords.troubled(host.state for host in job.hosts.values())
    # That nothing is rendered at present is due to the hold, whatever the hosts are like.
    if job.held:
        text.append(f"{clean(job.held_note)}  " if job.held_note else "", "bold yellow")
    elif job.none_usable:
        text.append(f"{job.no_host}  ", "bold red")
    elif withheld := job.waits.write:
        words = f"no page is sent{waits_until(withheld.until)}: {clean(withheld.reason)}"
        text.append(f"{words}  ", "bold red")
    elif troubled:
        text.append(f"hosts: {troubled}  ", "bold red")
    return text


def _in_work(job: JobModel, has_hosts: bool) -> str:
    pages = job.counts[SENT]
    if not pages:
        return "no page in work"
    hosts = sum(bool(host.flights) for host in job.hosts.values())
    where = f" on {count(hosts, 'host')}" if has_hosts else ""
    return f"{count(pages, 'page')} in work{where}"


def _graph(bars: list[float], highest: float, styles: Styles) -> str:
    steps = len(styles.ramp) - 1
    # A bar that is not zero is seen, however small.
    return "".join(styles.ramp[max(1, round(steps * bar / highest)) if bar else 0] for bar in bars)
