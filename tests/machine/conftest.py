"""Every test of the scheduler also shows that hosts and pages change their state as the tables say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sshrender.core.records import Host, Page
from sshrender.core.statetables import HOST_CHANGES, PAGE_CHANGES, pairs

Seen = set[tuple[Any, Any]]


def _recorded(kind: type, seen: Seen) -> property:
    """Return the attribute ``state`` of this class, made to note each change."""
    slot = kind.__dict__["state"]

    def get(record: object) -> Any:
        return slot.__get__(record, kind)

    def put(record: object, state: object) -> None:
        try:
            before = get(record)
        except AttributeError:  # the record is being made
            before = state
        if before is not state:
            seen.add((before, state))
        slot.__set__(record, state)

    return property(get, put)


@pytest.fixture(autouse=True, scope="module")
def _tables_hold() -> Iterator[None]:
    hosts: Seen = set()
    pages: Seen = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "state", _recorded(Host, hosts))
        patch.setattr(Page, "state", _recorded(Page, pages))
        yield
    assert hosts <= pairs(HOST_CHANGES)
    assert pages <= pairs(PAGE_CHANGES)
