"""Every hint that the source can print, found in its syntax trees: what tests/house/test_hints.py types.

A hint is the last argument of an error that users see. It is followed to the texts that it is made of:
through names, conditions, tables and functions of the same module. A text keeps its fields in braces, as
in ``sshrender status {spec.name}``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from tests.house.source import FunctionNode, modules

MAKERS = {"UserError": 2, "PasswordError": 2, "Unsigned": 1, "invalid": 1, "_error": 1, "_Objection": 1}
"""What makes an error, and at which place among its arguments the hint is."""

OWN_ERRORS = {"document/pagelist.py", "job/documentidentity.py"}
"""Modules whose ``_error`` takes other arguments: they call UserError themselves."""

MAX_DEPTH = 5


@dataclass(frozen=True)
class Hint:
    """One text. ``place``: module and function; ``text``: None if it comes from somewhere else."""

    place: str
    text: str | None


@cache
def hints() -> list[Hint]:
    """Return every hint of the source."""
    found = []
    for name, module in modules().items():
        for function, call, at in _calls(name, module):
            place = f"{name}::{function.name if function is not None else ''}"
            argument = _argument(call, at)
            if argument is not None:
                texts = sorted(set(_Reader(module, function).texts(argument)), key=str)
                found += [Hint(place, text) for text in texts]
    return list(dict.fromkeys(found))


def _calls(name: str, module: ast.Module) -> Iterator[tuple[FunctionNode | None, ast.Call, int]]:
    owners: dict[ast.AST, FunctionNode] = {}
    for node in ast.walk(module):
        if isinstance(node, FunctionNode):
            owners.update(dict.fromkeys(ast.walk(node), node))
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            made = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if made in MAKERS and not (made == "_error" and name in OWN_ERRORS):
                yield owners.get(node), node, MAKERS[made]


def _argument(call: ast.Call, at: int) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == "hint":
            return keyword.value
    return call.args[at] if len(call.args) > at else None


class _Reader:
    """Follows expressions of one function to the texts that they may be."""

    def __init__(self, module: ast.Module, function: FunctionNode | None, depth: int = 0) -> None:
        self._module = module
        self._function = function
        self._depth = depth

    def texts(self, node: ast.expr) -> list[str | None]:
        """Return each text that an expression may be; None where that is not known here."""
        if self._depth > MAX_DEPTH:
            return [None]
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr():
                return self._joined(node)
            case ast.BinOp(op=ast.Add()):
                return _both(self._all([node.left]), self._all([node.right]))
            case ast.IfExp():
                return self._all([node.body, node.orelse])
            case ast.Dict():
                return self._all(node.values)
            case ast.Name():
                return self._all(_assigned(node.id, self._function, self._module)) or [None]
            case ast.Call():
                return self._called(node)
        return [None]

    def _all(self, nodes: Iterable[ast.expr]) -> list[str | None]:
        inner = _Reader(self._module, self._function, self._depth + 1)
        return [text for node in nodes for text in inner.texts(node)]

    def _joined(self, node: ast.JoinedStr) -> list[str | None]:
        texts: list[str | None] = [""]
        for part in node.values:
            if isinstance(part, ast.Constant):
                texts = _both(texts, [str(part.value)])
            elif isinstance(part, ast.FormattedValue):
                known = self._all([part.value]) if isinstance(part.value, ast.Name) else [None]
                field = f"{{{ast.unparse(part.value)}}}"
                texts = _both(texts, [field] if None in known else known)
        return texts

    def _called(self, node: ast.Call) -> list[str | None]:
        match node.func:
            case ast.Attribute(attr="get", value=ast.Name() as table):
                return self._all([table, *node.args[1:]])
            case ast.Name(id=name):
                return self._returned(name, self._module)
            case ast.Attribute(attr=name, value=ast.Name(id=owner)):
                for path, module in modules().items():
                    if path.endswith(f"/{owner}.py"):
                        return self._returned(name, module)
        return [None]

    def _returned(self, name: str, module: ast.Module) -> list[str | None]:
        found: list[str | None] = []
        for node in ast.walk(module):
            if isinstance(node, FunctionNode) and node.name == name:
                inner = _Reader(module, node, self._depth + 1)
                for each in ast.walk(node):
                    if isinstance(each, ast.Return) and each.value is not None:
                        found += inner.texts(each.value)
        return found or [None]


def _both(left: Iterable[str | None], right: Iterable[str | None]) -> list[str | None]:
    after = list(right)
    return [
        None if first is None or second is None else first + second for first in left for second in after
    ]


def _assigned(name: str, function: FunctionNode | None, module: ast.Module) -> list[ast.expr]:
    """Return what a name, or an entry of it, is set to, in the function or else in the module."""
    nodes = [] if function is None else list(ast.walk(function))
    for within in (nodes, module.body):
        found = [
            node.value
            for node in within
            if isinstance(node, ast.Assign) and any(_is(target, name) for target in node.targets)
        ]
        if found:
            return found
    return []


def _is(target: ast.expr, name: str) -> bool:
    owner = target.value if isinstance(target, ast.Subscript) else target
    return isinstance(owner, ast.Name) and owner.id == name


PROGRAMS = frozenset(
    (
        *("sshrender", "sudo", "ls", "df", "findmnt", "mv", "rm", "mkdir", "chmod", "sed", "tail"),
        *(
            "file",
            "lsattr",
            "date",
            "qpdf",
            "ps2pdf",
            "gunzip",
            "img2pdf",
            "curl",
            "iconv",
            "cat",
            "man",
            "ssh",
            "export",
            "ulimit",
            "{shlex.quote(sys.executable)}",
            "htpasswd",
            "{command}",
        ),
    )
)
"""Programs, and builtins of shells, that hints name."""


def command_of(text: str) -> str | None:
    """Return the command of a hint: all of it, or what follows its last colon; None: there is none."""
    for part in (text, text.rpartition(": ")[2]):
        # "mount it" are words.
        if part.partition(" ")[0] in PROGRAMS or part.startswith("mount -"):
            return part
    return None
