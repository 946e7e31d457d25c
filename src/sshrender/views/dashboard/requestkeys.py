"""Keys of the dashboard that send requests to the job's coordinator, through the job's folder."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import App
from textual.notifications import SeverityLevel

from sshrender.job.journal.journalentries import RequestHandled
from sshrender.job.queue.requestoperations import Operation, operation_of
from sshrender.views.dashboard.dialogs import Confirmation, Question
from sshrender.views.dashboard.pagemap import PageMap
from sshrender.views.dashboard.rowlist import Listing
from sshrender.views.dashboard.source import JobView
from sshrender.views.jobmodel import FAILED, JobModel
from sshrender.views.safeprint import harmless
from sshrender.views.text import clean


class RequestActions(App[None]):
    """The part of the dashboard that sends requests. ``Dashboard`` keeps its attributes up to date."""

    _source: JobView | None
    _model: JobModel
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
        """Show a message as Textual does, but without markup and control characters."""
        super().notify(
            harmless(message), title=harmless(title), severity=severity, timeout=timeout, markup=markup
        )

    def _listing(self, pane: str) -> Listing:
        return self.query_one(f"#{pane}", Listing)

    @property
    def _map(self) -> PageMap:
        return self.query_one("#pages", PageMap)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show no key for a request that a job which has ended cannot carry out."""
        # A job that was ended and is coordinated again can be held.
        has_ended = self._model.ended is not None and not self._coordinator
        return super().check_action(action, parameters) and not (action == "hold" and has_ended)

    def action_hold(self) -> None:
        """Hold the job, or release it if it is held."""
        self._request(Operation.RELEASE if self._model.held else Operation.HOLD)

    def action_cancel_job(self) -> None:
        """Cancel the job, after a confirmation."""

        def answered(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self._request(Operation.CANCEL)

        name = clean(self._source.facts.name) if self._source is not None else ""
        self.push_screen(Confirmation(f"Cancel the job {name}? Finished pages stay."), answered)

    def action_drain(self) -> None:
        """Drain the selected host, with a note."""
        # Asked before the question: the cursor may move while it is answered.
        host = self._selected_host()

        def answered(note: str | None) -> None:
            # None: the user has cancelled; an empty note is an answer.
            if note is not None:
                self._request(Operation.DRAIN, host=host, note=note)

        if host:
            self.push_screen(
                Question(
                    f"drain {clean(host)} in this job; reason:", "a note for other users; may be empty"
                ),
                answered,
            )

    def action_undrain(self) -> None:
        """Put the selected host back into use, or have it tried again."""
        host = self._selected_host()
        if host:
            self._request(Operation.UNDRAIN, host=host)

    def action_retry(self) -> None:
        """Render the failed page under the cursor again."""
        page = self._map.page
        if page is None or self._model.pages[page].state != FAILED:
            self.notify("the page under the cursor has not failed", severity="warning")
        else:
            self._request(Operation.RETRY, page=page)

    def action_ssh(self) -> None:
        """Copy the command that logs in to the selected host."""
        host = self._selected_host()
        if host and self._source is not None:
            command = self._source.ssh_command(host)
            if not command:
                self.notify(f"no ssh command: {host} is not in the inventory", severity="warning")
                return
            # By the escape sequence OSC 52, so it also works over ssh.
            self.copy_to_clipboard(command)
            self.notify(command, title=f"copied the ssh command of {host}")

    def _selected_host(self) -> str:
        host = self._listing("hosts").key if self._pane == "hosts" else None
        if host is None:
            self.notify("select a host first: press 2", severity="warning")
        return host or ""

    def _request(self, op: Operation, **fields: object) -> None:
        # No process would read the request.
        if not self._coordinator:
            self.notify(
                "no coordinator runs the job now: use sshrender hold, cancel, alter or resubmit",
                severity="warning",
            )
        elif self._source is not None:
            self.run_worker(
                lambda: self._send(op, fields), thread=True, group="request", exit_on_error=False
            )

    def _send(self, op: Operation, fields: dict[str, object]) -> None:
        """Write a request and show the result. Runs in a thread."""
        assert self._source is not None
        try:
            self._source.request(op, **fields)
        except OSError as error:
            # A request needs the folder, which may be full or read-only.
            words = f"{_in_words(op, fields)} failed: {error.strerror or error}"
            self.call_from_thread(self.notify, words, severity="error")
        else:
            words = f"asked {self._coordinator}: {_in_words(op, fields)}"
            self.call_from_thread(self.notify, words, timeout=3)

    def _report_request(self, entry: RequestHandled) -> None:
        """Show what the coordinator did about a request: of this dashboard, or of another user."""
        words = done_in_words(entry)
        # Operations that no user requests, such as notes of the queue, have no words.
        if words and entry.is_late:
            self.notify(f"too late, the run had ended: {words}", severity="warning")
        elif words:
            self.notify(words)


def _in_words(op: str, fields: Mapping[str, object]) -> str:
    """Return a request as ``drain node2``, ``retry page 12`` or ``hold the job``."""
    if "host" in fields:
        return f"{op} {clean(str(fields['host']))}"
    return f"{op} page {fields['page']}" if "page" in fields else f"{op} the job"


def done_in_words(entry: RequestHandled) -> str:
    """Describe a change: what, to which host or page, for whom, why; empty if no user asked for it."""
    host, by = clean(entry.host), clean(entry.by)
    done = {
        Operation.HOLD: "job held",
        Operation.RELEASE: "job released",
        Operation.CANCEL: "job cancelled",
        Operation.DRAIN: f"{host} drained: no more pages are sent to it",
        Operation.UNDRAIN: f"{host} undrained: it is used again, or tried again if it was left",
        Operation.RETRY: f"page {entry.page} is rendered again",
        Operation.MOVE: f"page {entry.page} moved to {host}",
        Operation.ALTER: "settings of the job changed",
    }
    operation = operation_of(entry.op)
    words = done.get(operation, "") if operation is not None else ""
    note = f" ({clean(entry.note)})" if entry.note else ""
    return f"{words}, by {by}{note}" if words else ""
