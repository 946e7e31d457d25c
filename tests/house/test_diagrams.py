"""The generated parts of the documentation are up to date, and Mermaid can read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs import diagrams

from sshrender.core.states import HostState, PageState
from sshrender.core.statetables import HOST_CHANGES, PAGE_CHANGES, pairs


@pytest.mark.parametrize("page", diagrams.PAGES, ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_up_to_date(page: Path) -> None:
    text = page.read_text()
    assert "<!-- generated: " in text
    assert diagrams.renewed(text) == text, "python -m docs.diagrams --write"


def test_every_generated_part_is_in_a_page() -> None:
    text = "".join(page.read_text() for page in diagrams.PAGES)
    assert [name for name in diagrams.BLOCKS if f"<!-- end of {name} -->" not in text] == []


def test_every_state_can_be_reached() -> None:
    hosts, pages = pairs(HOST_CHANGES), pairs(PAGE_CHANGES)
    assert {target for _, target in hosts} == set(HostState)
    # A page begins in one of the two states that precede its first attempt.
    assert {target for _, target in pages} == set(PageState)


def test_every_label_is_one_that_mermaid_reads() -> None:
    causes = [change.cause for change in HOST_CHANGES] + [change.cause for change in PAGE_CHANGES]
    assert [cause for cause in causes if not cause or set(cause) & set(":;\n")] == []
