"""Print everything that a command writes to stderr: progress, errors with their hints, the summary."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO, cast

from sshrender.errors import UserError
from sshrender.views import safeprint
from sshrender.views.guarded import GuardedView
from sshrender.views.interface import View
from sshrender.views.nonblocking import NonBlockingStream
from sshrender.views.summary import brief, failure, lines, total_line
from sshrender.views.text import clean
from sshrender.views.viewchoice import choose

MAX_HINT = 4096
"""Characters of a hint: it may hold two paths, and a command must not be cut."""


class Reporter:
    """Prints to one stream, in the form that ``--progress`` names."""

    def __init__(
        self,
        stream: TextIO,
        *,
        progress: str = "auto",
        quiet: bool = False,
        verbose: int = 0,
        color: str = "auto",
        log: Callable[[BaseException], str] = lambda _error: "(there is no log)",
        complete: Callable[[str], str] = lambda hint: hint,
    ) -> None:
        """``log`` records the traceback of a defect and returns the path of the log.

        ``complete`` adds to a hint the options without which its command would do something else.
        """
        self._stream = stream
        self._log = log
        self._complete = complete
        self._progress = progress
        self._quiet = quiet
        self._verbose = verbose
        self._color = color
        self._label = ""

    def label_lines(self, document: str) -> None:
        """Put the document's name before each line: several documents share this stream.

        A board cannot be shared, so plain lines replace it.
        """
        self._label = clean(document, 60)
        # A dashboard or a board needs the terminal for itself.
        if self._progress in ("auto", "tui", "board"):
            self._progress = "plain"

    @contextlib.contextmanager
    def showing(self, job: str) -> Iterator[View]:
        """Give a view of a run; restore the terminal at the end."""
        # Everything that a view writes goes through a thread of its own, so that no reader delays the
        # run.
        stream = NonBlockingStream(self._stream, self._prefix)
        view = choose(
            self._progress,
            cast("TextIO", stream),  # it has every method that views use
            job,
            quiet=self._quiet,
            verbose=self._verbose,
            color=self._color,
        )
        view = GuardedView(
            view,
            lambda error: self.report_defect("progress is no longer shown", error),
            self._complete,
        )
        try:
            yield view
        finally:
            view.close()
            # After the view was closed: its last lines are in the queue by then.
            stream.drain()

    def report_defect(self, what: str, error: Exception) -> None:
        """Print and log a defect in something that the job does not depend on."""
        words = clean(str(error), 200) or type(error).__name__
        self.print_line(f"{what}: {words}; the traceback is in {self._log(error)}")

    def hide_progress(self) -> None:
        """Show no progress: the dashboard does."""
        self._progress = "none"

    def print_line(self, line: str) -> None:
        """Print a line that is not a journal entry: with ``--progress jsonl`` as an event ``remark``."""
        if self._progress == "jsonl":
            self._json_line({"schema": 1, "type": "remark", "text": line})
        else:
            self._print(line)

    def summary(self, summary: Mapping[str, Any], code: int) -> None:
        """Print the summary: one JSON line with ``--progress jsonl``, else text.

        With --quiet it is brief, and printed only if the run failed.
        """
        if self._progress == "jsonl":
            event = {"schema": 1, "type": "summary", **summary}
            if code:
                event["error"], hint = failure(summary)
                event["hint"] = self._complete(hint)
            self._json_line(event)
        elif code or not self._quiet:
            for line in brief(summary) if self._quiet else lines(summary):
                self._print(self._complete(line) if line.startswith("hint: ") else line)

    def total(self, fields: Mapping[str, Any], code: int) -> None:
        """Print the sum over several documents; with --quiet only if one of them failed."""
        if self._progress == "jsonl":
            self._json_line({"schema": 1, "type": "total", **fields, "exit_code": code})
        elif code or not self._quiet:
            # The sum is about all documents, so no document is named before it.
            self._label = ""
            self._print(total_line(fields))

    def error(self, error: UserError) -> None:
        """Print an error and its hint."""
        if self._progress == "jsonl":
            self._json_line({"schema": 1, "type": "error", **self._error_fields(error)})
            return
        # One line for each mistake of the configuration.
        for line in error.what.split("\n"):
            self._print(f"sshrender: error: {clean(line, 1000)}")
        self._print(f"hint: {clean(self._complete(error.hint), MAX_HINT)}")

    def _json_line(self, fields: Mapping[str, Any]) -> None:
        # A lost reader of stderr changes no exit code.
        with contextlib.suppress(OSError, ValueError):
            safeprint.as_json(fields, self._stream)

    def _error_fields(self, error: UserError) -> dict[str, Any]:
        code, hint = int(error.code), self._complete(error.hint)
        # Two names for the same values: programs may rely on either.
        return {"error": error.what, "hint": hint, "exit_code": code, "code": code, "what": error.what}

    @property
    def _prefix(self) -> str:
        """The document's name before each line; nothing before lines for programs."""
        return f"{self._label}: " if self._label and self._progress != "jsonl" else ""

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader exited
            safeprint.line(f"{self._prefix}{line}", self._stream, flush=True)
