"""``sshrender render``: renders documents now, and waits until all pages are delivered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import dashboard, options, reporting, streams
from sshrender.config.declaration import Panel
from sshrender.errors import ExitCode, most_severe

if TYPE_CHECKING:
    from sshrender.api.results import RenderResult
    from sshrender.api.runcontext import RunContext


@options.takes_settings("render", own=Panel.OUTPUT)
def render(
    pdf: Annotated[list[Path], typer.Argument(metavar="PDF", help="The documents to render.")],
    given: options.Given,
    dry_run: options.DryRun = False,
) -> None:
    """Render a PDF now and wait until all pages are delivered.

    The same command given again continues an unfinished job, and returns at once if nothing is missing.
    """
    from sshrender.api.documentarguments import check_pdfs

    check_pdfs(pdf)
    run_context, reporter = reporting.start(given.typed, given.config, wants_json=given.wants_json)
    if dry_run:
        perform = partial(_dry_run, run_context)
        raise typer.Exit(_all(pdf, perform, given.wants_json, are_dry_runs=True))
    run_context.require_key()

    def everything() -> int:
        return _all(pdf, run_context.render, given.wants_json, are_dry_runs=False)

    if not dashboard.is_wanted(run_context.settings, reporter):
        raise typer.Exit(everything())
    from sshrender.cli.foreground import run_in_foreground

    reporter.hide_progress()
    raise typer.Exit(run_in_foreground(run_context, everything, [source.name for source in pdf]))


def _dry_run(context: RunContext, source: Path, *, is_only: bool) -> RenderResult:
    from sshrender.cli.dryrun import dry_run

    return dry_run(context, source, is_only=is_only)


def _all(
    sources: list[Path],
    perform: Callable[..., RenderResult],
    json_: bool,
    *,
    are_dry_runs: bool,
) -> int:
    """Render one document here, several in parallel; return the exit code."""
    codes: list[int] = []
    summaries: list[dict[str, Any]] = []
    if len(sources) > 1 and not are_dry_runs:
        from sshrender.api.paralleldocuments import CollectedSummaries, render_in_parallel

        collected = render_in_parallel(sources, partial(perform, is_only=False))
        if not isinstance(collected, CollectedSummaries):
            return collected
        codes, summaries = collected.codes, collected.summaries
    else:
        for source in sources:
            result = perform(source, is_only=len(sources) == 1)
            codes.append(result.exit_code)
            summaries.append(result.summary)
    code = _worst(codes)
    return streams.put(_combined(summaries), code) if json_ else code


def _worst(codes: list[int]) -> int:
    """Return the most severe code. A signal outweighs it, also if it ended one document's process."""
    if codes[-1] > 128:
        return codes[-1]
    by_signal = [code for code in codes if code > 128]
    if by_signal:
        return max(by_signal)
    return most_severe([ExitCode(code) if code in set(ExitCode) else ExitCode.BUG for code in codes])


def _combined(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one document's summary, or one object that holds them all."""
    if len(summaries) == 1:
        return summaries[0]
    states = {summary["state"] for summary in summaries}
    state = states.pop() if len(states) == 1 else "partial"
    return {"schema": 1, "state": state, "jobs": summaries}
