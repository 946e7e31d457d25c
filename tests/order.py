"""The order of the tests for several workers: each begins with its share of those that take long.

pytest-xdist's ``worksteal`` gives each worker one part of the list, and a worker that has finished takes
the end of another's. With long tests last, one worker would run them while the others have nothing left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

_LONG = (
    "tests/batch/",
    "tests/lab/",
    "tests/faults/test_matrix",
    "tests/faults/test_hostile_",
    "tests/faults/test_bad_input",
    "tests/cli/test_queue",
    "tests/cli/test_large",
    "tests/cli/test_local",
    "tests/cli/test_several",
    "tests/cli/test_status",
)
"""Beginnings of the names of tests that render on several hosts, or one job after the other."""


def is_long(name: str) -> bool:
    """Return whether the tests of this file take long; ``name``: as in pytest's node ids."""
    return name.startswith(_LONG)


def dealt(items: Sequence[T], file_of: Callable[[T], str], workers: int) -> list[T]:
    """Return the tests in an order of which each worker's part begins with long ones.

    Tests of one file stay together, so that fixtures of a module are made once.
    """
    files: dict[str, list[T]] = {}
    for item in items:
        files.setdefault(file_of(item), []).append(item)
    decks: list[list[T]] = [[] for _ in range(workers)]
    for _, tests in sorted(
        ((name, tests) for name, tests in files.items() if is_long(name)), key=lambda each: -len(each[1])
    ):
        min(decks, key=len).extend(tests)
    short = [item for item in items if not is_long(file_of(item))]
    result: list[T] = []
    for deck, size in zip(decks, _parts(len(items), workers), strict=True):
        filling = max(0, size - len(deck))
        result += [*deck, *short[:filling]]
        del short[:filling]
    return [*result, *short]


def _parts(count: int, workers: int) -> Iterable[int]:
    """Yield how many tests each worker gets at first (xdist/scheduler/worksteal.py, check_schedule)."""
    for left in range(workers, 0, -1):
        size = count // left
        count -= size
        yield size
