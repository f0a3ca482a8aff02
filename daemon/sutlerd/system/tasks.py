"""The one way to start a task: owned by the daemon, named, its failure never unheard."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from sutlerd.domain.ports import EventLog

_STOP_LIMIT_S = 2.0


class Tasks:
    """Owns tasks until they end. A task that fails is a bug: it is logged with its traceback
    and ends alone, since one caller's trouble must not become everybody's."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tasks: dict[asyncio.Task[Any], Callable[[], object] | None] = {}
        self.failed_count = 0

    @property
    def count(self) -> int:
        return len(self._tasks)

    def start(
        self,
        coroutine: Coroutine[Any, Any, None],
        name: str,
        ended: Callable[[], object] | None = None,
    ) -> asyncio.Task[None]:
        """Start a task; ``ended`` is called when it is over, in whatever way."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = ended
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Cancel what is left and wait for it, within a limit."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_LIMIT_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        ended = self._tasks.pop(task)
        if ended is not None:
            ended()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.failed_count += 1
            self._log.event(
                "error",
                "task_failed",
                task=task.get_name(),
                error=f"{type(error).__name__}: {error}",
                traceback="".join(traceback.format_exception(error)),
            )
