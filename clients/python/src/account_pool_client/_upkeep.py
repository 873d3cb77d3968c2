from __future__ import annotations

import threading
import time
from typing import Callable, Optional

from ._exchange import logger

#: Answers after how many seconds it is due again; None when it is done.
Task = Callable[[], Optional[float]]


class Upkeep:
    """What has to be done later, by one thread that lives while there is something to do."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._tasks: dict[str, tuple[float, Task]] = {}
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    def schedule(self, name: str, delay: float, task: Task) -> None:
        """In place of one of the same name."""
        with self._condition:
            if self._is_stopped:
                return
            self._tasks[name] = (time.monotonic() + delay, task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="account-pool-client", daemon=True)
                self._thread.start()
            self._condition.notify()

    def cancel(self, name: str) -> None:
        with self._condition:
            self._tasks.pop(name, None)
            self._condition.notify()

    def stop(self) -> None:
        with self._condition:
            self._is_stopped = True
            self._tasks.clear()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            due = self._next()
            if due is None:
                return
            name, task = due
            try:
                again = task()
            except Exception:
                logger.exception("%s failed", name)
                continue
            if again is not None:
                with self._condition:
                    if not self._is_stopped:
                        self._tasks.setdefault(name, (time.monotonic() + again, task))

    def _next(self) -> tuple[str, Task] | None:
        with self._condition:
            while self._tasks:
                name = min(self._tasks, key=lambda each: self._tasks[each][0])
                due_at, task = self._tasks[name]
                left = due_at - time.monotonic()
                if left <= 0:
                    del self._tasks[name]
                    return name, task
                self._condition.wait(left)
            self._thread = None
            return None
