"""Everything that a command says on stderr: progress, errors with their hint, the summary."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from sshrender.errors import UserError
from sshrender.utf8 import writable
from sshrender.views import output
from sshrender.views.guarded import GuardedView
from sshrender.views.nonblocking import NonBlockingStream
from sshrender.views.protocol import View
from sshrender.views.selection import choose
from sshrender.views.summary import brief, lines
from sshrender.views.text import clean


class Reporter:
    """Speaks on one stream, in the way that the user chose."""

    def __init__(
        self,
        stream: TextIO,
        *,
        progress: str = "auto",
        quiet: bool = False,
        verbose: int = 0,
        color: str = "auto",
        is_json: bool = False,
        log: Callable[[BaseException], str] = lambda _error: "(there is no log)",
    ) -> None:
        """``log`` keeps a defect for its author, and answers where."""
        self._stream = stream
        self._log = log
        self._progress = progress
        self._quiet = quiet
        self._verbose = verbose
        self._color = color
        self._is_json = is_json
        self._label = ""

    def speak_for(self, document: str) -> None:
        """Several documents are told of on this stream: say of which one each line speaks."""
        self._label = clean(document, 60)
        if self._progress in ("auto", "tui", "board"):
            self._progress = "plain"

    @contextlib.contextmanager
    def showing(self, job: str) -> Iterator[View]:
        """A view of a run; the terminal is as it was when this ends."""
        stream = NonBlockingStream(self._stream, self._prefix)
        view = choose(
            self._progress,
            cast("TextIO", stream),  # it has all that views use of one
            job,
            quiet=self._quiet,
            verbose=self._verbose,
            color=self._color,
        )
        view = GuardedView(view, lambda error: self.failed_to("progress is not shown any more", error))
        try:
            yield view
        finally:
            view.close()
            stream.drain()

    def failed_to(self, what: str, error: Exception) -> None:
        """Something beside the job went wrong: said and logged, and of no other consequence."""
        words = clean(str(error), 200) or type(error).__name__
        self.remark(f"{what}: {words}; the traceback is in {self._log(error)}")

    def hide_progress(self) -> None:
        """Somebody else shows it."""
        self._progress = "none"

    def remark(self, line: str) -> None:
        """A line that is no event."""
        if self._progress != "jsonl":
            self._print(line)

    def summary(self, summary: Mapping[str, Any], code: int) -> None:
        """How it went; nothing with --quiet when all is well, nothing in words with jsonl."""
        if self._progress == "jsonl":
            self._json_line({"schema": 1, "type": "summary", **summary})
        elif code or not self._quiet:
            for line in brief(summary) if self._quiet else lines(summary):
                self._print(line)

    def error(self, error: UserError) -> None:
        """What is wrong and what to type next."""
        if self._progress == "jsonl":
            self._json_line({"schema": 1, "type": "error", **_error_fields(error)})
            return
        for line in error.what.split("\n"):
            self._print(f"sshrender: error: {clean(line, 1000)}")
        self._print(f"hint: {clean(error.hint, 1000)}")

    def failure(self, source: Path, error: UserError) -> dict[str, Any]:
        """The summary of a document whose job never began."""
        return {
            "schema": 1,
            "job": None,
            "document": writable(str(source)),
            "state": "failed",
            "job_dir": None,
            "output": None,
            "pages": {"total": 0, "done": 0, "suspect": 0, "failed": 0, "missing": 0},
            "failed_pages": [],
            "seconds": 0.0,
            "hosts": [],
            "exit_code": int(error.code),
            "error": _error_fields(error),
        }

    def _json_line(self, fields: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):
            output.as_json(fields, self._stream)

    @property
    def _prefix(self) -> str:
        """What stands before each line; nothing before lines for programs."""
        return f"{self._label}: " if self._label and self._progress != "jsonl" else ""

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # no reader any more; the exit code tells
            output.line(f"{self._prefix}{line}", self._stream, flush=True)


def _error_fields(error: UserError) -> dict[str, Any]:
    return {"code": int(error.code), "what": error.what, "hint": error.hint}
