"""A terminal at the desk, as tmux has it: type into it, read it, close it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from tests.lab.farm import Farm
from tests.stretch import wait_until

PATIENCE = 100.0
STATUS = "[exit status "


class Terminal:
    """One window with a command in it. A context manager: the window is closed at the end."""

    def __init__(
        self,
        farm: Farm,
        command: Sequence[str],
        *,
        width: int = 80,
        height: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._farm = farm
        self._socket = str(farm.root / f"tmux-{time.monotonic_ns()}")
        words = shlex.join(command)
        shell = f"{words}; printf '\\n{STATUS}%s]\\n' $?; exec sleep 300"
        variables = {"TERM": "tmux-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **(env or {})}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        size = ["-x", str(width), "-y", str(height)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "env", *pairs, "sh", "-c", shell)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tmux(self, *words: str, may_fail: bool = False) -> str:
        answer = self._farm.run(["tmux", "-u", "-S", self._socket, *words], timeout=20)
        assert may_fail or answer.returncode == 0, answer.stderr
        return answer.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names for them: ``q``, ``Enter``, ``C-c``."""
        self._tmux("send-keys", *keys)

    def text(self, *, with_colours: bool = False) -> str:
        """What stands on the screen."""
        return self._tmux("capture-pane", "-p", *(["-e"] if with_colours else []))

    def wait_for(self, *wanted: str, seconds: float = PATIENCE) -> str:
        """Until each of these texts stands there."""
        return self.wait_until(lambda text: all(words in text for words in wanted), str(wanted), seconds)

    def wait_until(
        self, condition: Callable[[str], bool], what: str = "it", seconds: float = PATIENCE
    ) -> str:
        """Until the screen is as it should be."""
        shown: list[str] = []

        def is_shown() -> bool:
            shown[:] = [self.text()]
            return condition(shown[0])

        # A pause, as each look starts a process.
        wait_until(is_shown, seconds, lambda: f"{what}:\n{shown[0]}", pause=0.2)
        return shown[0]

    def status(self, seconds: float = PATIENCE) -> int:
        """The command's exit status, once it has ended."""
        text = self.wait_for(STATUS, seconds=seconds)
        return int(text.partition(STATUS)[2].partition("]")[0])

    def close(self) -> None:
        """The window is closed, as by somebody who pulls the plug: SIGHUP to all in it."""
        self._tmux("kill-server", may_fail=True)
