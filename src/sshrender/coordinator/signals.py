"""Signals become items in the coordinator's queue; SIGUSR1 prints one status line."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class SignalCaught:
    """We were asked to end."""

    number: int


@contextlib.contextmanager
def caught(post: Callable[[SignalCaught], None], status: Callable[[], None]) -> Iterator[None]:
    """Within this context the ending signals are posted instead of ending the program.

    ``post`` must be safe in a handler (queue.SimpleQueue.put is, queue.Queue.put is not). A SIGHUP
    that was ignored when we began stays ignored: that is what nohup(1) asks for. Once one was posted the
    program ends by itself in a moment, with an account of what it did: further ones are ignored then.
    """
    is_ending = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True
        post(SignalCaught(number))

    def tell(_number: int, _frame: FrameType | None) -> None:
        status()

    before: dict[int, Any] = {}
    for ending in ENDING:
        if ending != signal.SIGHUP or signal.getsignal(ending) is not signal.SIG_IGN:
            before[ending] = signal.signal(ending, end)
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, tell)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if is_ending and number in ENDING else handler)
