"""SIGUSR1: prints one line on stderr, whatever the command does at that time.

Without a handler the signal would end the command. While a run renders, the run itself answers
(coordinator/signals.py), and gives the handler back at its end.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from sshrender.cli import jsonresult
from sshrender.views import safeprint


def answer(describe: Callable[[], str]) -> None:
    """Print what ``describe`` returns at each SIGUSR1."""

    def show(_number: int, _frame: FrameType | None) -> None:
        # RuntimeError: the signal came while the same stream was being written.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            _print(describe())

    # A signal that was ignored at the start stays ignored outside of a run.
    if signal.getsignal(signal.SIGUSR1) is not signal.SIG_IGN:
        signal.signal(signal.SIGUSR1, show)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Print no such line within this context: a dashboard has the terminal, and shows more."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _print(text: str) -> None:
    if jsonresult.progress() != "jsonl":
        safeprint.line(text, sys.stderr, flush=True)
        return
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    safeprint.as_json({"schema": 1, "type": "status", "time": stamp, "text": text}, sys.stderr)
