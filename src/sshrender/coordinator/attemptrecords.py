"""The coordinator's records of attempts whose pages were reported, in addition to the scheduler's.

One record for each attempt, from its host's report until the attempt ends. A record that is missing
means that the attempt has ended: whatever still arrives for it changes nothing.
"""

from __future__ import annotations

from collections.abc import KeysView
from dataclasses import dataclass

from sshrender.coordinator.workers.verificationresults import Verified
from sshrender.transports.messages import Rendered


@dataclass(slots=True)
class AttemptRecord:
    """A reported attempt."""

    report: Rendered
    """The report of its host, with diagnostics cut to the host's budget of text."""
    is_transferred: bool = False
    """Whether its file was copied here, on a host without a SAN. It is not copied for every
    verification."""
    is_storage_failure_recorded: bool = False
    """Whether the journal has its storage failure: each return of the storage verifies it again."""
    is_wait_recorded: bool = False
    """Whether the journal has that it waits, because a probe succeeded and the page failed again."""


class AttemptRecords:
    """The records by the attempts' names, and results that wait for another attempt at the same page."""

    def __init__(self) -> None:
        self._records: dict[str, AttemptRecord] = {}
        # Results of attempts that found the page's name taken, until it is known which file has it.
        self._deferred: dict[str, Verified] = {}

    def __getitem__(self, attempt: str) -> AttemptRecord:
        return self._records[attempt]

    def get(self, attempt: str) -> AttemptRecord | None:
        """Return the record; None when the attempt has ended or was not reported."""
        return self._records.get(attempt)

    def add(self, report: Rendered) -> None:
        """Start the record of an attempt that its host has reported."""
        self._records[report.attempt] = AttemptRecord(report)

    def remove(self, attempt: str) -> AttemptRecord | None:
        """Remove the record of an attempt that has ended."""
        return self._records.pop(attempt, None)

    @property
    def deferred(self) -> KeysView[str]:
        """Return the names of the attempts whose results wait."""
        return self._deferred.keys()

    def defer(self, result: Verified) -> None:
        """Keep a result until the next call of ``take_deferred``."""
        self._deferred[result.task.attempt] = result

    def take_deferred(self) -> list[Verified]:
        """Return and forget the results that wait, the oldest first."""
        results, self._deferred = self._deferred, {}
        return list(results.values())
