"""Slots by memory, and which renderer ends when memory runs short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sshrender.runner.host import memorylimits
from sshrender.runner.host.memorylimits import Guard

GB = 1 << 30


@given(cores=st.integers(1, 512), free=st.integers(0, 1 << 44))
def test_there_is_at_least_one_slot_and_never_more_than_cores(cores: int, free: int) -> None:
    assert 1 <= memorylimits.slots(cores, free) <= cores


def test_a_host_of_many_cores_and_little_memory_gets_few_slots() -> None:
    assert memorylimits.slots(32, 2 * GB) == 8
    assert memorylimits.slots(4, 64 * GB) == 4
    assert memorylimits.slots(4, 10 << 20) == 1


class Host:
    """A host's /proc/meminfo."""

    def __init__(self) -> None:
        self.fields = {"MemTotal": 8 * GB, "MemAvailable": 4 * GB, "SwapFree": 2 * GB}

    def __call__(self, field: str) -> int:
        return self.fields[field]


def test_while_there_is_memory_no_renderer_ends() -> None:
    guard = Guard(Host())
    assert not guard.must_end("a", 2 * GB, 1.0)
    assert not guard.must_end("b", 1 * GB, 1.0)


def test_the_largest_of_several_ends_and_the_others_get_time() -> None:
    host = Host()
    guard = Guard(host)
    guard.must_end("small", 1 * GB, 0.0)
    guard.must_end("large", 2 * GB, 0.0)
    host.fields["MemAvailable"] = 100 << 20
    assert not guard.must_end("small", 1 * GB, 1.0)
    assert guard.must_end("large", 3 * GB, 1.0)
    guard.finished("large")
    guard.must_end("third", 2 * GB, 1.2)
    assert not guard.must_end("third", 2 * GB, 2.0)
    assert guard.must_end("third", 2 * GB, 5.0)


def test_a_renderer_alone_never_ends_however_little_is_left() -> None:
    host = Host()
    guard = Guard(host)
    host.fields["MemAvailable"] = 1 << 20
    assert not guard.must_end("alone", 7 * GB, 1.0)


def test_a_host_that_begins_to_swap_is_short_of_memory() -> None:
    host = Host()
    guard = Guard(host)
    host.fields["MemAvailable"] = 1 * GB
    guard.must_end("a", 1 * GB, 1.0)
    assert not guard.must_end("b", 2 * GB, 1.0)
    host.fields["SwapFree"] -= 200 << 20
    assert guard.must_end("b", 2 * GB, 2.0)


def test_on_a_host_of_unknown_memory_no_renderer_ends() -> None:
    guard = Guard(lambda field: 0)
    guard.must_end("a", 1 * GB, 1.0)
    assert not guard.must_end("b", 2 * GB, 1.0)
