"""How much text each host may have us store: in memory, in the journal, the manifest and the overview.

A page's own bound (transports/messagefields.py) is no bound for a host: twenty thousand pages of it are
gigabytes. Past a host's budget its diagnostics are one line that says so, which leaves a suspect page
suspect.
"""

from __future__ import annotations

import json
from collections import Counter

MAX_HOST_BYTES = 4 << 20
"""As the journal writes it. A thousand bytes for each of 4,000 suspect pages of one host."""

MAX_JOB_BYTES = 64 << 20
"""Of all hosts together: a host can use up its own share of this only."""

CUT = "(what this host says is no longer kept: it has said too much)"


class TextBudget:
    """Asked before anything is stored that a host worded. One for each run."""

    def __init__(self, host_bytes: int = MAX_HOST_BYTES, job_bytes: int = MAX_JOB_BYTES) -> None:
        self._host_bytes = host_bytes
        self._left = job_bytes
        self._used: Counter[str] = Counter()

    def lines(self, host: str, said: tuple[str, ...]) -> tuple[str, ...]:
        """The lines, or the one that stands for those that are too many; nothing for nothing."""
        kept = []
        for line in said:
            if not self._takes(host, line):
                kept.append(CUT)
                break
            kept.append(line)
        return tuple(kept)

    def reason(self, host: str, text: str) -> str:
        """The text, or the line that stands for it."""
        return text if self._takes(host, text) else CUT

    def _takes(self, host: str, text: str) -> bool:
        size = len(json.dumps(text))
        if self._used[host] + size > self._host_bytes or size > self._left:
            self._used[host] = self._host_bytes  # a shorter line later would look as if all were there
            return False
        self._used[host] += size
        self._left -= size
        return True
