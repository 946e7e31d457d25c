"""A ProxyCommand that adds delay: host, port, seconds each way."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable


def _carry(read: Callable[[], bytes], write: Callable[[bytes], object], delay: float) -> None:
    """What is read is written so much later, in its order and at its pace; then nothing more."""
    line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def take() -> None:
        while data := read():
            line.put((time.monotonic() + delay, data))
        line.put((time.monotonic() + delay, b""))

    threading.Thread(target=take, daemon=True).start()
    while True:
        due, data = line.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            return
        write(data)


def main(host: str, port: str, delay: str) -> None:
    """Carry until either side ends."""
    there = socket.create_connection((host, int(port)))
    ends = queue.SimpleQueue[None]()

    def carry(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        _carry(read, write, float(delay))
        ends.put(None)

    ways = (
        (lambda: os.read(0, 65536), there.sendall),
        (lambda: there.recv(65536), lambda data: os.write(1, data)),
    )
    for read, write in ways:
        threading.Thread(target=carry, args=(read, write), daemon=True).start()
    ends.get()


if __name__ == "__main__":
    main(*sys.argv[1:])
