"""No file, function or parameter list is too long, few files are tiny, no import or name is in the way.

Each list of exceptions can only become shorter: an entry that is no longer needed fails the test, too.
"""

from __future__ import annotations

import ast
import graphlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

from docs.diagrams import import_graph

from tests.commandtree import TREE
from tests.house.source import SOURCE, functions, lines_of, modules

MAX_LINES = 500
MAX_FUNCTION_LINES = 80
MAX_PARAMETERS = 8
FEW_LINES = 60

MAX_TINY_SHARE = 0.21
"""Share of the modules with fewer than FEW_LINES lines: lower it when possible, never raise it."""

LONG_FILES: dict[str, str] = {
    "views/overview/sheet.js": "the page loads one script, which its content policy names by digest",
}
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}
CIRCLES: dict[frozenset[str], str] = {}


def test_no_file_is_too_long() -> None:
    scripts = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.js")]
    names = [name for name in (*modules(), *scripts) if lines_of(name) > MAX_LINES]
    assert set(names) == LONG_FILES.keys()


def test_few_files_are_tiny() -> None:
    names = [name for name in modules() if not name.endswith(("__init__.py", "__main__.py"))]
    assert sum(lines_of(name) < FEW_LINES for name in names) <= MAX_TINY_SHARE * len(names)


def test_no_function_is_too_long() -> None:
    names = [
        name
        for name, node in functions()
        if node.end_lineno is not None and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert set(names) == LONG_FUNCTIONS.keys()


def test_no_function_has_too_many_parameters() -> None:
    commands = set(_commands())
    names = []
    for name, node in functions():
        given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([each for each in given if each not in ("self", "cls")])
        if count > MAX_PARAMETERS and name not in commands:
            names.append(name)
    assert set(names) == MANY_PARAMETERS.keys()


def _commands() -> Iterator[str]:
    """Return the functions whose parameters are the options of a command."""
    waiting: list[Any] = [TREE]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        if command.callback is not None:
            function = inspect.unwrap(command.callback)
            path = inspect.getsourcefile(function)
            if path is not None and path.startswith(str(SOURCE)):
                yield f"{path.removeprefix(f'{SOURCE}/')}::{function.__name__}"


def test_no_import_goes_in_a_circle() -> None:
    graph = import_graph()
    found = set()
    while (circle := _circle(graph)) is not None:
        found.add(frozenset(circle))
        graph[circle[0]] = graph[circle[0]] - {circle[-1]}
        graph[circle[-1]] = graph[circle[-1]] - {circle[0]}
    assert found == CIRCLES.keys()


def _circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return the modules of one circle, each once."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle: list[str] = error.args[1]
        return circle[:-1]
    return None


def test_no_thread_hides_a_name_of_threading() -> None:
    """CPython calls Thread._stop after a fork: a flag of that name made it print a warning."""
    names = {*dir(threading.Thread), *vars(threading.Thread())}
    hidden = [
        f"{name}::{node.name}.{target.attr}"
        for name, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and any("Thread" in ast.unparse(base) for base in node.bases)
        for target in ast.walk(node)
        if isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and ast.unparse(target.value) == "self"
        and target.attr in names - {"name", "daemon"}
    ]
    assert hidden == []
