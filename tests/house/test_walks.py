"""The walks of docs/architecture.md pass modules that exist, and none of them climbs back."""

from __future__ import annotations

import pytest
from docs.diagrams import SOURCE, import_graph, reachable
from docs.walks import WALKS, Step

STEPS = [step for walk in WALKS.values() for step in walk if step.after]


def _module(name: str) -> str:
    return f"sshrender.{name}"


def _is_there(name: str) -> bool:
    """Whether the folder of the module exists; then the module itself has to."""
    folder = SOURCE / name.partition(".")[0]
    return folder.is_dir() or folder.with_suffix(".py").is_file()


@pytest.mark.parametrize("walk", WALKS)
def test_each_step_is_a_module_that_exists(walk: str) -> None:
    modules = [step.module for step in WALKS[walk] if _is_there(step.module)]
    assert [module for module in modules if _module(module) not in import_graph()] == []


@pytest.mark.parametrize("walk", WALKS)
def test_each_step_follows_an_earlier_one(walk: str) -> None:
    steps = WALKS[walk]
    for number, step in enumerate(steps):
        assert step.after in {each.module for each in steps[:number]} | ({""} if number == 0 else set())


@pytest.mark.parametrize(
    "step", [step for step in STEPS if _is_there(step.module) and _is_there(step.after)]
)
def test_a_call_goes_down_and_nothing_climbs_back(step: Step) -> None:
    caller, called, graph = _module(step.after), _module(step.module), import_graph()
    if step.medium:
        # What is handed over is taken up without a call: the one that leaves it does not know the other.
        assert called not in graph[caller]
    else:
        assert called in reachable(graph, caller)
        assert caller not in reachable(graph, called)
