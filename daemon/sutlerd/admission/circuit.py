"""A circuit breaker: stops asking who does not answer, and finds out when it does again. Pure.

It opens when too large a part of the calls of a sliding window failed, or at once on a verdict
("not again for now"). Open, it lets nobody pass until its probe is due; then exactly one call at
a time may try, and its success closes the circuit for all. What is no sign of health either way
leaves it as it is.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

from sutlerd.domain.record import record

_SLICES = 10


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@record
class Pace:
    """When to probe: after ``first_s``, doubling with each probe that fails up to ``longest_s``.

    Infinite: never, until somebody resets the circuit.
    """

    first_s: float
    longest_s: float


GROWING = Pace(first_s=2.0, longest_s=10.0)
EVERY_MINUTE = Pace(first_s=60.0, longest_s=60.0)
HOURLY = Pace(first_s=3600.0, longest_s=3600.0)
NEVER = Pace(first_s=math.inf, longest_s=math.inf)


@record
class Rule:
    """Open when ``failed_part`` of at least ``least_calls`` within ``window_s`` failed."""

    window_s: float
    failed_part: float
    least_calls: int


@dataclass(slots=True)
class _Slice:
    start_s: float
    calls: int = 0
    failures: int = 0


class Circuit:
    """``pace`` is for probes after too many failures; a verdict brings its own."""

    def __init__(self, *, rule: Rule, pace: Pace) -> None:
        self._rule = rule
        self._usual = pace
        self._pace: Pace | None = None
        self._interval_s = 0.0
        self._until_s = -math.inf
        self._probing = False
        self._slices: deque[_Slice] = deque()
        self.why = ""

    @property
    def state(self) -> State:
        if self._pace is None:
            return State.CLOSED
        return State.HALF_OPEN if self._probing else State.OPEN

    @property
    def pace(self) -> Pace | None:
        """How often it is probed; ``None`` while it is closed."""
        return self._pace

    def closed_for_s(self, now_s: float) -> float:
        """Tell in how many seconds a call may pass; 0 where one may now."""
        if self._pace is None:
            return 0.0
        if self._probing:
            # Nobody knows when the probe ends; soon, or it is tried again after this.
            return min(self._interval_s, GROWING.first_s)
        return max(0.0, self._until_s - now_s)

    def enter(self, now_s: float) -> bool:
        """Count a call in, and tell whether it is the probe. Ask ``closed_for_s`` before."""
        if self._pace is None:
            return False
        assert not self._probing
        self._probing = True
        return True

    def succeeded(self, now_s: float, *, probe: bool) -> bool:
        """A call was answered. Tells whether that closed the circuit."""
        if self._pace is not None:
            if probe:
                self.reset()
            # One that was under way before it opened proves nothing of the time since.
            return probe
        self._now(now_s).calls += 1
        return False

    def failed(self, now_s: float, why: str, *, probe: bool) -> bool:
        """A call failed by no fault of its caller. Tells whether that opened the circuit."""
        if self._pace is not None:
            if probe:
                self._probing = False
                self._interval_s = min(self._pace.longest_s, self._interval_s * 2)
                self._until_s = now_s + self._interval_s
                self.why = why
            return False
        slice_ = self._now(now_s)
        slice_.calls += 1
        slice_.failures += 1
        calls, failures = self.counts(now_s)
        if calls < self._rule.least_calls or failures < self._rule.failed_part * calls:
            return False
        self._open(now_s, self._usual, why)
        return True

    def judged(self, now_s: float, pace: Pace, why: str, *, probe: bool) -> bool:
        """A call was told not to come again for now. Tells whether that opened the circuit."""
        before, interval_s = self._pace, self._interval_s
        if before is not None and not probe and (self._probing or pace.first_s <= before.first_s):
            # It was under way before the circuit opened, and says nothing worse; or a probe was
            # sent after it, whose word counts.
            return False
        self._open(now_s, pace, why)
        if before is pace:
            self._interval_s = min(pace.longest_s, interval_s * 2)
            self._until_s = now_s + self._interval_s
        return before is not pace

    def passed_by(self, *, probe: bool) -> None:
        """A call ended and says nothing: the next one may probe."""
        if probe:
            self._probing = False

    def reset(self) -> None:
        """Begin anew, closed."""
        self._pace = None
        self._probing = False
        self._slices.clear()
        self.why = ""

    def counts(self, now_s: float) -> tuple[int, int]:
        """Give the calls and the failures of the window that ends now."""
        self._forget(now_s)
        return sum(s.calls for s in self._slices), sum(s.failures for s in self._slices)

    def _open(self, now_s: float, pace: Pace, why: str) -> None:
        self._pace = pace
        self._probing = False
        self._interval_s = pace.first_s
        self._until_s = now_s + pace.first_s
        self._slices.clear()
        self.why = why

    def _now(self, now_s: float) -> _Slice:
        self._forget(now_s)
        if not self._slices or now_s - self._slices[-1].start_s >= self._rule.window_s / _SLICES:
            self._slices.append(_Slice(now_s))
        return self._slices[-1]

    def _forget(self, now_s: float) -> None:
        while self._slices and now_s - self._slices[0].start_s > self._rule.window_s:
            self._slices.popleft()
