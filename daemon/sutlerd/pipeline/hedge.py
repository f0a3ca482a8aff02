"""Two attempts for one answer where the first is late: whoever is heard first wins.

The other is cut, and what it may have cost is booked as with every attempt that was cut. A second
one is begun only before anything was heard, and only once the first was really sent: waiting for
one's turn is not being late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Beaten(Exception):
    """Another attempt for the same answer was heard first."""


class Known(Exception):
    """The answer is stored already, so that no attempt is needed: it ends them all."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload


class Race(Generic[R]):
    """One use. Both attempts run as tasks that end with ``run``, however that ends."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self._tasks: list[asyncio.Task[R]] = []
        self._heard: asyncio.Task[Any] | None = None

    def heard(self) -> None:
        """Tell, from within an attempt and before a piece is passed on, that there is one.

        Raises ``Beaten`` in the one that comes second.
        """
        if self._heard is None:
            self._heard = asyncio.current_task()
            self._cut_all_but(self._heard)
        elif self._heard is not asyncio.current_task():
            raise Beaten

    async def run(
        self,
        first: Coroutine[Any, Any, R],
        *,
        late_s: float,
        second: Callable[[], Coroutine[Any, Any, R] | None],
    ) -> R:
        """Give what the first to arrive brought, or raise what the last to fail raised, or
        ``Known`` from whichever found the answer stored.

        ``second`` makes the other attempt, ``None`` if there is to be none, when the first has
        not been heard ``late_s`` after it was sent.
        """
        begin = asyncio.get_running_loop().create_task
        leader = begin(first)
        self._tasks.append(leader)
        try:
            if await self._is_late(leader, late_s):
                other = second()
                if other is not None:
                    self._tasks.append(begin(other))
            return await self._arrival()
        finally:
            self._cut_all_but(None)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _is_late(self, leader: asyncio.Task[R], late_s: float) -> bool:
        sent = asyncio.get_running_loop().create_task(self.sent.wait())
        try:
            await asyncio.wait((leader, sent), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sent.cancel()
        if not leader.done():
            await asyncio.wait((leader,), timeout=late_s)
        return not leader.done() and self._heard is None

    async def _arrival(self) -> R:
        pending, last = set(self._tasks), None
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    continue
                if task.exception() is None or isinstance(task.exception(), Known):
                    return task.result()
                if not isinstance(task.exception(), Beaten):
                    last = task
        if last is None:
            raise asyncio.CancelledError
        return last.result()

    def _cut_all_but(self, winner: asyncio.Task[Any] | None) -> None:
        for task in self._tasks:
            if task is not winner:
                task.cancel()
