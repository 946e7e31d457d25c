"""Types lines into a real interactive bash or zsh on a pseudo-terminal, and presses the Tab key."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path

from tests.stretch import stretched

SCRIPTS = Path(__file__).parents[2] / "completions"

PROMPT = "ready: "
"""Once a shell has printed it, it reads keys itself; before that the kernel would act upon Ctrl-U."""

_START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}

_SETUP = {
    "bash": f"""
        PS1='{PROMPT}'
        bind 'set bell-style none'
        bind 'set show-all-if-ambiguous on'
        bind 'set completion-query-items 0'
        bind 'set page-completions off'
        bind 'set completion-display-width 0'
        bind 'set enable-bracketed-paste off'
        source '{SCRIPTS}/sshrender.bash'
    """,
    "zsh": f"""
        PS1='{PROMPT}' RPS1= LISTMAX=9999
        zle_highlight=(none)
        unset zle_bracketed_paste
        unsetopt prompt_cr prompt_sp beep
        setopt no_list_packed no_list_ambiguous
        fpath=('{SCRIPTS}' $fpath)
        autoload -Uz compinit
        compinit -u -D
    """,
}

TIMEOUT = 120.0
"""Seconds: a busy machine takes its time, and a shell that does not answer is a failure."""


class Shell:
    """An interactive shell in a folder, with the packaged completion loaded."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        words = _START[name]
        self.has_descriptions = name == "zsh"
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, {**environment, "TERM": "dumb", "LC_ALL": "C.UTF-8"})
        # So wide and high that no shell asks whether to show everything, or wraps a description.
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 400, 300, 0, 0))
        self._number = 0
        self._send("".join(line.strip() + "\n" for line in _SETUP[name].splitlines()))
        self._sync()

    def tab(self, line: str) -> str:
        """Type a line, press Tab, and return what the shell showed, before the line is given up."""
        self._send(line + "\t")
        return self._sync()

    def _sync(self) -> str:
        """Give up the line that is being typed, and return everything until a command's output."""
        self._number += 1
        # The shell's echo of the command has quotes within the word, its output has none.
        self._send(f"\x15echo en''d{self._number}.\n")
        end, shown = f"end{self._number}.", ""
        deadline = time.monotonic() + stretched(TIMEOUT)
        while PROMPT not in shown.partition(end)[2]:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"the shell does not answer: {shown!r}")
            shown += os.read(self._terminal, 65536).decode("utf-8", "replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|.\x08", "", shown.partition(end)[0]).replace(
            PROMPT, ""
        )

    def _send(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._terminal, data) :]

    def close(self) -> None:
        """End the shell."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)
