"""Shows the results of a run, as a table and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.rounds import Result

HEADINGS = (
    "way",
    "wall s",
    "x plain",
    "coordinator CPU s",
    "CPU ms/page",
    "all CPU s",
    "x plain",
    "first page s",
    "end s",
)
NOTES = """\
Every figure is the smallest of its way's rounds: other work on a machine can only add time.
Coordinator CPU is user + system time of all processes at the desk, ssh clients included.
Plain Ghostscript has no coordinator: all of its CPU time is rendering.
All CPU includes the hosts, where a cgroup counts it; end is the time after the last page's delivery."""


def findings(results: dict[str, Result], facts: dict[str, Any]) -> dict[str, Any]:
    """Return everything that the table says, and each single run."""
    plain, own = results.get("plain"), results.get("sshrender")
    reference = plain.digests[0] if plain else None
    return {
        "schema": 1,
        "facts": facts,
        "ways": [_way(result, plain, reference, facts["pages"]) for result in results.values()],
        "sshrender_against": {
            other.way: round(own.wall_seconds / other.wall_seconds, 3)
            for other in results.values()
            if own and other is not own
        },
    }


def _way(
    result: Result, plain: Result | None, reference: dict[int, str] | None, pages: int
) -> dict[str, Any]:
    first = result.first_page_seconds
    return {
        "way": result.way,
        "wall_seconds": round(result.wall_seconds, 3),
        "ratio_to_plain": round(result.wall_seconds / plain.wall_seconds, 3) if plain else None,
        "cpu_seconds": round(result.cpu_seconds, 3),
        "cpu_ms_per_page": round(1000 * result.cpu_seconds / pages, 2),
        "total_seconds": round(result.total_seconds, 3),
        "total_to_plain": round(result.total_seconds / plain.total_seconds, 3) if plain else None,
        "end_seconds": round(min(result.ends), 3) if result.ends else None,
        "is_cpu_rendering": result is plain,
        "first_page_seconds": None if first is None else round(first, 3),
        "identical_pages": None
        if reference is None or not result.is_compared
        else result.identical(reference),
        "runs": [
            {"wall_seconds": round(usage.wall_seconds, 3), "cpu_seconds": round(usage.cpu_seconds, 3)}
            for usage in result.usages
        ],
    }


def is_sound(found: dict[str, Any]) -> bool:
    """Return whether every way that was compared delivered exactly Ghostscript's pages."""
    counts = {way["identical_pages"] for way in found["ways"]}
    return counts <= {None, found["facts"]["pages"]}


def text(found: dict[str, Any]) -> str:
    """Return the table, and below it what it means."""
    rows = [HEADINGS, *(_row(way) for way in found["ways"])]
    return "\n\n".join([_table(rows), _decisions(found), _notes(found), _machine(found["facts"])])


def _row(way: dict[str, Any]) -> tuple[str, ...]:
    rendering = way["is_cpu_rendering"]
    return (
        way["way"],
        f"{way['wall_seconds']:.2f}",
        _number(way["ratio_to_plain"], ".2f"),
        _number(None if rendering else way["cpu_seconds"], ".2f"),
        _number(None if rendering else way["cpu_ms_per_page"], ".1f"),
        f"{way['total_seconds']:.2f}",
        _number(way["total_to_plain"], ".2f"),
        _number(way["first_page_seconds"], ".2f"),
        _number(way["end_seconds"], ".2f"),
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in (rows[0], rule, *rows[1:]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Align names left, numbers right."""
    name = row[0].ljust(widths[0])
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([name, *numbers])


def _decisions(found: dict[str, Any]) -> str:
    return "\n".join([*_ratios(found["sshrender_against"]), _identity(found), *_plain_cpu(found)])


def _ratios(against: dict[str, float]) -> Iterable[str]:
    """Return the ratio to another way; below 1, sshrender is faster."""
    if against:
        listed = ", ".join(f"{ratio:.2f} x {way}" for way, ratio in against.items())
        yield f"sshrender's wall time: {listed} (below 1: sshrender is faster)"


def _identity(found: dict[str, Any]) -> str:
    pages = found["facts"]["pages"]
    compared = [way for way in found["ways"] if way["identical_pages"] is not None]
    others = [way for way in compared if way["way"] != "plain"]
    if not others:
        return "Pages were not compared: that takes plain and another way."
    counts = ", ".join(f"{way['way']} {way['identical_pages']}/{pages}" for way in others)
    answer = "yes" if is_sound(found) else "NO"
    return f"The pixels of plain Ghostscript: {answer} ({counts} pages)"


def _plain_cpu(found: dict[str, Any]) -> Iterable[str]:
    """Return the cost of the rendering itself, to compare the coordinator's share with."""
    for way in found["ways"]:
        if way["is_cpu_rendering"]:
            cost = f"{way['cpu_seconds']:.2f} s, {way['cpu_ms_per_page']:.1f} ms a page"
            yield f"CPU time of the rendering itself (plain): {cost}"


def _notes(found: dict[str, Any]) -> str:
    """Return how to read the table, and what differs between the ways."""
    lines = [NOTES]
    lines += [f"{way['way']} ran in fewer rounds than the others." for way in _rarer(found)]
    cores, hosts = found["facts"]["cores"], found["facts"]["hosts"]
    if cores != hosts and any(way["is_cpu_rendering"] for way in found["ways"]):
        lines.append(f"Plain used {cores} cores, the other ways {hosts} hosts of one slot: see --hosts.")
    return "\n".join(lines)


def _rarer(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [way for way in found["ways"] if len(way["runs"]) < found["facts"]["rounds"]]


def _machine(facts: dict[str, Any]) -> str:
    pairs = ((name.replace("_", " "), value) for name, value in facts.items())
    return "\n".join(f"{name}: {value}" for name, value in pairs)
