"""``sshrender render``: renders documents now, and waits until all pages are delivered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from sshrender.cli import dashboard, jsonresult, options, reportersetup
from sshrender.config.declarationtypes import Panel
from sshrender.errors import ExitCode, most_severe
from sshrender.views.summary import totals

if TYPE_CHECKING:
    from sshrender.api.results import RenderResult
    from sshrender.api.runcontext import RunContext
    from sshrender.views.reporter import Reporter


@options.takes_settings("render", own=Panel.OUTPUT)
def render(
    pdf: Annotated[
        list[Path], typer.Argument(metavar="PDF", readable=False, help="The documents to render.")
    ],
    given: options.Given,
    dry_run: options.DryRun = False,
) -> None:
    """Render a PDF now and wait until all pages are delivered.

    The same command given again continues an unfinished job, and returns at once if nothing is missing.
    """
    from sshrender.api.documentarguments import check_pdfs, require_files

    # A descriptor of this process is replaced by its file before other processes are started.
    pdf = require_files(pdf)
    check_pdfs(pdf)
    run_context, reporter = reportersetup.start(given.typed, given.config)
    if dry_run:
        # With --json the object alone is on standard output, so the plan goes to the other stream.
        perform = partial(_dry_run, run_context, stream=sys.stderr if given.wants_json else sys.stdout)
        raise typer.Exit(_one_by_one(pdf, perform, reporter, given.wants_json))
    # Before the first connection, so that a missing key is reported at once.
    run_context.require_key()

    def everything() -> int:
        if len(pdf) == 1:
            return _one_by_one(pdf, run_context.render, reporter, given.wants_json)
        return _in_parallel(pdf, run_context.render, reporter, given.wants_json)

    # Without a dashboard everything runs in this process, and lines are printed as it goes.
    if not dashboard.is_wanted(run_context.settings, reporter):
        raise typer.Exit(everything())
    from sshrender.cli.runwithdashboard import run_with_dashboard

    # The parent's dashboard shows the progress; the child prints only what remains after it.
    reporter.hide_progress()
    raise typer.Exit(run_with_dashboard(run_context, everything, [source.name for source in pdf]))


def _dry_run(context: RunContext, source: Path, *, is_only: bool, stream: TextIO) -> RenderResult:
    from sshrender.cli.dryrun import dry_run

    return dry_run(context, source, is_only=is_only, stream=stream)


def _one_by_one(
    sources: list[Path], perform: Callable[..., RenderResult], reporter: Reporter, wants_json: bool
) -> int:
    """Render documents in this process; return the exit code."""
    # The only document gets -o itself as its folder, each of several a folder in it.
    results = [perform(source, is_only=len(sources) == 1) for source in sources]
    codes = [result.exit_code for result in results]
    return _end(codes, [result.summary for result in results], reporter, wants_json)


def _in_parallel(
    sources: list[Path], perform: Callable[..., RenderResult], reporter: Reporter, wants_json: bool
) -> int:
    """Render several documents, each in a process of its own; return the exit code of this process."""
    from sshrender.api.paralleldocuments import CollectedSummaries, render_in_parallel

    def render_one(source: Path) -> RenderResult:
        # In the child: its summary goes through the pipe, and the parent prints one object.
        jsonresult.leave_to_other_process()
        return perform(source, is_only=False)

    started = time.monotonic()
    collected = render_in_parallel(sources, render_one)
    # An exit code: this is a document's process, which ends now.
    if not isinstance(collected, CollectedSummaries):
        return collected
    seconds = round(time.monotonic() - started, 3)
    return _end(collected.codes, collected.summaries, reporter, wants_json, seconds)


def _end(
    codes: list[int],
    summaries: list[dict[str, Any]],
    reporter: Reporter,
    wants_json: bool,
    seconds: float | None = None,
) -> int:
    """Print the total and, with ``--json``, the object; return the exit code."""
    code = _worst(codes)
    # A signal may have ended the command before any document had a summary.
    combined = _combined(summaries) if summaries else {"state": "failed", "jobs": [], **totals([])}
    if seconds is not None:
        combined["seconds"] = seconds
        total = {key: combined[key] for key in ("documents", "pages", "seconds")}
        reporter.total(total, code)
    return jsonresult.put(combined, code, is_run=True) if wants_json else code


def _worst(codes: list[int]) -> int:
    """Return the most severe code. A signal overrides it, also if it ended one document's process."""
    # The command's own signal is the last code (paralleldocuments.collected).
    if codes[-1] > 128:
        return codes[-1]
    by_signal = [code for code in codes if code > 128]
    if by_signal:
        return max(by_signal)
    # A code that is none of ours is that of a crash.
    return most_severe([ExitCode(code) if code in set(ExitCode) else ExitCode.BUG for code in codes])


def _combined(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one document's summary, or one object that holds them all."""
    if len(summaries) == 1:
        return summaries[0]
    states = {summary["state"] for summary in summaries}
    # Different ends together are partial: some pages may be there.
    state = states.pop() if len(states) == 1 else "partial"
    return {"state": state, **totals(summaries), "jobs": summaries}
