"""Runs every way once in each round, so that a noisy minute does not affect one way alone."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from benchmarks.measure import BenchmarkError, Usage, measure
from benchmarks.ways import (
    DOCUMENT,
    LIBISAL,
    OTHER_RENDERERS,
    WAYS,
    WITHOUT_ISAL,
    Setting,
    delivered,
    moments,
)

SLOW = (
    "parallel-page"  # one connection for each page: takes several times as long as all others together
)


@dataclass
class Result:
    """All runs of one way. A page is identical when it was so in every run."""

    way: str
    usages: list[Usage] = field(default_factory=list)
    first_pages: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    """Seconds from the last page's delivery to the end of the command."""
    digests: list[dict[int, str]] = field(default_factory=list)

    @property
    def wall_seconds(self) -> float:
        """The time of the best run: other work on the machine can only add time."""
        return min(usage.wall_seconds for usage in self.usages)

    @property
    def cpu_seconds(self) -> float:
        """The smallest processor time."""
        return min(usage.cpu_seconds for usage in self.usages)

    @property
    def total_seconds(self) -> float:
        """The smallest processor time of everything, hosts included where a cgroup counts them."""
        return min(usage.all_seconds for usage in self.usages)

    @property
    def is_compared(self) -> bool:
        """Whether the pages should be Ghostscript's."""
        return self.way not in OTHER_RENDERERS

    @property
    def first_page_seconds(self) -> float | None:
        """The shortest time until the first page was sent; None where it was not measured."""
        return min(self.first_pages, default=None)

    def identical(self, reference: dict[int, str]) -> int:
        """How many pages are identical to the reference, pixel for pixel."""
        return sum(
            all(pages.get(number) == digest for pages in self.digests)
            for number, digest in reference.items()
        )


def run_rounds(
    setting: Setting, ways: Collection[str], rounds: int, *, all_rounds: bool
) -> dict[str, Result]:
    """Run each way ``rounds`` times, in the order of the table. Raises BenchmarkError."""
    results = {way: Result(way) for way in WAYS if way in ways}
    for number in range(1, rounds + 1):
        for way, result in results.items():
            if way == SLOW and number > 1 and not all_rounds:
                continue
            _run(setting, result)
            _print(f"round {number} of {rounds}: {way} {result.usages[-1].wall_seconds:.2f} s")
    return results


def _run(setting: Setting, result: Result) -> None:
    """Run a way once, on a SAN that holds nothing but the document."""
    farm = setting.farm
    folder = farm.san / result.way
    folder.mkdir()
    folder.chmod(0o777)  # the hosts log in as another user
    argv = WAYS[result.way](setting, result.way)
    with _hosts_as_needed(setting, result.way):
        usage = measure(farm.popen, argv, farm.root / f"{result.way}.log", setting.group)
    result.usages.append(usage)
    if result.way.startswith("sshrender"):
        found = moments(farm.san)
        result.first_pages.append(found.first_sent - usage.started)
        result.ends.append(usage.started + usage.wall_seconds - found.last_delivered)
    result.digests.append(_all_pages(setting, result.way))
    for left in farm.san.iterdir():
        if (
            left.name != DOCUMENT
        ):  # also sshrender's job, which would be resumed instead of rendered again
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextlib.contextmanager
def _hosts_as_needed(setting: Setting, way: str) -> Iterator[None]:
    """Take ISA-L away from the hosts where a way is about hosts without it."""
    if way not in WITHOUT_ISAL:
        yield
        return
    for host in setting.farm.hosts:
        host.exec("mv", LIBISAL, f"{LIBISAL}.away", check=True)
    try:
        yield
    finally:
        for host in setting.farm.hosts:
            host.exec("mv", f"{LIBISAL}.away", LIBISAL, check=True)


def _all_pages(setting: Setting, way: str) -> dict[int, str]:
    """Return what was delivered: Ghostscript ends with 0 even where it rendered nothing."""
    pages = delivered(setting.farm.san / way, setting.every if way not in OTHER_RENDERERS else 10**9)
    if len(pages) != setting.pages:
        raise BenchmarkError(f"{way} delivered {len(pages)} of {setting.pages} pages")
    return pages


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
