"""Say in plain words what pydantic found wrong with a value of a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

_KINDS = {
    "path_type": "must be a path, in quotes",
    "string_type": "must be text, in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "list_type": 'must be a list, as in ["a", "b"]',
    "tuple_type": 'must be a list, as in ["a", "b"]',
    "dict_type": "must be a table, as in [NAME]",
    "model_type": "must be a table, as in [NAME]",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

# The texts that pydantic itself has show a regular expression.
_PATTERNS = {
    "^/": "must be an absolute path: it begins with /",
    r"^[\w./+-]+$": "must be the name or the path of a program, without spaces",
}
"""The patterns of the inventory (config/inventory.py), in words."""


def in_words(problem: Mapping[str, Any]) -> str:
    """Return what is wrong; ``problem``: one of ValidationError.errors()."""
    kind = problem["type"]
    context = problem.get("ctx") or {}
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}"
    # The hint is the nearest of the few values in ``expected``.
    if kind == "literal_error":
        return _literal(str(context["expected"]), problem.get("input"))
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    # Checks of our own raise ValueError; pydantic puts these words before theirs.
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _literal(expected: str, given: object) -> str:
    if expected == "False":
        return "must be false"
    # pydantic joins the values as 'a', 'b' or 'c'.
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    near = difflib.get_close_matches(str(given).lower(), words, n=1, cutoff=0.5)
    text = f"must be {expected.replace(chr(39), '')}"
    return f"{text} (did you mean {near[0]}?)" if near else text
