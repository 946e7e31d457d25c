"""``sshrender submit``: puts documents into the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sshrender.cli import options, reporting
from sshrender.cli.queueoptions import After, NotBefore
from sshrender.errors import ExitCode, UserError, most_severe
from sshrender.views.output import as_json, line


def submit(
    context: typer.Context,
    pdf: Annotated[
        list[Path],
        typer.Argument(metavar="PDF...", help="Documents, folders of documents, or patterns."),
    ],
    priority: options.Priority = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Do not start before the job is released.")
    ] = False,
    after: After = None,
    not_before: NotBefore = None,
    limit: options.Limit = None,
    mail_to: options.MailTo = None,
    mail_when: options.MailWhen = None,
    hosts: options.Hosts = None,
    on: options.On = None,
    avoid: options.Avoid = None,
    pin: options.Pin = None,
    san: options.San = None,
    output: options.Output = None,
    dpi: options.Dpi = None,
    device: options.Device = None,
    recipe: options.Recipe = None,
    fallback: options.Fallback = None,
    pages: options.Pages = None,
    password_file: options.PasswordFile = None,
    split: options.Split = None,
    page_timeout: options.PageTimeout = None,
    page_memory: options.PageMemory = None,
    hedge: options.Hedge = True,
    mixed: options.Mixed = False,
    retries: options.Retries = None,
    wait: options.Wait = None,
    deadline: options.Deadline = None,
    strict: options.Strict = False,
    overview: options.Overview = True,
    assemble: options.Assemble = None,
    sandbox: options.Sandbox = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Queue jobs and print their names. "sshrender coordinate" renders them."""
    from sshrender.api.dependencies import job_names_of, start_time
    from sshrender.api.documents import check_pdfs, find_documents
    from sshrender.api.results import failure_summary
    from sshrender.api.submission import submit as submit_document

    sources = find_documents(pdf)
    check_pdfs(sources)
    run_context, reporter = reporting.start(options.typed(context), config, wants_json=json_)
    conditions = {
        "not_before": start_time(not_before),
        "after": job_names_of(run_context.san, after or []),
    }
    codes: list[ExitCode] = []
    summaries: list[dict[str, Any]] = []
    is_only = len(sources) == 1
    for source in sources:
        try:
            submitted = submit_document(run_context, source, conditions, is_only=is_only, is_held=hold)
        except UserError as error:
            reporter.error(error)
            codes.append(error.code)
            summaries.append(failure_summary(source, error))
            continue
        codes.append(ExitCode.OK)
        summaries.append(submitted.as_json())
        if not json_:
            line(submitted.job, flush=True)
    if json_:
        as_json({"schema": 1, "jobs": summaries}, indent=1)
    raise typer.Exit(most_severe(codes))
