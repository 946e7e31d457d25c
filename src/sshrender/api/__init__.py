"""All capabilities of the program, as typed functions that print nothing.

The names in ``__all__`` are for scripts (docs/api.md). Commands import the modules below directly. Each
name is loaded when it is first used, so that a command loads no more than it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sshrender.api.history import history_of_host, history_of_page, problems_of_job
    from sshrender.api.hostcontrol import drain, drained_hosts, move, undrain
    from sshrender.api.jobchanges import alter, cancel, hold, release, resubmit, retry
    from sshrender.api.queue import QueueRun
    from sshrender.api.removal import removable_jobs, remove
    from sshrender.api.results import RenderResult
    from sshrender.api.runevents import DeliveredPage
    from sshrender.api.scripting import (
        check_hosts,
        list_jobs,
        plan,
        render,
        resume,
        run_queue,
        shared_folder,
        status,
        submit,
        usage,
    )
    from sshrender.api.statusreports import write_overview, write_overview_to_mail
    from sshrender.errors import ExitCode, UserError

_MODULES = {
    "sshrender.api.hostcontrol": ("drain", "drained_hosts", "move", "undrain"),
    "sshrender.api.history": ("history_of_host", "history_of_page", "problems_of_job"),
    "sshrender.api.jobchanges": ("alter", "cancel", "hold", "release", "resubmit", "retry"),
    "sshrender.api.statusreports": ("write_overview", "write_overview_to_mail"),
    "sshrender.api.runevents": ("DeliveredPage",),
    "sshrender.api.queue": ("QueueRun",),
    "sshrender.api.removal": ("removable_jobs", "remove"),
    "sshrender.api.results": ("RenderResult",),
    "sshrender.api.scripting": (
        "check_hosts",
        "list_jobs",
        "plan",
        "render",
        "resume",
        "run_queue",
        "shared_folder",
        "status",
        "submit",
        "usage",
    ),
    "sshrender.errors": ("ExitCode", "UserError"),
}

# The inverse of the table, so that one lookup finds the module of a name.
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DeliveredPage",
    "ExitCode",
    "QueueRun",
    "RenderResult",
    "UserError",
    "alter",
    "cancel",
    "check_hosts",
    "drain",
    "drained_hosts",
    "history_of_host",
    "history_of_page",
    "hold",
    "list_jobs",
    "move",
    "plan",
    "problems_of_job",
    "release",
    "removable_jobs",
    "remove",
    "render",
    "resubmit",
    "resume",
    "retry",
    "run_queue",
    "shared_folder",
    "status",
    "submit",
    "undrain",
    "usage",
    "write_overview",
    "write_overview_to_mail",
]


def __getattr__(name: str) -> Any:
    """Load a name of ``__all__`` when it is first used (PEP 562)."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    """Return the names for scripts."""
    return __all__
