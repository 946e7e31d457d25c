"""Checks the hosts of an inventory and prints their table, for ``hosts`` and ``init``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from sshrender.cli import hintcommands, jsonresult
from sshrender.errors import ExitCode, UserError
from sshrender.views import safeprint

if TYPE_CHECKING:
    from sshrender.api.runcontext import RunContext

_UNUSABLE = {
    ExitCode.STORAGE: "every host lacks the shared folder or room for files",
    ExitCode.RENDERER: "every host lacks Ghostscript, Python or the sandbox, or has too old ones",
    ExitCode.AUTHENTICATION: "every host refuses the user, or shows an unexpected host key",
}
"""The meaning of a check's exit code, except that of hosts with several problems."""


def unusable(code: int, verbose: int) -> UserError:
    """Return the error of a check that ended with this code: the table says more of each host."""
    what = _UNUSABLE.get(ExitCode(code), "no host is usable")
    if verbose:  # more than that cannot be shown
        return UserError(
            ExitCode(code), what, "do what stands below one of the hosts, and check it again"
        )
    return UserError(ExitCode(code), what, "sshrender hosts -v")


def show(
    context: RunContext, *, is_json: bool = False, verbose: int = 0, is_watched: bool = False
) -> int:
    """Check every host and print the table; return the exit code. Raises UserError."""
    from sshrender.api.hosts import check_hosts, remedies_of
    from sshrender.api.storageconditions import in_words
    from sshrender.views import hosttable, pooltable

    checks = check_hosts(context)
    # The views take plain objects, as --json prints them.
    rows = [asdict(report) for report in checks.reports]
    if is_json:
        san = {"path": str(context.san), "conditions": [each.as_json() for each in checks.conditions]}
        pools = {"pools": [asdict(pool) for pool in checks.pools]} if context.pools else {}
        fields = {"hosts": rows, "san": san, **pools}
        if checks.exit_code:
            # An object has no remedies below its hosts: only the table with -v has.
            error = unusable(checks.exit_code, 0)
            jsonresult.narrate(error)
            fields |= {"error": error.what, "hint": error.hint}
        return jsonresult.put(fields, checks.exit_code)
    # Redrawn in place on a terminal; a file gets one table below the other.
    if is_watched and sys.stdout.isatty():
        safeprint.clear_screen(sys.stdout)
    # Looked up only for people: remedies read known_hosts and keys.
    fixes = {
        report.name: [
            (step.lead, hintcommands.complete(step.text)) for step in remedies_of(context, report)
        ]
        for report in checks.reports
    }
    if rows:
        for line in hosttable.lines(rows, fixes, verbose):
            safeprint.line(line)
    if checks.pools:
        for line in pooltable.lines([asdict(pool) for pool in checks.pools]):
            safeprint.line(line)
    for line in in_words(context.san, checks.conditions):
        safeprint.line(line)
    # With --watch the table would stay in the buffer.
    sys.stdout.flush()
    return checks.exit_code
