"""Read TOML files and report all mistakes in one: file, key, what is wrong, the nearest known key."""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from sshrender.config.pydanticmessages import in_words
from sshrender.config.units import check_word, parse_duration
from sshrender.errors import ExitCode, UserError
from sshrender.shellwords import path_word

Word = Annotated[str, AfterValidator(check_word)]
"""A name that is handed to ssh."""

Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
"""Seconds, written as a number or as in ``10m``."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file as a table. Raises UserError."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise UserError(
            ExitCode.USAGE, f"{path}: no such file", f"ls -ld {shlex.quote(str(path.absolute().parent))}"
        ) from None
    except OSError as error:
        raise UserError(
            ExitCode.USAGE, f"{path}: {error.strerror}", f"ls -l {path_word(path)}"
        ) from None
    except (ValueError, RecursionError) as error:
        # Errors of TOML and of UTF-8 are ValueErrors; deep nesting and huge numbers raise these, too.
        raise UserError(ExitCode.USAGE, f"{path}: not TOML: {error}", _near(path, str(error))) from None


def _near(path: Path, message: str) -> str:
    """Return the command that shows the line that a message of tomllib names, else the file's end."""
    line = re.search(r"at line (\d+)", message)
    shown = f"sed -n {line[1]}p" if line is not None else "tail -n 3"
    return f"{shown} {path_word(path)}"


def describe(path: Path, error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line for each mistake that pydantic found.

    If a value may have several types, pydantic reports a mistake for each: they become one line.
    """
    lines: dict[str, list[str]] = {}
    # setdefault keeps the order in which pydantic found the mistakes, and joins those of one key.
    for problem in error.errors():
        key, message = _mistake(dict(problem), model)
        lines.setdefault(key, []).append(message)
    return [f"{path}: {key}{_joined(each)}" for key, each in lines.items()]


def _joined(messages: list[str]) -> str:
    # dict.fromkeys drops repeats: branches of a union may say the same.
    first, *others = dict.fromkeys(messages)
    return ", or ".join([first, *(each.removeprefix("must be ") for each in others)])


def invalid(lines: Iterable[str], hint: str) -> UserError:
    """Return one error that names all mistakes."""
    return UserError(ExitCode.USAGE, "\n".join(lines), hint)


def _mistake(problem: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    """Return the beginning of a line, with the key, and what is wrong with that."""
    # The rest is the user's input: keys and positions.
    location = [part for part in problem["loc"] if not _is_internal(part)]
    key = dotted(location)
    if problem["type"] == "extra_forbidden":
        # The key itself is the last part; what precedes it leads to its table.
        return f"unknown key {key}", _nearest(str(location[-1]), _known_keys(model, location[:-1]))
    if problem["type"] == "missing":
        return key, " is missing"
    return f"{key}: ", in_words(problem)


def _is_internal(part: object) -> bool:
    """Return whether a part of a location is a branch of a union, which no user ever wrote."""
    return isinstance(part, str) and (part.startswith(("literal[", "function-")) or part in _BRANCHES)


_BRANCHES = frozenset({"str", "int", "float", "bool"})


def dotted(location: Iterable[object]) -> str:
    """Return a location as ``hosts[1].name``, counted from 1."""
    text = ""
    for part in location:
        # Counted from 1, as people count tables of a file.
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the file"


def _known_keys(model: type[BaseModel], location: Iterable[object]) -> list[str]:
    """Return the keys that the table at a location may have."""
    parts = iter(location)
    # The invariant: ``model`` is the table at the parts so far.
    for part in parts:
        # A position in a list does not change the kind of table.
        if isinstance(part, int):
            continue
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
        if field is not None and get_origin(field.annotation) is dict:
            next(parts, None)  # skip the name that the user gave to the table, as in [recipes.NAME]
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type such as ``list[HostEntry]``; None for other types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    # Types such as list[X] and X | None hold others.
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _nearest(key: str, known: list[str]) -> str:
    """Return in words which known key is nearest, however far that is; empty if none is known."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]}?)"
    far = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f" (the nearest known key is {far[0]})" if far else ""
