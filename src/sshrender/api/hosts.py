"""Checks every host of the inventory, and names what fixes what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sshrender.api import commandlines
from sshrender.api.jobs import on_san
from sshrender.api.runcontext import RunContext
from sshrender.api.storageconditions import Condition, check_storage
from sshrender.config.paths import find_inventory
from sshrender.coordinator.hosts.hostcheck import HostReport, compare
from sshrender.coordinator.hosts.hostcheck import check_hosts as check_each
from sshrender.coordinator.outcome import no_host_code
from sshrender.coordinator.pilots.poolcheck import USABLE, PoolCheck, check_pools
from sshrender.coordinator.workers.requestpoller import drained_event
from sshrender.core.states import HostState
from sshrender.job.folder import require_san
from sshrender.job.queue import drains
from sshrender.job.queue.drains import Drain

if TYPE_CHECKING:
    from sshrender.api.hostremedies import Remedy


@dataclass(frozen=True, slots=True)
class HostChecks:
    """The reports of all hosts and pools, in the inventory's order; exit code 0 if one is usable.

    ``conditions``: what the file system of the shared folder can do.
    """

    exit_code: int
    reports: list[HostReport]
    pools: list[PoolCheck]
    conditions: list[Condition]


def check_hosts(context: RunContext) -> HostChecks:
    """Check every host and pool. Raises UserError if the shared folder fails."""
    conditions: list[Condition] = []

    def work() -> list[HostReport]:
        require_san(context.san)
        conditions.extend(check_storage(context.san))
        # Drains are read once for all hosts: they are files on the shared folder.
        drained = drains.read(context.san, [setup.plan.name for setup in context.hosts])
        if not context.hosts:
            return []
        return [_with_drain(report, drained) for report in check_each(context.hosts, context.san)]

    # check_each() may answer in another order than that of the inventory.
    found = {report.name: report for report in on_san(context.san, work)}
    reports = [found[setup.plan.name] for setup in context.hosts]
    if not context.settings.mixed:
        # With --mixed no host is refused because of its canary page.
        compare(reports)
    pools = check_pools(context.pools)
    if any(report.state in ("idle", "busy") for report in reports) or any(
        pool.state == USABLE for pool in pools
    ):
        return HostChecks(0, reports, pools, conditions)
    refusals = (report.refusal if report.state == "refused" else "" for report in reports)
    # Pools without a usable state count as hosts without a reason of their own.
    return HostChecks(no_host_code([*refusals, *("" for _ in pools)]), reports, pools, conditions)


def _with_drain(report: HostReport, drained: Mapping[str, Drain]) -> HostReport:
    """Mark a usable host as drained, if it is. Any other state says more than that."""
    drain = drained.get(report.name)
    if drain is not None and report.state in ("idle", "busy"):
        report.state = "drained"
        report.reason = drained_event(drain).reason
    return report


def command_lines(context: RunContext) -> list[str]:
    """Return for each host the command that starts its runner."""
    return list(commandlines.of_connections(context.hosts, "check"))


def remedies_of(context: RunContext, report: HostReport) -> list[Remedy]:
    """Return what fixes the first failed check; nothing if nothing needs to be done."""
    if report.state != HostState.DRAINED.value and all(check.ok is not False for check in report.checks):
        return []  # known without the next import
    # It reads keys and configurations of SSH, and loads paramiko for that: a tenth of a second.
    from sshrender.api.hostremedies import Problem, remedies

    setup = next(setup for setup in context.hosts if setup.plan.name == report.name)
    settings = context.settings
    problem = Problem(
        report,
        host=next((host for host in context.inventory if host.name == report.name), None),
        san=setup.san,
        own_san=str(context.san),
        config_file=str(settings.ssh_config) if settings.ssh_config else None,
        file=find_inventory(settings.hosts),
    )
    return remedies(problem)
