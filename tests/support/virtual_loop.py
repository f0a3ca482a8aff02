"""An event loop whose time is not the world's: it jumps to the next timer when all is quiet.

Hours pass in milliseconds and the same run gives the same trace. Only for code that waits by
the loop's own timers and does no I/O.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Never waits: tells its loop to move its clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("everything waits and nothing will ever happen")
        if not events and timeout:
            self.now_s += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Also a ``domain.ports.Clock``, all three clocks in step but for what the machine slept:
    ``slept_s`` is added to the two that go on while it does."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def monotonic_s(self) -> float:
        return self._jumping.now_s

    def boottime_s(self) -> float:
        return self._jumping.now_s + self.slept_s

    def unix_s(self) -> float:
        return 1_700_000_000.0 + self._jumping.now_s + self.slept_s


def run_virtually(loop: VirtualLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, whatever virtual time it takes."""
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
