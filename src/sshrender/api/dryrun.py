"""Reports what a render would do: the job, its pages, the hosts and the space needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sshrender.api.hosts import check_hosts
from sshrender.api.jobs import deadline_of, on_san
from sshrender.api.results import NO_PAGES
from sshrender.api.runcontext import RunContext
from sshrender.coordinator.dryrun import DryRun, plan_dry_run
from sshrender.coordinator.hosts.hostcheck import HostReport
from sshrender.coordinator.pilots.poolcheck import PoolCheck
from sshrender.document.reading import Reading


@dataclass(frozen=True, slots=True)
class DryRunReport:
    """The plan of a render and the state of the hosts.

    ``exit_code`` is what a render would end with now: 0 if all pages are delivered already, or a host is
    usable.
    """

    exit_code: int
    plan: DryRun
    hosts: list[HostReport]
    pools: list[PoolCheck]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        plan = self.plan
        return {
            "schema": 1,
            "dry_run": True,
            "job": plan.spec.name,
            "state": "queued",
            "job_dir": plan.folder,
            "output": plan.output,
            "pages": {
                **NO_PAGES,
                "total": plan.total,
                "done": plan.delivered,
                "missing": plan.total - plan.delivered,
            },
            "settings": plan.spec.settings.model_dump(mode="json"),
            "space": {
                "document": plan.document,
                "pages_at_most": plan.most,
                "free_on_san": plan.free_on_san,
                "free_for_output": plan.free_for_output,
            },
            "hosts": [asdict(report) for report in self.hosts],
            "pools": [asdict(pool) for pool in self.pools],
            "exit_code": self.exit_code,
        }


def plan_render(context: RunContext, source: Path, *, is_only: bool) -> DryRunReport:
    """Read the document and check the hosts. Raises UserError."""
    reading = Reading()
    try:
        request = context.request(source, is_only)
        until = deadline_of(context.settings)
        # The plan first: a document that cannot be rendered is reported without a connection to any
        # host.
        plan = on_san(context.san, lambda: plan_dry_run(request, reading), until)
        checks = check_hosts(context)
    finally:
        reading.close()
    # With every page delivered no host is needed, whatever the hosts say.
    code = 0 if plan.delivered == plan.total else checks.exit_code
    return DryRunReport(code, plan, checks.reports, checks.pools)
