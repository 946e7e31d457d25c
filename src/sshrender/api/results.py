"""The results of documents and jobs, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sshrender.errors import UserError
from sshrender.utf8 import writable


@dataclass(frozen=True, slots=True)
class RenderResult:
    """The end of one run. ``summary`` is the object that ``--json`` prints.

    ``exit_code`` is an ExitCode, or 128 + N if signal N ended the run. ``error`` is the reason if the
    run could not start, or could not continue.
    """

    exit_code: int
    summary: dict[str, Any] = field(repr=False)
    error: UserError | None = None

    @property
    def job(self) -> str | None:
        """Return the job's name; None if there was none yet."""
        name: str | None = self.summary["job"]
        return name

    @property
    def state(self) -> str:
        """Return the job's state, as done, partial, failed, held, cancelled or queued."""
        return str(self.summary["state"])

    @property
    def output(self) -> Path | None:
        """Return the folder into which pages were delivered."""
        folder = self.summary["output"]
        return None if folder is None else Path(folder)

    @property
    def pages(self) -> dict[str, int]:
        """Return how many pages there are: total, done, suspect, failed and missing."""
        return dict(self.summary["pages"])

    @classmethod
    def failure(cls, source: Path, error: UserError) -> RenderResult:
        """Return the result of a document whose job never started."""
        return cls(int(error.code), failure_summary(source, error), error)


NO_PAGES = {"total": 0, "done": 0, "suspect": 0, "failed": 0, "missing": 0}
"""The pages of a job that does not exist."""


def failure_summary(source: Path, error: UserError) -> dict[str, Any]:
    """Return the summary of a document whose job never started."""
    return {
        "schema": 1,
        "job": None,
        "document": writable(str(source)),
        "state": "failed",
        "job_dir": None,
        "output": None,
        "pages": dict(NO_PAGES),
        "failed_pages": [],
        "seconds": 0.0,
        "hosts": [],
        "exit_code": int(error.code),
        "error": error.what,
        "hint": error.hint,
    }
