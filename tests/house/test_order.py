"""Tests that take long come first, on every worker."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import order

ITEMS = [
    f"tests/{file}.py::test_{number}"
    for file, count in {
        "cli/test_help": 20,
        "lab/test_a": 7,
        "lab/test_b": 3,
        "lab/test_c": 2,
        "unit/test_x": 30,
        "batch/test_d": 5,
    }.items()
    for number in range(count)
]


def _file(item: str) -> str:
    return item.partition("::")[0]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 100])
def test_each_test_is_run_once(workers: int) -> None:
    assert Counter(order.dealt(ITEMS, _file, workers)) == Counter(ITEMS)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_each_worker_begins_with_long_tests_and_ends_with_short_ones(workers: int) -> None:
    items = order.dealt(ITEMS, _file, workers)
    start = 0
    for size in order._parts(len(items), workers):
        kinds = [order.is_long(item) for item in items[start : start + size]]
        assert kinds == sorted(kinds, reverse=True)
        assert kinds[0]
        assert not kinds[-1]
        start += size
    assert start == len(items)


def test_tests_of_a_long_file_stay_together() -> None:
    files = [_file(item) for item in order.dealt(ITEMS, _file, 4) if order.is_long(item)]
    assert [files.index(name) + files.count(name) for name in dict.fromkeys(files)] == sorted(
        len(files) - files[::-1].index(name) for name in set(files)
    )
