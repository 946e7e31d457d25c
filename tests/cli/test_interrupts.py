"""Ctrl-C and other signals at moments at which Python would drop them, or print a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from sshrender.process import signalexceptions, threadfailure

LOADING = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, Interrupt())
sys.argv = ["sshrender", *{words!r}]
from sshrender.__main__ import main
main()
"""

JSON = ["status", "--json"]


@pytest.mark.parametrize("module", ["sshrender.program", "typer", "sshrender.cli.status"])
@pytest.mark.parametrize("words", [["status"], JSON], ids=["words", "json"])
def test_an_interrupt_while_modules_are_loaded_ends_a_command_without_a_word(
    module: str, words: list[str]
) -> None:
    """A user who typed a wrong name and presses Ctrl-C at once has not met a defect."""
    answer = _answer(LOADING.format(module=module, number="SIGINT", words=words))
    assert (answer.returncode, answer.stderr) == (130, "")
    # Before the program itself is loaded nothing can print.
    is_printed = words == JSON and module != "sshrender.program"
    assert ('"exit_code": 130' in answer.stdout) == is_printed
    assert is_printed or answer.stdout == ""


def test_an_interrupt_ends_a_command_that_a_script_has_started_in_the_background() -> None:
    """There a shell starts it with the signal ignored (POSIX, XCU 2.11)."""
    code = LOADING.format(module="sshrender.cli.status", number="SIGINT", words=JSON)
    answer = _answer(f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{code}")
    assert (answer.returncode, answer.stderr) == (130, "")
    assert '"exit_code": 130' in answer.stdout


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_an_end_while_a_command_is_loaded_is_one_object(number: str) -> None:
    code = LOADING.format(module="sshrender.cli.status", number=number, words=JSON)
    answer = _answer(code)
    assert (answer.returncode, answer.stderr) == (128 + signal.Signals[number], "")
    assert f'"exit_code": {answer.returncode}' in answer.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_is_not_lost_in_a_function_whose_exceptions_python_drops(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in what it calls when an object goes; the signal then ends what comes after."""
    before = {each: signal.getsignal(each) for each in (number, signal.SIGHUP, signal.SIGALRM)}
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    threadfailure.watch_threads(lambda error: int(error.code), print)
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        signalexceptions.raise_on_signals()

    class Going:
        def __del__(self) -> None:
            signal.raise_signal(number)

    try:
        with pytest.raises((KeyboardInterrupt, signalexceptions.Ended)) as raised:
            Going()
            time.sleep(60)  # ends at once
        assert signalexceptions.signal_of(raised.value) == number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _answer(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
