"""The program's own dataclass decorator promises what the standard one does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from sshrender.records import dataclass as ours

Decorator = Callable[..., Any]


def _family(decorator: Decorator, **options: bool) -> tuple[Any, Any]:
    """Make a class and one that extends it."""

    @decorator(**options)
    class Base:
        kind: ClassVar[str] = "base"
        name: str
        size: int = 3
        tags: list[str] = dataclasses.field(default_factory=list, compare=False)
        seen: int = dataclasses.field(default=0, init=False, repr=False)

    @decorator(**options)
    class Further(Base):
        more: float = dataclasses.field(default=0.5, kw_only=True)

        def __post_init__(self) -> None:
            object.__setattr__(self, "seen", len(self.name))

    return Base, Further


_OPTIONS: list[dict[str, bool]] = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
]


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
def test_instances_are_as_those_of_the_standard_decorator(options: dict[str, bool]) -> None:
    told = []
    for decorator in (ours, dataclasses.dataclass):
        _, further = _family(decorator, **options)
        first, same, other = (
            further(name="ab"),
            further(name="ab", tags=["x"]),
            further(name="c", more=2),
        )
        told.append(
            [
                repr(first).partition("<locals>.")[2],
                first == same,
                first == other,
                first == "ab",
                dataclasses.asdict(other),
                dataclasses.asdict(dataclasses.replace(other, size=9)),
                further.__match_args__,
                hasattr(first, "__dict__"),
                dataclasses.asdict(copy.deepcopy(same)),
                _hash_of(first) == _hash_of(same),
                type(_hash_of(first)),
                [_refusal(first, name) for name in ("size", "unknown")],
                _of_wrong_arguments(further),
            ]
        )
    assert told[0] == told[1]


def _hash_of(value: object) -> object:
    try:
        return hash(value)
    except TypeError as error:
        return str(error)


def _refusal(value: Any, name: str) -> str:
    try:
        setattr(value, name, 5)
    except (AttributeError, TypeError) as error:
        # A class with slots refuses unknown names in its own words (3.11: a TypeError, gh-90562).
        return type(error).__name__ if name == "size" else "refused"
    return "set"


def _of_wrong_arguments(cls: Any) -> list[str]:
    messages = []
    for arguments in ({}, {"name": "a", "wrong": 1}):
        with pytest.raises(TypeError) as caught:
            cls(**arguments)
        messages.append(str(caught.value))
    return messages


def test_each_class_has_its_own_arguments_whichever_is_made_first() -> None:
    base, further = _family(ours, frozen=True, slots=True)
    assert further("a", 4, more=1.0).size == 4
    assert base("b").tags == []
    with pytest.raises(TypeError):
        base("b", more=1.0)


@ours(frozen=True, slots=True)
class _Sent:
    first: str
    second: tuple[int, ...] = ()


def test_a_frozen_record_survives_being_pickled() -> None:
    sent = _Sent("a", (1, 2))
    assert pickle.loads(pickle.dumps(sent)) == sent
    assert {sent: 1}[_Sent("a", (1, 2))] == 1


def test_a_method_of_the_class_itself_is_kept() -> None:
    @ours(frozen=True, slots=True)
    class Named:  # noqa: PLW1641 - the decorator makes it
        name: str

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

    assert repr(Named("a")) == "own"
    assert Named("a") == Named("b")
    assert hash(Named("a")) == hash(Named("a"))
