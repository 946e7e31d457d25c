"""Writes overviews and statistics at the end of a run, and reports them in its summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sshrender.api.jobs import on_san
from sshrender.errors import ExitCode, UserError
from sshrender.views import jobstats

if TYPE_CHECKING:
    from sshrender.api.runevents import Listener
    from sshrender.config.settings import Settings
    from sshrender.coordinator.jobplan import JobPlan


class SummaryFiles:
    """Adds them to the summary of one run. A failure is only a remark: pages do not depend on it."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings = settings
        self._listener = listener

    def add(self, plan: JobPlan, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write what the settings ask for; return the keys that the summary gets.

        ``overview`` and ``overview_embedded`` are paths; None if none was written. Nothing is written if
        the storage has failed.
        """
        added: dict[str, Any] = {"overview": None}
        # A storage that has just failed may hang, and these files would make the end of the run wait for
        # it.
        if summary["exit_code"] == ExitCode.STORAGE:
            return added
        if plan.request.has_overview:
            added["overview"] = self._try("no overview", lambda: _write(plan))
        if self._settings.overview_embed:
            added["overview_embedded"] = self._try("no overview to mail", lambda: _embed(plan))
        if self._settings.stats:
            added["stats"] = self._try("no statistics", lambda: _stats(plan))
        return added

    def _try(self, failure: str, work: Callable[[], Any]) -> Any:
        """Return the result of ``work``; None if it fails."""
        try:
            return work()
        except UserError as error:
            self._listener.print_line(f"{failure}: {error.what}")
        except Exception as error:  # noqa: BLE001 - what was delivered does not depend on it
            self._listener.report_defect(failure, error)
        return None


def _write(plan: JobPlan) -> str:
    from sshrender.coordinator import overviewwriter

    on_san(plan.folder.path.parent, lambda: overviewwriter.write(plan.folder, plan.spec))
    return str(plan.folder.overview)


def _embed(plan: JobPlan) -> str:
    from sshrender.coordinator import embeddedoverview

    target = embeddedoverview.file_of(plan.output, plan.spec.document.name)
    return str(on_folder(target.parent, lambda: embeddedoverview.write(plan.folder, plan.spec, target)))


def on_folder(folder: Path, work: Callable[[], Path]) -> Path:
    """Run ``work``, which writes into a folder of the user, as on_san does. Raises UserError."""
    from sshrender.coordinator.storageerrors import output_error
    from sshrender.storage.hangguard import guarded_call

    try:
        return guarded_call(folder, work)
    except OSError as error:
        raise output_error(error, folder) from None


def _stats(plan: JobPlan) -> dict[str, Any]:
    from sshrender.job.journal.journal import read_journal

    def read() -> dict[str, Any]:
        # The journal is read from the file: the run keeps only what it needs itself.
        return jobstats.of(read_journal(plan.folder.journal), frozenset(plan.pages))

    return on_san(plan.folder.path.parent, read)
