"""Read the values of options and arguments without pydantic, which typer uses for each of them.

Typer 0.29 builds a pydantic adapter for every option of a command, whether it is given or not: 10 ms for
``render``, which has 42, and 0.1 s for a command that needs pydantic for nothing else. Most values are
texts and paths, and most options are not given.

This uses three names of typer that are not documented: ``type_descriptor``, ``_runtime_param`` and
``get_runtime_param`` of a parameter (typer/core.py). If a version of typer lacks one of them, nothing is
changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin


def read_plainly(params: Iterable[Any]) -> None:
    """Let the values of these parameters of a command be read here."""
    for param in params:
        # None until a value is read. Then get_runtime_param() returns what reads it.
        if getattr(param, "_runtime_param", param) is None and all(
            hasattr(param, name) for name in ("type_descriptor", "get_runtime_param")
        ):
            param._runtime_param = _Plain(param.type_descriptor)


class _Plain:
    """Reads the value of one parameter, as typer's RuntimeParam does."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value that the command gets. Raises typer's BadParameter."""
        is_list = param.multiple or param.nargs == -1
        _refuse_empty(value, param, ctx)
        if value is None:
            return () if is_list else None
        type_, info = self._descriptor.annotation, self._descriptor.parameter_info
        if is_list and get_origin(type_) is list:
            (type_,) = get_args(type_)
        if (type_ is str or (type_ is Path and not _is_checked(info))) and info.parser is None:
            if is_list and isinstance(value, list | tuple) and all(map(_is_text, value)):
                return [type_(each) for each in value]
            if not is_list and _is_text(value):
                return type_(value)
        if getattr(param, "count", False) and type(value) is int:
            return value  # counted by the parser: -vv
        return self._by_typer(value, param, ctx)

    def _by_typer(self, value: Any, param: Any, ctx: Any) -> Any:
        # None: get_runtime_param() makes typer's own reader, and keeps it in our place.
        param._runtime_param = None
        reader = param.get_runtime_param()
        # Put back: a tree that is used again must refuse an empty value again.
        param._runtime_param = self
        return reader.coerce(value, param=param, ctx=ctx)


_MAY_BE_EMPTY = ("note", "alter after", "alter not_before")
"""Options, some of one command only, whose empty text means something: no note, no condition."""


def _refuse_empty(value: Any, param: Any, ctx: Any) -> None:
    """Fail for an empty text on the command line, as an unset variable of a shell leaves it.

    It would be the current folder as a path. An empty variable of the environment counts as none.
    """
    texts = value if isinstance(value, list | tuple) else [value]
    is_typed = getattr(ctx.get_parameter_source(param.name), "name", "") == "COMMANDLINE"
    if "" not in texts or not is_typed:
        return
    if param.param_type_name == "option":
        if not {param.name, f"{ctx.info_name} {param.name}"} & set(_MAY_BE_EMPTY):
            ctx.fail(f"{max(param.opts, key=len)} is empty: give a value, or leave the option out")
    # The api refuses an empty JOB with a hint of its own.
    elif param.metavar != "JOB":
        ctx.fail(f"the argument {param.metavar or param.name.upper()} is empty")


def _is_text(value: object) -> bool:
    return isinstance(value, str | Path)


def _is_checked(info: Any) -> bool:
    """Return whether typer has to look at the file of a path.

    It looks even if it checks nothing; on a dead file server that never ends.
    """
    is_any = info.file_okay and info.dir_okay
    return not is_any or info.exists or info.readable or info.writable or info.resolve_path


def refusal(error: Any) -> str:
    """Return in words why typer took no value: pydantic's own words are about its parsers."""
    problems = getattr(error.__cause__, "errors", None)
    if problems is None:
        return str(getattr(error, "format_message", error.__str__)())
    from sshrender.config import pydanticmessages

    source = error.ctx.get_parameter_source(error.param.name)
    is_variable = getattr(source, "name", "") == "ENVIRONMENT"
    name = error.param.envvar if is_variable else error.param.opts[0]
    return f"{name}: {pydanticmessages.in_words(problems()[0])}"
