"""The pages that this host holds but has not begun: shared by its slots, first come first drawn.

By attempt: thousands may be asked for back at once, one request each.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple, Optional


class Task(NamedTuple):
    """One attempt at one page. ``number`` is the page's number in ``file``.

    ``recipe``: which of the job's recipes draws it; None: the warm Ghostscript.
    """

    attempt: str
    page: int
    file: str
    number: int
    output: str
    recipe: Optional[int] = None


class TaskQueue:
    """A queue that can be revoked from and that ends."""

    def __init__(self) -> None:
        self._tasks = OrderedDict()  # type: OrderedDict[str, Task]
        self._changed = threading.Condition()
        self._finishing = False

    def put(self, task: Task) -> None:
        """Add a task at the end."""
        with self._changed:
            self._tasks[task.attempt] = task
            self._changed.notify()

    def wait(self, timeout: float) -> None:
        """Until there is a task, or none will come, but not longer than ``timeout``."""
        with self._changed:
            if not self._tasks and not self._finishing:
                self._changed.wait(timeout)

    def take_now(self) -> Optional[Task]:
        """The next task, if there is one."""
        with self._changed:
            return self._tasks.popitem(last=False)[1] if self._tasks else None

    def take_of(self, file: str) -> Optional[Task]:
        """The next task, if it is a page of this file for the warm Ghostscript; never waits."""
        with self._changed:
            first = next(iter(self._tasks.values()), None)
            is_there = first is not None and first.file == file and first.recipe is None
            return self._tasks.popitem(last=False)[1] if is_there else None

    def revoke(self, attempt: str) -> bool:
        """Take back a task that no slot has begun; False when one has."""
        with self._changed:
            return self._tasks.pop(attempt, None) is not None

    def has_waiting(self) -> bool:
        """Whether a slot would find something to do."""
        return bool(self._tasks)

    def finish(self) -> None:
        """No more tasks will come: ``take`` no longer waits."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def has_ended(self) -> bool:
        """Whether everything was taken and nothing more will come."""
        with self._changed:
            return self._finishing and not self._tasks
