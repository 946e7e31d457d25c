"""docs/security.md: each statement names the test that holds it, and that test exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def _tests() -> set[tuple[str, str]]:
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add((path.name, node.name))
    return found


def test_each_test_that_the_security_page_names_exists() -> None:
    named = set(NAMED.findall((ROOT / "docs" / "security.md").read_text()))
    assert len(named) > 40
    assert named - _tests() == set()


def test_each_row_of_the_security_page_names_a_test() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "security.md").read_text().splitlines()
        if line.startswith("| ") and line.count("|") == 4 and not line.startswith("| it tries")
    ]
    rows = [row for row in rows if not row.startswith(("| that user tries", "| it does", "| layout"))]
    without = [row for row in rows if NAMED.search(row) is None and not _is_of_layouts(row)]
    assert without == []


def _is_of_layouts(row: str) -> bool:
    """The first table compares set-ups and states nothing that one test could hold."""
    return "install -d" in row
