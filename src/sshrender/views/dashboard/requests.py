"""What the dashboard asks of whoever coordinates the job: laid into the job's folder, in a thread."""

from __future__ import annotations

from textual.app import App
from textual.notifications import SeverityLevel

from sshrender.job.operations import Operation
from sshrender.views.dashboard.dialogs import Confirmation, Question
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.rowlist import Listing
from sshrender.views.dashboard.source import JobView
from sshrender.views.jobmodel import FAILED, JobModel
from sshrender.views.output import harmless
from sshrender.views.text import clean


class Asking(App[None]):
    """The half of the dashboard that acts; the other half shows, and keeps these up to date."""

    _source: JobView | None
    _fold: JobModel
    _coordinator: str
    _pane: str

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """As Textual has it, for words from elsewhere: no markup, no control characters."""
        super().notify(
            harmless(message), title=harmless(title), severity=severity, timeout=timeout, markup=markup
        )

    def _listing(self, pane: str) -> Listing:
        return self.query_one(f"#{pane}", Listing)

    @property
    def _map(self) -> PageMap:
        return self.query_one("#pages", PageMap)

    def action_hold(self) -> None:
        """Hold the job, or go on with it."""
        self._ask(Operation.RELEASE if self._fold.held else Operation.HOLD)

    def action_cancel_job(self) -> None:
        """Call the job off, when that is meant."""

        def answered(is_meant: bool | None) -> None:
            if is_meant:
                self._ask(Operation.CANCEL)

        self.push_screen(Confirmation("Cancel the job? What is delivered stays."), answered)

    def action_drain(self) -> None:
        """Take the selected host out of use."""
        host = self._selected_host()

        def answered(note: str | None) -> None:
            if note is not None:
                self._ask(Operation.DRAIN, host=host, note=note)

        if host:
            self.push_screen(Question(f"drain {clean(host)}: why?", "a note for others"), answered)

    def action_undrain(self) -> None:
        """Use the selected host again."""
        host = self._selected_host()
        if host:
            self._ask(Operation.UNDRAIN, host=host)

    def action_retry(self) -> None:
        """Try the failed page under the cursor again."""
        page = self._map.page
        if page is None or self._fold.pages[page].state != FAILED:
            self.notify("the page under the cursor has not failed", severity="warning")
        else:
            self._ask(Operation.RETRY, page=page)

    def action_ssh(self) -> None:
        """How to get to the selected host."""
        host = self._selected_host()
        if host and self._source is not None:
            command = self._source.ssh_command(host)
            self.copy_to_clipboard(command)
            self.notify(command)

    def _selected_host(self) -> str:
        host = self._listing("hosts").key if self._pane == "hosts" else None
        if host is None:
            self.notify("select a host first (2)", severity="warning")
        return host or ""

    def _ask(self, op: Operation, **fields: object) -> None:
        if not self._coordinator:
            self.notify("nobody coordinates this job now: there is nobody to ask", severity="warning")
        elif self._source is not None:
            self.run_worker(lambda: self._lay(op, fields), thread=True, group="ask", exit_on_error=False)

    def _lay(self, op: Operation, fields: dict[str, object]) -> None:
        """In a thread."""
        assert self._source is not None
        try:
            self._source.ask(op, **fields)
        except OSError as error:
            self.call_from_thread(self.notify, f"cannot ask: {error.strerror}", severity="error")
        else:
            self.call_from_thread(self.notify, f"asked for: {op}")
