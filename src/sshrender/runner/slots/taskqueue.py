"""The queue of pages that were sent to this host and that no slot has started.

All slots share it, first in, first out. Tasks are found by attempt, because the coordinator may ask for
thousands of them back at once, with one request each.

Standard library only, Python 3.7 and later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple, Optional


class Task(NamedTuple):
    """One attempt at one page. ``page``: its number in the whole document, ``number``: in ``file``.

    ``recipe``: the number of the recipe that renders it; None: the warm Ghostscript.
    """

    attempt: str
    page: int
    file: str
    number: int
    output: str
    recipe: Optional[int] = None


class TaskQueue:
    """A queue from which tasks can be revoked, and which ends."""

    def __init__(self) -> None:
        # The order of insertion is the order of rendering; a task is found by its attempt in constant
        # time.
        self._tasks = OrderedDict()  # type: OrderedDict[str, Task]
        self._changed = threading.Condition()
        self._finishing = False

    def put(self, task: Task) -> None:
        """Add a task at the end."""
        with self._changed:
            self._tasks[task.attempt] = task
            # One waiter is enough for one task; finish() wakes all.
            self._changed.notify()

    def wait(self, timeout: float) -> None:
        """Wait until there is a task or no more will come, at most ``timeout`` seconds."""
        with self._changed:
            # No loop: the caller looks again, and a wake-up without cause does no harm.
            if not self._tasks and not self._finishing:
                self._changed.wait(timeout)

    def take_now(self) -> Optional[Task]:
        """Return the next task, if there is one; never wait."""
        with self._changed:
            return self._tasks.popitem(last=False)[1] if self._tasks else None

    def take_of(self, file: str, recipe: Optional[int] = None) -> Optional[Task]:
        """Return the next task, if it is a page of this file for this recipe; never wait."""
        with self._changed:
            # Only the first: a later task of the same file must not overtake it.
            first = next(iter(self._tasks.values()), None)
            is_there = first is not None and first.file == file and first.recipe == recipe
            return self._tasks.popitem(last=False)[1] if is_there else None

    def revoke(self, attempt: str) -> bool:
        """Remove a task. Return False when a slot has begun it, or it is not known."""
        with self._changed:
            return self._tasks.pop(attempt, None) is not None

    def has_waiting(self) -> bool:
        """Return whether there is a task."""
        # Without the lock: an OrderedDict tells its length in one step, and the answer may be old at
        # once in any case.
        return bool(self._tasks)

    def finish(self) -> None:
        """Record that no more tasks will come."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def has_ended(self) -> bool:
        """Return whether all tasks were taken and no more will come."""
        with self._changed:
            return self._finishing and not self._tasks
