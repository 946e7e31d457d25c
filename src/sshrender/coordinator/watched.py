"""Work on a shared folder that must not take the program along when the folder hangs.

Who asks a dead NFS server waits in the kernel, where no signal but SIGKILL ends him. So the main
thread, which takes signals and must be able to end the run, never touches the SAN itself.
"""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from sshrender.runner.storage import Watch

T = TypeVar("T")
GLANCE = 0.25


def watched(folder: Path, work: Callable[[], T]) -> T:
    """Do ``work`` in a thread, however long it takes, while ``folder`` answers.

    Raises what it raises, or TimeoutError. A thread that hangs is left behind.
    """
    ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()

    def run() -> None:
        future: Future[T] = Future()
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it belongs
            future.set_exception(error)
        ended.put(future)

    threading.Thread(target=run, daemon=True, name="on the SAN").start()
    watch = Watch(str(folder))
    watch.start()
    try:
        while True:
            try:
                return ended.get(timeout=GLANCE).result()
            except queue.Empty:
                if watch.is_hanging():
                    raise TimeoutError(errno.ETIMEDOUT, "it does not answer", str(folder)) from None
    finally:
        watch.stop()
