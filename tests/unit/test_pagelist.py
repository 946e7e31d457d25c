"""Page lists: what a user may write selects what he means, and anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.document import pagelist
from sshrender.errors import ExitCode, UserError


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("1-3,5", [1, 2, 3, 5]),
        ("8-", [8, 9, 10]),
        ("-3", [1, 2, 3]),
        ("3-1", [1, 2, 3]),
        ("odd", [1, 3, 5, 7, 9]),
        ("even,^4", [2, 6, 8, 10]),
        ("^3", [1, 2, 4, 5, 6, 7, 8, 9, 10]),
        ("^odd,^10", [2, 4, 6, 8]),
        (" 2 , 4 - 5 ", [2, 4, 5]),
        ("5,5,4-6", [4, 5, 6]),
    ],
)
def test_selects_what_is_meant(text: str, pages: list[int]) -> None:
    assert pagelist.parse(text, 10) == pages


@pytest.mark.parametrize(
    "text", ["", "a", "1;2", "0", "1-0", "--", "11", "5-11", "^1-10", "1,,2", "1 3", "9" * 5000]
)
def test_refuses_what_means_nothing(text: str) -> None:
    with pytest.raises(UserError) as caught:
        pagelist.parse(text, 10)
    assert caught.value.code is ExitCode.USAGE
    assert "--pages" in caught.value.hint


def test_a_list_that_names_all_pages_again_and_again_is_refused_in_time() -> None:
    """As a job.json of one megabyte may hold one."""
    with pytest.raises(UserError, match="names too many pages"):
        pagelist.parse(",".join(["1-250000"] * 100_000), 250_000)


@given(st.sets(st.integers(1, 300), min_size=1))
def test_canonical_list_selects_the_same_pages(pages: set[int]) -> None:
    assert pagelist.parse(pagelist.canonical(sorted(pages)), 300) == sorted(pages)


@given(st.text(alphabet="0123456789-,^ oddevn", max_size=20))
def test_any_text_selects_pages_of_the_document_or_is_refused(text: str) -> None:
    try:
        pages = pagelist.parse(text, 50)
    except UserError:
        return
    assert pages == sorted(set(pages))
    assert set(pages) <= set(range(1, 51))
    pagelist.check(text)
