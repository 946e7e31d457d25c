"""``sshrender hosts``: what every host of the inventory is now, why, and what would mend it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sshrender.cli import options
from sshrender.views import output

if TYPE_CHECKING:
    from sshrender.cli.invocation import Invocation
    from sshrender.coordinator.hosts.hostcheck import HostReport
    from sshrender.job.drains import Drain

PAUSE = 5.0


def hosts(
    context: typer.Context,
    hosts: options.Hosts = None,
    on: options.On = None,
    avoid: options.Avoid = None,
    san: options.San = None,
    sandbox: options.Sandbox = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Ask again every five seconds, until interrupted.")
    ] = False,
    verbose: options.Verbose = 0,
    json_: options.Json = False,
    ssh_config: options.SshConfig = None,
    config: options.Config = None,
) -> None:
    """Ask every host whether it is usable: a line each, with the command that mends what is wrong.

    The checks stand in the order of their causes: name, tcp, key, login, python, ghostscript, sandbox,
    san, space, clock, load, picture. With -v each of them is shown. The exit code is 0 when a host is
    usable.
    """
    from sshrender.cli.invocation import Invocation

    session = Invocation.start(options.typed(context), config, wants_json=json_)
    while True:
        code = _once(session, is_json=json_, verbose=verbose, is_watched=watch)
        if not watch:
            raise typer.Exit(code)
        time.sleep(PAUSE)


def _once(session: Invocation, *, is_json: bool, verbose: int, is_watched: bool) -> int:
    from sshrender.views import hosttable

    code, reports = ask(session)
    rows = [asdict(report) for report in reports]
    if is_json:
        output.as_json({"schema": 1, "hosts": rows})
        return code
    if is_watched and sys.stdout.isatty():
        output.clear_screen(sys.stdout)
    mends = {report.name: _mend(session, report) for report in reports}
    for line in hosttable.lines(rows, mends, verbose):
        output.line(line)
    sys.stdout.flush()
    return code


def ask(session: Invocation) -> tuple[int, list[HostReport]]:
    """Every host, in the inventory's order: (exit code, reports). Raises UserError: the SAN failed."""
    from sshrender.cli.jobstore import on_san
    from sshrender.coordinator.hosts.hostcheck import check_hosts, compare
    from sshrender.coordinator.jobopening import require_san
    from sshrender.coordinator.outcome import no_host_code
    from sshrender.job import drains

    def work() -> list[HostReport]:
        require_san(session.san)
        drained = drains.read(session.san, [setup.plan.name for setup in session.hosts])
        return [_told_of(report, drained) for report in check_hosts(session.hosts, session.san)]

    found = {report.name: report for report in on_san(session.san, work)}
    reports = [found[setup.plan.name] for setup in session.hosts]
    if not session.settings.mixed:
        compare(reports)
    if any(report.state in ("idle", "busy") for report in reports):
        return 0, reports
    refusals = (report.refusal if report.state == "refused" else "" for report in reports)
    return no_host_code(refusals), reports


def _told_of(report: HostReport, drained: Mapping[str, Drain]) -> HostReport:
    """A host that is well and out of use by hand is that."""
    from sshrender.coordinator.workers.requestpoller import drained_event

    drain = drained.get(report.name)
    if drain is not None and report.state in ("idle", "busy"):
        report.state = "drained"
        report.reason = drained_event(drain).reason
    return report


def _mend(session: Invocation, report: HostReport) -> str:
    """What to type against the first check that fails; empty where time will mend it."""
    import shlex

    failing = next((check for check in report.checks if check.ok is False), None)
    if failing is None:
        return ""
    name = shlex.quote(report.name)
    setup = next(setup for setup in session.hosts if setup.plan.name == report.name)
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
