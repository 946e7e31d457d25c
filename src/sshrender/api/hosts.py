"""Checks every host of the inventory, and names the command that fixes what is wrong with one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sshrender.api import commandlines
from sshrender.api.jobs import on_san
from sshrender.api.runcontext import RunContext
from sshrender.coordinator.hosts.hostcheck import HostReport, compare
from sshrender.coordinator.hosts.hostcheck import check_hosts as check_each
from sshrender.coordinator.jobopening import require_san
from sshrender.coordinator.outcome import no_host_code
from sshrender.coordinator.workers.requestpoller import drained_event
from sshrender.job import drains
from sshrender.job.drains import Drain


@dataclass(frozen=True, slots=True)
class HostChecks:
    """The reports of all hosts, in the inventory's order. ``exit_code`` is 0 if one is usable."""

    exit_code: int
    reports: list[HostReport]


def check_hosts(context: RunContext) -> HostChecks:
    """Check every host. Raises UserError if the shared folder fails."""

    def work() -> list[HostReport]:
        require_san(context.san)
        drained = drains.read(context.san, [setup.plan.name for setup in context.hosts])
        return [_with_drain(report, drained) for report in check_each(context.hosts, context.san)]

    found = {report.name: report for report in on_san(context.san, work)}
    reports = [found[setup.plan.name] for setup in context.hosts]
    if not context.settings.mixed:
        compare(reports)
    if any(report.state in ("idle", "busy") for report in reports):
        return HostChecks(0, reports)
    refusals = (report.refusal if report.state == "refused" else "" for report in reports)
    return HostChecks(no_host_code(refusals), reports)


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


def remedy(context: RunContext, report: HostReport) -> str:
    """Return the command that fixes the first failed check; empty if nothing needs to be done."""
    failing = next((check for check in report.checks if check.ok is False), None)
    if failing is None:
        return ""
    name = shlex.quote(report.name)
    setup = next(setup for setup in context.hosts if setup.plan.name == report.name)
    changed = "changed" in failing.says
    commands = {
        "name": f"getent hosts {name}; ssh -G {name}",
        "tcp": f"ssh {name} true",
        "key": f"ssh-keygen -R {name}; ssh {name} true" if changed else f"ssh {name} true",
        "login": f"ssh-copy-id {name}",
        "python": f"ssh {name} sudo apt-get install -y python3",
        "ghostscript": f"ssh {name} sudo apt-get install -y ghostscript",
        "sandbox": f"ssh {name} sudo apt-get install -y bubblewrap",
        "san": f"sftp {name}"
        if setup.san is None
        else f"ssh {name} ls -ld {shlex.quote(str(Path(setup.san)))}",
        "space": f"ssh {name} df -h /tmp",
        "clock": f"ssh {name} timedatectl",
    }
    return commands.get(failing.name, "")
