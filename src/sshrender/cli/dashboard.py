"""Runs the dashboard, and decides whether the terminal can show one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from sshrender.api import errorlog
from sshrender.cli import statusline
from sshrender.views.backgroundprocess import is_in_background

if TYPE_CHECKING:
    from sshrender.config.settings import Settings
    from sshrender.views.dashboard.app import Dashboard
    from sshrender.views.dashboard.source import Owner
    from sshrender.views.reporter import Reporter


def is_wanted(settings: Settings, reporter: Reporter) -> bool:
    """Return whether the user asked for a dashboard, or may expect one at this terminal."""
    # ``tui`` overrides --quiet, because it asks for a dashboard by name.
    if settings.progress not in ("auto", "tui") or (settings.quiet and settings.progress == "auto"):
        return False
    why_not = why_no_dashboard()
    # From cron neither stream is a terminal, and no remark is wanted.
    is_attended = sys.stdout.isatty() or sys.stdin.isatty() or settings.progress == "tui"
    if why_not and is_attended:
        reporter.print_line(f"no dashboard: {why_not}")
    return not why_not


def why_no_dashboard() -> str:
    """Return why the streams cannot show a dashboard; empty if they can."""
    # Keys come from standard input, and Textual writes the screen to standard error.
    for stream, name in ((sys.stdin, "standard input"), (sys.stderr, "standard error")):
        if stream is None or not stream.isatty():
            return f"{name} is not a terminal"
    # A process in the background is stopped when it sets the terminal (SIGTTOU).
    if is_in_background(sys.stdin):
        return "this command runs in the background (sshrender watch shows the job)"
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return "the terminal is too simple (TERM)"
    return ""


def show(owner: Owner, title: str) -> str:
    """Run a dashboard until it is left; return what failed in it, empty if nothing did.

    Nothing is raised: an error of the dashboard must not stop the job. Errors that the dashboard
    survived are in the log, too.
    """
    dashboard: Dashboard | None = None
    # The finally clause looks at it even if its construction has failed.
    try:
        from sshrender.views.dashboard.app import Dashboard

        dashboard = Dashboard(owner, title)
        with statusline.ignored():
            dashboard.run_to_the_end()
    except Exception as error:  # noqa: BLE001 - whatever it is, the job continues
        log = errorlog.record(error)
        kind = type(error).__name__
        return f"the dashboard failed because of a bug ({kind}); the traceback is in {log}"
    # Errors in single parts of the dashboard, after which it went on.
    finally:
        for survived in dashboard.survived if dashboard is not None else ():
            errorlog.record(survived)
    return ""
