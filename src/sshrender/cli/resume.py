"""``sshrender resume``: continues an unfinished job, from any machine that mounts the shared folder."""

from __future__ import annotations

import typer

from sshrender.cli import dashboard, options, reporting, streams


def resume(
    context: typer.Context,
    job: options.Job,
    hosts: options.Hosts = None,
    on: options.On = None,
    avoid: options.Avoid = None,
    pin: options.Pin = None,
    san: options.San = None,
    output: options.Output = None,
    password_file: options.PasswordFile = None,
    page_timeout: options.PageTimeout = None,
    page_memory: options.PageMemory = None,
    hedge: options.Hedge = True,
    mixed: options.Mixed = False,
    retries: options.Retries = None,
    wait: options.Wait = None,
    deadline: options.Deadline = None,
    priority: options.Priority = None,
    limit: options.Limit = None,
    mail_to: options.MailTo = None,
    mail_when: options.MailWhen = None,
    strict: options.Strict = False,
    overview: options.Overview = True,
    assemble: options.Assemble = None,
    sandbox: options.Sandbox = None,
    progress: options.Progress = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    color: options.Color = None,
    log_file: options.LogFile = None,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Continue an unfinished job, from any machine that mounts the shared folder.

    The job keeps its options; options given here replace them.
    """
    from sshrender.api.resumption import find_unfinished, resumption_of

    typed = options.typed(context)
    found = find_unfinished(typed, config, job)
    typed.setdefault("san", found.folder.path.parent)
    run_context, reporter = reporting.start(typed, config, wants_json=json_, job=found.attributes.wishes)
    order = resumption_of(run_context, found)

    def everything() -> int:
        result = run_context.resume(order)
        return streams.put(result.summary, result.exit_code) if json_ else result.exit_code

    if not dashboard.is_wanted(run_context.settings, reporter):
        raise typer.Exit(everything())
    from sshrender.cli.foreground import run_in_foreground

    reporter.hide_progress()
    raise typer.Exit(run_in_foreground(run_context, everything, found.spec.name))
