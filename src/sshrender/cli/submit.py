"""``sshrender submit``: puts documents into the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import jsonresult, options, reportersetup
from sshrender.cli.queueoptions import After, NotBefore
from sshrender.config.declarationtypes import Panel
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views.safeprint import line
from sshrender.views.summary import totals


@options.takes_settings("submit", own=Panel.QUEUE)
def submit(
    pdf: Annotated[
        list[Path],
        typer.Argument(metavar="PDF", readable=False, help="Documents, folders of them, or patterns."),
    ],
    given: options.Given,
    hold: Annotated[
        bool,
        typer.Option(
            "--hold",
            help="Queue the jobs, but do not start them before they are released.",
            show_default=False,
        ),
    ] = False,
    after: After = None,
    not_before: NotBefore = None,
) -> None:
    """Queue jobs and print their names. The command coordinate renders them."""
    from sshrender.api.dependencies import job_names_of, start_time
    from sshrender.api.documentarguments import check_pdfs, find_documents, require_files
    from sshrender.api.results import failure_summary
    from sshrender.api.submission import submit as submit_document

    # Patterns are expanded before the first document is queued.
    sources = require_files(find_documents(pdf))
    check_pdfs(sources)
    run_context, reporter = reportersetup.start(given.typed, given.config)
    conditions = {
        "not_before": start_time(not_before),
        "after": job_names_of(run_context.san, after or []),
    }
    codes: list[ExitCode] = []
    summaries: list[dict[str, Any]] = []
    # Documents that are queued already are named even if a later one ends the command.
    jsonresult.know(jobs=summaries)
    is_only = len(sources) == 1
    for source in sources:
        try:
            submitted = submit_document(run_context, source, conditions, is_only=is_only, is_held=hold)
        # One document's error does not keep the others from the queue.
        except UserError as error:
            reporter.error(error)
            codes.append(error.code)
            summaries.append(failure_summary(source, error))
            continue
        codes.append(ExitCode.OK)
        summaries.append(submitted.as_json())
        if not given.wants_json:
            # Flushed at once: a script may read the names one by one.
            line(submitted.job, flush=True)
    code = int(most_severe(codes))
    if given.wants_json:
        code = jsonresult.put({"jobs": summaries, **totals(summaries)}, code)
    raise typer.Exit(code)
