"""The words that the glossary retired do not come back; those that are left become fewer."""

from __future__ import annotations

import pytest

from tests.house.words import ALLOWANCES, ROOT, allowed, counted, hits, hits_in


def _words(text: str, *, is_python: bool = False) -> list[str]:
    return [hit.word for hit in hits_in(text, is_python=is_python)]


def test_no_file_has_more_retired_words_than_are_written_down_nor_fewer() -> None:
    counts, allowances = counted(), allowed()
    names = sorted(counts.keys() | allowances.keys())
    changed = [name for name in names if counts.get(name, 0) != allowances.get(name, 0)]
    told = []
    for name in changed:
        told.append(f"{name}: {counts.get(name, 0)} found, {allowances.get(name, 0)} allowed")
        if counts.get(name, 0) > allowances.get(name, 0):
            told += [f"  line {hit.line}: {hit.word}" for hit in hits(ROOT / name)]
    renewal = f"fewer than allowed: python -m tests.house.words --write renews {ALLOWANCES.name}"
    assert changed == [], "\n".join([*told, renewal])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A host draws a page,\nand the file is proved.", ["draws", "proved"]),
        ("It sees\n    # the whole job through.", ["sees the whole job through"]),
        ("I see. It goes through.", []),
        ("the page is called off", ["called off"]),
        ("class FontsDrawn: _seat_of = 1", ["drawn", "seat"]),
        ("a redraw, a withdrawal, a proven way, a seating, described", []),
        ("ImageDraw.Draw of test_seats.py::test_a_name_is_no_seat", []),
    ],
)
def test_a_word_is_found_in_prose_and_in_names_and_not_in_other_words(
    text: str, found: list[str]
) -> None:
    assert _words(text) == found


def test_a_retired_identifier_is_found_where_it_is_the_whole_name() -> None:
    assert _words("def _tell(self, looks): return 'they look'", is_python=True) == ["_tell", "looks"]


def test_a_hit_has_the_line_where_it_begins() -> None:
    text = "one\ntwo draws\nit sees\nit through\nseat"
    assert [hit.line for hit in hits_in(text, is_python=False)] == [2, 3, 5]
