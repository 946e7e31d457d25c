"""Page sizes and counts from the page tree: only what is asked for is read, and it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshrender.document import boxes
from sshrender.document.fonts import MissingFonts
from sshrender.document.opening import MAX_KIDS, OpenDocument, read_facts
from tests.faults.odd_documents import assemble

CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
ABSENT = 9999
"""No object has this number: a page that is one has no size, and is none for Ghostscript either."""


def _page(number: int) -> bytes:
    """A page whose size tells its number."""
    return f"<< /Type /Page /MediaBox [0 0 {100 + number} 50] >>".encode()


def _node(kids: list[int], count: int, more: str = "") -> bytes:
    named = " ".join(f"{kid} 0 R" for kid in kids)
    return f"<< /Type /Pages /Kids [{named}] /Count {count} {more} >>".encode()


Opener = Callable[[dict[int, bytes]], OpenDocument]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Open documents of these objects."""
    documents = []

    def open_(objects: dict[int, bytes]) -> OpenDocument:
        path = tmp_path / "a.pdf"
        path.write_bytes(assemble({1: CATALOG, **objects}))
        _, document = read_facts(path, None)
        assert document is not None
        documents.append(document)
        return document

    yield open_
    for document in documents:
        document.close()


def _widths(document: OpenDocument, claimed: int, *wanted: range) -> list[float | None]:
    return [box and box[0] for box in boxes.walk(document, claimed, wanted)]


def test_pages_that_nobody_asks_for_are_not_read(opened: Opener) -> None:
    """Of 6,000 pages all but two do not even exist."""
    kids = [ABSENT] * 3000
    kids[1499], kids[2999] = 5, 6
    objects = {
        2: _node([3, 4], 6000),
        3: _node([ABSENT] * 3000, 3000),
        4: _node(kids, 3000),
        5: _page(4500),
        6: _page(6000),
    }
    document = opened(objects)
    assert document.counts_right()
    assert _widths(document, 6000, range(4500, 4501), range(6000, 6001)) == [4600, 6100]
    assert document.warnings == 0


@pytest.mark.parametrize("wanted", [[range(1, 8)], [range(2, 4), range(6, 8)], [range(7, 8)]])
def test_any_pages_of_an_uneven_tree_have_their_own_sizes(opened: Opener, wanted: list[range]) -> None:
    """Also where a node mixes pages and nodes, and the size is inherited."""
    objects = {
        2: _node([10, 3, 11, 5], 7),
        3: _node([12, 4], 3, "/MediaBox [0 0 102 50]"),
        4: _node([13, 14], 2),
        5: _node([15, 16], 2),
        12: b"<< /Type /Page >>",
        **{
            number: _page(page)
            for number, page in ((10, 1), (13, 3), (14, 4), (11, 5), (15, 6), (16, 7))
        },
    }
    document = opened(objects)
    assert document.counts_right()
    assert _widths(document, 7, *wanted) == [100.0 + page for pages in wanted for page in pages]
    assert document.warnings == 0


@pytest.mark.parametrize(
    ("objects", "is_right"),
    [
        ({2: _node([3, 4], 2), 3: _page(1), 4: _page(2)}, True),
        ({2: _node([3, 4], 3), 3: _page(1), 4: _page(2)}, False),
        ({2: _node([3, 4], 1), 3: _page(1), 4: _page(2)}, False),
        ({2: _node([3], 9), 3: _node([4], 1), 4: _page(1)}, False),
        ({2: _node([3] * (MAX_KIDS + 1), MAX_KIDS + 1), 3: _page(1)}, False),
        ({2: _node([3], 1), 3: _node([4], 1), 4: _page(1)}, True),
    ],
    ids=["right", "too many", "too few", "node", "slow", "nested"],
)
def test_a_count_is_sure_if_the_kids_of_the_root_have_as_many(
    opened: Opener, objects: dict[int, bytes], is_right: bool
) -> None:
    """Ghostscript is asked otherwise, also where it counts faster."""
    document = opened(objects)
    assert document.counts_right() is is_right
    assert document.warnings == 0


def test_a_tree_that_is_not_what_it_claims_is_not_trusted(opened: Opener) -> None:
    """A node in the place of a page: from there on no size is known."""
    objects = {2: _node([3, 4, 3], 3), 3: _page(1), 4: _node([3, 3], 2)}
    document = opened(objects)
    assert _widths(document, 3, range(1, 4)) == [101]
    assert document.warnings > 0


def test_fonts_are_those_of_the_pages_that_are_asked_for(opened: Opener) -> None:
    font = "/Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Courier >> >> >>"
    objects = {2: _node([3, 4, 3], 3), 3: _page(1)}
    objects[4] = f"<< /Type /Page /MediaBox [0 0 9 9] {font} >>".encode()
    document = opened(objects)
    missing = MissingFonts(has_form=False)
    leaves = boxes.leaves(document, 3, [range(2, 4)])
    assert [missing.of(page, values.get("/Resources")) for page, values in leaves] == [["Courier"], []]
