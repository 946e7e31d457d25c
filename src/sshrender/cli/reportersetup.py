"""Connects a command to the terminal: the reporter that its settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshrender.cli import hintcommands, jsonresult

if TYPE_CHECKING:
    from sshrender.api.runcontext import RunContext
    from sshrender.config.settings import Settings
    from sshrender.views.reporter import Reporter


def reporter_for(settings: Settings) -> Reporter:
    """Return what writes remarks, errors, progress and summaries to stderr."""
    from sshrender.api.runevents import stderr_reporter

    # Errors that come before the reporter have the same form.
    jsonresult.set_progress(settings.progress)
    return stderr_reporter(settings, hintcommands.complete)


def start(
    typed: Mapping[str, Any],
    config: Path | None,
    *,
    job: Mapping[str, Any] | None = None,
) -> tuple[RunContext, Reporter]:
    """Return the context of a command, and the reporter that listens to it. Raises UserError.

    ``job``: the settings of an existing job.
    """
    from sshrender.api.runcontext import RunContext

    # The listener is made inside start(), once the settings are known.
    reporters: list[Reporter] = []

    def listener_for(settings: Settings) -> Reporter:
        reporters.append(reporter_for(settings))
        return reporters[0]

    context = RunContext.start(typed, config, listener_for, job=job)
    return context, reporters[0]
