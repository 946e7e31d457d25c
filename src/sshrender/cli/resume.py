"""``sshrender resume``: continues an unfinished job, from any machine that mounts the shared folder."""

from __future__ import annotations

import typer

from sshrender.cli import dashboard, jsonresult, options, reportersetup
from sshrender.config.declarationtypes import Panel


@options.takes_settings("resume", own=Panel.OUTPUT)
def resume(job: options.Job, given: options.Given) -> None:
    """Continue an unfinished job, from any machine that mounts the shared folder.

    The job keeps its options; options given here replace them.
    """
    from sshrender.api.resumption import find_unfinished, resumption_of

    typed = dict(given.typed)
    found = find_unfinished(typed, given.config, job)
    # The job's own folder, unless the user names one: the configuration may name another.
    typed.setdefault("san", found.folder.path.parent)
    run_context, reporter = reportersetup.start(typed, given.config, job=found.attributes.wishes)
    order = resumption_of(run_context, found)

    def everything() -> int:
        result = run_context.resume(order)
        code = result.exit_code
        return jsonresult.put(result.summary, code, is_run=True) if given.wants_json else code

    if not dashboard.is_wanted(run_context.settings, reporter):
        raise typer.Exit(everything())
    from sshrender.cli.runwithdashboard import run_with_dashboard

    reporter.hide_progress()
    raise typer.Exit(run_with_dashboard(run_context, everything, [found.spec.name]))
