"""A headless Chromium, controlled through its DevTools pipe: descriptors 3 and 4, JSON, zero bytes.

https://chromedevtools.github.io/devtools-protocol/ (--remote-debugging-pipe)
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.stretch import stretched, wait_until

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_LAUNCHER = """
import fcntl, os, sys
reading, writing = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(reading, 3)
os.dup2(writing, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Moves the pipes to descriptors 3 and 4, where Chromium expects them."""

_STANDS = """async (element) => {
    let before = ''
    for (let look = 0; look < 100; look += 1) {
        element.scrollIntoView({block: 'center', behavior: 'instant'})
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
        const box = element.getBoundingClientRect()
        const middle = [box.x + box.width / 2, box.y + box.height / 2]
        if (String(middle) === before) return middle
        before = String(middle)
    }
}"""
"""Where an element's middle is when it is the same in two looks, two frames apart: a page that still
scrolls, or is still laid out, would take the click elsewhere."""

PATIENCE = 150.0


class Browser:
    """One tab of the browser."""

    def __init__(self, process: subprocess.Popen[bytes], to_it: int, from_it: int) -> None:
        self._process = process
        self._to_it = to_it
        self._from_it = from_it
        self._pending = b""
        self._count = 0
        self._session = ""
        self.logged: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result. Raises AssertionError if the browser refuses it."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_it, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + stretched(PATIENCE)
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._from_it], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            data = os.read(self._from_it, 1 << 20)
            assert data, "Chromium has ended"
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        """Record an error on the page, from a script or from the content security policy."""
        if event.get("method") == "Log.entryAdded":
            self.logged.append(event["params"]["entry"]["text"])
        elif event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            self.logged.append(details.get("exception", {}).get("description") or details["text"])

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Open a file and wait until its script has built the whole page."""
        self.resize(width, height)
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("document.documentElement?.dataset.built === 'yes'")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window, in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def run(self, script: str) -> Any:
        """Return the value of an expression on the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        wait_until(lambda: self.run(condition), PATIENCE, condition, pause=0.02)

    def press(self, key: str, text: str = "", modifiers: int = 0) -> None:
        """Press a key, named as in KeyboardEvent.key; modifiers: Alt 1, Control 2, Meta 4, Shift 8."""
        code = _CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        text = text or {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        down: dict[str, Any] = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **down, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a point of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click the middle of an element with real mouse events, once it stands still."""
        box = self.run(f"({_STANDS})(document.querySelector({selector!r}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    def scheme(self, name: str) -> None:
        """Set the colour scheme of the system: ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """Return the window as a PNG file."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def print(self) -> bytes:
        """Return the page as a PDF file, as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])


_CODES = {
    "Enter": 13,
    "Escape": 27,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "PageUp": 33,
    "PageDown": 34,
    "Tab": 9,
}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; end it afterwards, with all of its processes."""
    program = shutil.which("chromium")
    assert program, "install chromium first: apt install chromium"
    to_read, to_it = os.pipe()
    from_it, to_write = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        words = [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, str(to_read), str(to_write), *words],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            yield Browser(process, to_it, from_it)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(to_it)
            os.close(from_it)
            _remove(Path(folder))


def _remove(folder: Path) -> None:
    """Remove the browser's folder. Killed helper processes may still write for a moment."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.05)
    folder.mkdir(exist_ok=True)
