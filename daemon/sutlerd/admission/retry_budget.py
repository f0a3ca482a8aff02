"""How much may be tried again: a part of all calls, with a floor, so that a storm stays small.

Counted over a sliding minute. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
_SLICES = 12


@dataclass(slots=True)
class _Slice:
    start_s: float
    calls: int = 0
    retries: int = 0


class RetryBudget:
    """``part`` of the calls of the last minute, and at least ``floor`` in it."""

    def __init__(self, *, part: float, floor: int) -> None:
        self.part = part
        self.floor = floor
        self._slices: deque[_Slice] = deque()

    def called(self, now_s: float) -> None:
        """Count a call, whatever becomes of it."""
        self._now(now_s).calls += 1

    def take(self, now_s: float) -> bool:
        """Take leave for one more attempt; ``False`` where none is left."""
        here = self._now(now_s)
        calls = sum(each.calls for each in self._slices)
        retries = sum(each.retries for each in self._slices)
        if retries >= max(float(self.floor), self.part * calls):
            return False
        here.retries += 1
        return True

    def _now(self, now_s: float) -> _Slice:
        while self._slices and now_s - self._slices[0].start_s > WINDOW_S:
            self._slices.popleft()
        if not self._slices or now_s - self._slices[-1].start_s >= WINDOW_S / _SLICES:
            self._slices.append(_Slice(now_s))
        return self._slices[-1]
