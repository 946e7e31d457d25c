"""Read the values of options and arguments without pydantic, which typer uses for each of them.

Typer 0.29 builds a pydantic adapter for every option of a command, whether it is given or not: 40 ms for
``render``, which has 42. Most values are texts and paths, and most options are not given. Of another
typer, which has no such adapters, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin


def read_plainly(params: Iterable[Any]) -> None:
    """Let the values of these parameters of a command be read here."""
    for param in params:
        # Typer's own attribute: None until a value is read (typer/core.py, get_runtime_param).
        if getattr(param, "_runtime_param", param) is None and hasattr(param, "type_descriptor"):
            param._runtime_param = _Plain(param.type_descriptor)


class _Plain:
    """Reads the value of one parameter, as typer's RuntimeParam does."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value that the command gets. Raises typer's BadParameter."""
        annotation = self._descriptor.annotation
        is_list = param.multiple or param.nargs == -1
        if value is None:
            return () if is_list else None
        if is_list and get_origin(annotation) is list and isinstance(value, list | tuple):
            (type_,) = get_args(annotation)
            if type_ in (str, Path):
                return [self._one(each, type_, param, ctx) for each in value]
        if not is_list and annotation in (str, Path):
            return self._one(value, annotation, param, ctx)
        if getattr(param, "count", False) and type(value) is int:
            return value  # counted by the parser: -vv
        return self._by_typer(value, param, ctx)

    def _one(self, value: Any, type_: type, param: Any, ctx: Any) -> Any:
        info = self._descriptor.parameter_info
        if not isinstance(value, str | Path) or info.parser is not None:
            return self._by_typer(value, param, ctx)
        if type_ is str:
            return str(value)
        # Typer looks at each path, also where it checks nothing: on a dead file server that never ends.
        if not (info.exists or info.readable or info.writable or info.resolve_path) and (
            info.file_okay and info.dir_okay
        ):
            return Path(value)
        from typer._param_types import coerce_cli_path

        # A Path already, so that only the checks that the parameter asks for are left.
        return coerce_cli_path(Path(value), info, path_type=Path, param=param, ctx=ctx)

    def _by_typer(self, value: Any, param: Any, ctx: Any) -> Any:
        from typer._coercion import build_runtime_param

        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)
