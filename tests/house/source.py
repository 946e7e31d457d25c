"""The modules of the source, read once for all tests of this folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sshrender"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module, by its path below ``src/sshrender``."""
    paths = sorted(SOURCE.rglob("*.py"))
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in paths}


def lines_of(name: str) -> int:
    """Return the number of lines of a file below ``src/sshrender``."""
    return len((SOURCE / name).read_text().splitlines())


def functions() -> Iterator[tuple[str, FunctionNode]]:
    """Return every function and method as ``path::name``."""
    for name, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, FunctionNode):
                yield f"{name}::{node.name}", node
