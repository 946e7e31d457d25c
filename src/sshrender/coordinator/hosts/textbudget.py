"""Limits how much text of a host is stored: in memory, the journal, the manifest and the overview.

The limit of one page (transports/messagefields.py) does not limit a host: twenty thousand pages would be
gigabytes. Beyond a host's budget its diagnostics are replaced by one line, so that a suspect page stays
suspect.
"""

from __future__ import annotations

import json
from collections import Counter

MAX_HOST_BYTES = 4 << 20
"""Bytes as the journal writes them: a thousand for each of 4,000 suspect pages of one host."""

MAX_JOB_BYTES = 64 << 20
"""Bytes of all hosts together: one host can use no more than its own budget of it."""

CUT = "(more diagnostics of this host are not stored: it has sent too many)"


class TextBudget:
    """The budgets of one run. Any text that a host sends passes here before it is stored."""

    def __init__(self, host_bytes: int = MAX_HOST_BYTES, job_bytes: int = MAX_JOB_BYTES) -> None:
        self._host_bytes = host_bytes
        self._left = job_bytes
        self._used: Counter[str] = Counter()

    def lines(self, host: str, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Return the lines that fit the budget, and CUT in place of the others."""
        kept = []
        for line in texts:
            if not self._takes(host, line):
                kept.append(CUT)
                break
            kept.append(line)
        return tuple(kept)

    def reason(self, host: str, text: str) -> str:
        """Return the text, or CUT if it does not fit the budget."""
        return text if self._takes(host, text) else CUT

    def _takes(self, host: str, text: str) -> bool:
        size = len(json.dumps(text))
        if self._used[host] + size > self._host_bytes or size > self._left:
            self._used[host] = (
                self._host_bytes
            )  # otherwise a shorter line later would suggest that nothing is missing
            return False
        self._used[host] += size
        self._left -= size
        return True
