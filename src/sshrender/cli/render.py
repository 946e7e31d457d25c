"""``sshrender render``: see the whole job through, in the foreground, and deliver."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sshrender.cli import options, streams
from sshrender.config.declaration import Panel
from sshrender.errors import ExitCode, UserError, most_severe

if TYPE_CHECKING:
    from sshrender.cli.invocation import Invocation


@options.takes_settings("render", own=Panel.OUTPUT)
def render(
    pdf: Annotated[list[Path], typer.Argument(metavar="PDF", help="The documents to render.")],
    given: options.Given,
    dry_run: options.DryRun = False,
) -> None:
    """Render a PDF now and wait until all pages are delivered.

    The same command given again continues an unfinished job, and returns at once if nothing is missing.
    """
    from sshrender.cli.invocation import Invocation

    check_pdfs(pdf)
    session = Invocation.start(given.typed, given.config, wants_json=given.wants_json)
    perform = session.dry_run if dry_run else session.render
    if not dry_run:
        _have_key(session)

    def everything() -> int:
        return _all(pdf, perform, given.wants_json, dry_run)

    if dry_run or not has_dashboard(session):
        raise typer.Exit(everything())
    from sshrender.cli.foreground import run_in_foreground

    session.reporter.hide_progress()
    raise typer.Exit(run_in_foreground(session, everything, ", ".join(source.name for source in pdf)))


def _have_key(session: Invocation) -> None:
    """This process sees its jobs through itself, so it needs no file for the key. Raises UserError."""
    from sshrender.config import keyfile

    try:
        keyfile.load_or_make()
    except keyfile.NoPlace as error:
        keyfile.keep_in_memory()
        session.reporter.remark(f"only this run can use its jobs: {error.what}; hint: {error.hint}")


def _all(
    sources: list[Path],
    perform: Callable[..., tuple[int, dict[str, Any]]],
    json_: bool,
    are_dry_runs: bool,
) -> int:
    """One document here, several side by side; the exit code."""
    codes: list[int] = []
    summaries: list[dict[str, Any]] = []
    if len(sources) > 1 and not are_dry_runs:
        from sshrender.cli.paralleldocuments import CollectedSummaries, side_by_side

        gathered = side_by_side(sources, lambda source: perform(source, is_only=False))
        if not isinstance(gathered, CollectedSummaries):
            return gathered
        codes, summaries = gathered.codes, gathered.summaries
    else:
        for source in sources:
            code, summary = perform(source, is_only=len(sources) == 1)
            codes.append(code)
            summaries.append(summary)
    code = _worst(codes)
    return streams.put(_combined(summaries), code) if json_ else code


def has_dashboard(session: Invocation) -> bool:
    """Where one was asked for, or nothing was, and a person sits at a terminal that can show it."""
    from sshrender.cli.watch import why_no_dashboard

    settings = session.settings
    if settings.progress not in ("auto", "tui") or (settings.quiet and settings.progress == "auto"):
        return False
    why_not = why_no_dashboard()
    is_attended = sys.stdout.isatty() or sys.stdin.isatty() or settings.progress == "tui"
    if why_not and is_attended:
        session.reporter.remark(f"no dashboard: {why_not}")
    return not why_not


def _worst(codes: list[int]) -> int:
    """A signal ends everything, also where it ended one document's process; else the most severe."""
    if codes[-1] > 128:
        return codes[-1]
    by_signal = [code for code in codes if code > 128]
    if by_signal:
        return max(by_signal)
    return most_severe([ExitCode(code) if code in set(ExitCode) else ExitCode.BUG for code in codes])


def _combined(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """One document's summary, or one object that holds them all."""
    if len(summaries) == 1:
        return summaries[0]
    states = {summary["state"] for summary in summaries}
    state = states.pop() if len(states) == 1 else "partial"
    return {"schema": 1, "state": state, "jobs": summaries}


def check_pdfs(sources: list[Path]) -> None:
    """Two documents of one name would be delivered into one folder. Raises UserError."""
    stems = [source.stem for source in sources]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UserError(
                ExitCode.USAGE,
                f"two documents are called {stem} and would share a folder",
                "render them one after the other, each with its own -o DIR",
            )
