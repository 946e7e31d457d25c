"""The command lines of a run, for ``-vv``: how a host is reached, and what renders there.

They hold no password: warm programs read it from standard input, and ssh gets none.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from sshrender.coordinator.hosts.handshake import ghostscript_command
from sshrender.coordinator.jobplan import JobPlan
from sshrender.coordinator.renderrequest import HostSetup
from sshrender.job.spec import RecipeRecord


def of_connections(hosts: Sequence[HostSetup], label: str) -> Iterator[str]:
    """Yield for each host the command that starts its runner, as OpenSSH would be typed."""
    for setup in hosts:
        # Nothing connects here: the words come from the inventory and ssh_config.
        command = setup.transport.command_line(setup.python, label)
        yield f"host {setup.plan.name}: {shlex.join(command)}"


def of_renderers(hosts: Sequence[HostSetup], plan: JobPlan) -> Iterator[str]:
    """Yield for each host the command of its warm Ghostscript; for a recipe, that recipe's."""
    recipes = plan.spec.settings.recipes
    for recipe in recipes:
        if recipe.is_of_mutool:
            yield f"recipe {recipe.name}, the same pixels: {shlex.join(_typed(recipe, plan))}"
        elif not recipe.is_built_in:
            # A script is shown as it is; its fields come as variables.
            steps = [shlex.join(step) for step in recipe.steps] or [recipe.shell]
            yield f"recipe {recipe.name}: {' | '.join(steps)}"
    if plan.renders_with_ghostscript:
        for setup in hosts:
            yield f"host {setup.plan.name}: {shlex.join(ghostscript_command(plan, setup))}"


def _typed(recipe: RecipeRecord, plan: JobPlan) -> list[str]:
    """Return the command that makes the pages of a warm recipe when it is typed."""
    settings = plan.spec.settings
    fields = {
        "document": str(plan.folder.source),
        "page": settings.pages,
        "dpi": f"{settings.dpi:g}",
        # mutool replaces %d by the number of the page.
        "output": f"page-%04d.{recipe.extension}",
    }
    return [word.format_map(fields) for word in recipe.steps[0]]
