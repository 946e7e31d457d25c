"""Define the program's dataclasses: as dataclasses.dataclass does, with a tenth of the time at import.

The standard decorator compiles five functions for each class (0.8 ms with Python 3.11), and a command
defines some 190 classes: a third of its start. Here ``__init__`` is compiled when
the first instance is made, which of most classes none ever is, and the other methods are shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers know the standard decorator, which promises the same.
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, **options: bool) -> Any:
        """Make a dataclass, as the standard decorator does. Options: frozen, slots, kw_only."""
        return (lambda found: _made(found, **options)) if cls is None else _made(cls, **options)


__all__ = ["complete", "dataclass"]

_FIELD_OPTIONS = ("default", "default_factory", "init", "kw_only")


def _made(cls: type, *, frozen: bool = False, slots: bool = False, kw_only: bool = False) -> type:
    own = frozenset(cls.__dict__)
    # The standard decorator finds the fields, and makes the class anew where it has slots.
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(
        cls
    )
    fields = dataclasses.fields(made)
    compared = tuple(each.name for each in fields if each.compare)
    hashed = tuple(each.name for each in fields if (each.compare if each.hash is None else each.hash))
    methods: dict[str, Any] = {
        "__init__": _first_init(made, frozen=frozen),
        "__repr__": _repr,
        "__eq__": _equality(compared),
        # As in the standard decorator, what can be changed has no hash.
        "__hash__": _hashing(hashed) if frozen else None,
    }
    if frozen:
        methods |= {"__setattr__": _refuse_setting, "__delattr__": _refuse_deleting}
    if frozen and slots:  # else copies and pickles are made with setattr()
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    for name, method in methods.items():
        # What the class defines is kept; with __eq__ alone it has a ``__hash__`` of None from Python.
        if name not in own or (name == "__hash__" and frozen and made.__hash__ is None):
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]  # its class is that of the argument


def _first_init(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """Return an ``__init__`` that replaces itself in the class by the compiled one."""

    def __init__(self: Any, /, *args: Any, **values: Any) -> None:  # noqa: N807 - its name in tracebacks
        replace()
        cls.__init__(self, *args, **values)

    def replace() -> None:
        # Two threads may both get here: they compile the same.
        cls.__init__ = _compiled_init(cls, frozen=frozen)

    __init__.replace = replace  # type: ignore[attr-defined]
    return __init__


def complete(cls: type) -> None:
    """Compile a dataclass now, as a process does from which others are forked that use it."""
    replace = getattr(vars(cls).get("__init__"), "replace", None)
    if replace is not None:
        replace()


def _compiled_init(cls: Any, *, frozen: bool) -> Any:
    """Return the ``__init__`` that the standard decorator makes of these fields."""
    fields = dataclasses.fields(cls)
    namespace: dict[str, Any] = {
        each.name: dataclasses.field(**{option: getattr(each, option) for option in _FIELD_OPTIONS})
        for each in fields
    }
    namespace["__annotations__"] = {each.name: each.type for each in fields}
    # Messages about arguments name the class.
    namespace["__qualname__"], namespace["__module__"] = cls.__qualname__, cls.__module__
    namespace["__doc__"] = ""  # else one is made of the signature
    if hasattr(cls, "__post_init__"):
        namespace["__post_init__"] = cls.__post_init__
    alike: Any = type(cls.__name__, (), namespace)
    return dataclasses.dataclass(frozen=frozen, repr=False, eq=False)(alike).__init__


def _repr(self: Any) -> str:
    shown = (
        f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self) if each.repr
    )
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _values(names: tuple[str, ...]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _equality(names: tuple[str, ...]) -> Callable[[Any, Any], Any]:
    values = _values(names)

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807 - its name in tracebacks
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hashing(names: tuple[str, ...]) -> Callable[[Any], int]:
    values = _values(names)

    def __hash__(self: Any) -> int:  # noqa: N807 - its name in tracebacks
        return hash(values(self))

    return __hash__


def _refuse_setting(_self: Any, name: str, _value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
