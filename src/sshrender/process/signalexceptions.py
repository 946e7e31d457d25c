"""Turns signals into exceptions, so that a command that is ended can still print its result."""

from __future__ import annotations

import signal
from types import FrameType

_PAUSE = 0.01
"""Seconds until a signal comes again: by then the function that dropped it has usually returned."""


# Not an Exception: a handler for any error would take it for a failure and continue.
class Ended(BaseException):
    """A signal ends this command. No ``except Exception`` may hold it up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def heed_interrupt() -> None:
    """Let INT raise KeyboardInterrupt, also if it was ignored at the start.

    A shell script starts ``command &`` with INT ignored (POSIX, XCU 2.11). ``kill -INT`` ends it anyway,
    as do TERM and HUP, and Ctrl-C ends it together with its script. The next command resumes the job.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_on_signals() -> None:
    """Let TERM and HUP raise ``Ended``, so that the command can still print. nohup(1) ignores HUP."""
    _raise_on(signal.SIGTERM)
    _raise_on(signal.SIGHUP)


def raise_on_cpu_limit() -> None:
    """Let the soft limit on CPU time raise ``Ended``: by default it ends with a core file."""
    _raise_on(signal.SIGXCPU)


def signal_of(error: BaseException | None) -> int | None:
    """Return the number of the signal that raised ``error``; None if it is another error."""
    if isinstance(error, Ended):
        return error.number
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None


def send_again(number: int) -> None:
    """Raise a signal in a moment, because Python has dropped its exception.

    Python calls some functions between two lines of others: when an object goes, when a module has been
    loaded, when garbage is collected. What they raise it prints and drops (sys.unraisablehook), and that
    may be the Ctrl-C that came at that moment. Raised at once, the exception would be dropped as well.
    """
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, _PAUSE)


def _raise_on(number: int) -> None:
    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    # Only if the default is in force: an ignored signal, or a handler of the caller, stays.
    if signal.getsignal(number) is signal.SIG_DFL:
        signal.signal(number, end)
