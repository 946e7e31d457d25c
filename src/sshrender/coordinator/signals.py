"""Posts signals into the coordinator's inbox; SIGUSR1 prints one status line."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)
"""Signals that end a run. SIGXCPU comes at the soft limit on CPU time, and then every second until the
hard one kills."""


@dataclass(frozen=True, slots=True)
class SignalCaught:
    """A signal asks the program to end."""

    number: int


@contextlib.contextmanager
def caught(post: Callable[[SignalCaught], None], status: Callable[[], None]) -> Iterator[None]:
    """Post ending signals within this context, instead of ending the program.

    ``post`` must be safe in a handler (queue.SimpleQueue.put is, queue.Queue.put is not). A SIGHUP that
    was ignored at the start stays ignored: nohup(1) relies on that. After the first posted signal the
    program ends by itself in a moment and records what it did, so that later signals are ignored.
    """
    is_ending = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True
        post(SignalCaught(number))

    def show_status(_number: int, _frame: FrameType | None) -> None:
        status()

    before: dict[int, Any] = {}
    for ending in ENDING:
        if ending != signal.SIGHUP or signal.getsignal(ending) is not signal.SIG_IGN:
            before[ending] = signal.signal(ending, end)
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, show_status)
    try:
        yield
    finally:
        for number, handler in before.items():
            # In the order of installation. After an ending signal all ending ones stay ignored: the
            # program is about to exit with 128 + N.
            signal.signal(number, signal.SIG_IGN if is_ending and number in ENDING else handler)
