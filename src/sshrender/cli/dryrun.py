"""``render --dry-run``: the plan, the hosts, the space needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sshrender.coordinator.dryrun import DryRun, plan_dry_run
from sshrender.coordinator.plan import RenderRequest
from sshrender.document.reading import Reading
from sshrender.views import output
from sshrender.views.text import clean, count, size

if TYPE_CHECKING:
    from sshrender.cli.invocation import Invocation


def show(
    session: Invocation,
    wanted: RenderRequest,
    reading: Reading,
) -> tuple[int, dict[str, Any]]:
    """Say on stderr what would happen: (exit code, what ``--json`` prints). Raises UserError."""
    from dataclasses import asdict

    from sshrender.cli.hosts import ask
    from sshrender.cli.jobstore import deadline_of, on_san

    until = deadline_of(session.settings)
    plan = on_san(session.san, lambda: plan_dry_run(wanted, reading), until)
    code, reports = ask(session)
    if not session.settings.quiet:
        for line in _lines(plan, [report.state for report in reports]):
            output.note(line)
    fields = {
        "schema": 1,
        "dry_run": True,
        "job": plan.spec.name,
        "state": "queued",
        "job_dir": plan.folder,
        "output": plan.output,
        "pages": {"total": plan.total, "delivered": plan.delivered},
        "settings": plan.spec.settings.model_dump(mode="json"),
        "space": {
            "document": plan.document,
            "pages_at_most": plan.most,
            "free_on_san": plan.free_on_san,
            "free_for_output": plan.free_for_output,
        },
        "hosts": [asdict(report) for report in reports],
        "exit_code": code,
    }
    return (0 if plan.delivered == plan.total else code), fields


def _lines(plan: DryRun, states: list[str]) -> Iterator[str]:
    settings = plan.spec.settings
    yield f"{clean(plan.spec.name)}: nothing is done (--dry-run)"
    split = f", in parts of {settings.split}" if settings.split else ""
    yield (
        f"  pages    {count(plan.total, 'page')} ({settings.pages}{split}),"
        f" {plan.delivered} of them delivered already"
    )
    if not plan.is_counted:
        yield "           the document is damaged: Ghostscript may count others"
    yield f"  drawn    {settings.device} at {settings.dpi:g} dpi"
    yield f"  job      {clean(plan.folder, 4096)}, {size(plan.free_on_san)} free"
    yield f"  output   {clean(plan.output, 4096)}, {size(plan.free_for_output)} free"
    most = f"at most {size(plan.most)}, uncompressed" if plan.most is not None else "not known"
    yield f"  space    {size(plan.document)} for the document; for the pages {most}"
    words = [f"{states.count(state)} {state}" for state in ("idle", "busy", "lost", "refused")]
    yield "  hosts    " + ", ".join(words) + " (sshrender hosts tells why)"
