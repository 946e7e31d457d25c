"""``render --dry-run``: prints the plan, the hosts and the space needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sshrender.errors import UserError
from sshrender.views import safeprint
from sshrender.views.rendersettings import settings_in_words
from sshrender.views.text import clean, count, size

if TYPE_CHECKING:
    from sshrender.api.dryrun import DryRunReport
    from sshrender.api.results import RenderResult
    from sshrender.api.runcontext import RunContext


def dry_run(
    context: RunContext, source: Path, *, is_only: bool, stream: TextIO | None = None
) -> RenderResult:
    """Print what a render would do, to stdout if no stream is given, and return it for ``--json``."""
    from sshrender.api.dryrun import plan_render
    from sshrender.api.results import RenderResult

    try:
        report = plan_render(context, source, is_only=is_only)
    except UserError as error:
        context.listener.error(error)
        return RenderResult.failure(source, error)
    if not context.settings.quiet:
        for line in _lines(report):
            safeprint.line(line, stream)
    return RenderResult(report.exit_code, report.as_json())


def _lines(report: DryRunReport) -> Iterator[str]:
    plan, states = report.plan, [host.state for host in report.hosts]
    settings = plan.spec.settings
    yield f"{clean(plan.spec.name)}: nothing is done (--dry-run)"
    split = f", in parts of {settings.split}" if settings.split else ""
    yield (
        f"  pages    {count(plan.total, 'page')} ({settings.pages}{split}),"
        f" {plan.delivered} of them delivered already"
    )
    # The number of pages of a damaged document is Ghostscript's own, which a dry run does not ask for.
    if not plan.is_counted:
        yield "           the document is damaged: Ghostscript may find another number of pages"
    yield f"  render   {settings_in_words(settings.model_dump())}"
    yield f"  job      {clean(plan.folder, 4096)}, {size(plan.free_on_san)} free"
    yield f"  output   {clean(plan.output, 4096)}, {size(plan.free_for_output)} free"
    most = f"at most {size(plan.most)}, uncompressed" if plan.most is not None else "not known"
    yield f"  space    {size(plan.document)} for the document; for the pages {most}"
    words = [f"{states.count(state)} {state}" for state in ("idle", "busy", "lost", "refused")]
    for pool in report.pools:
        yield f"  pool     {clean(pool.name)} {pool.state}, {pool.free} of {pool.cores} cores free"
    yield "  hosts    " + ", ".join(words) + " (sshrender hosts shows why)"
