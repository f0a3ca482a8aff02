"""One limit boundary: everything that a key's calls to a class of models must pass together.

All its buckets and its count of calls in flight admit a call, or none does. What a call needs
is an amount for each bucket by name (``requests``, ``tokens``, ``tokens_in``, ``tokens_out``,
each also ``…_per_day``); buckets that are not there need nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sutlerd.admission.bucket import Bucket

IN_FLIGHT = "calls_in_flight"
CLOSED = "closed_by_provider"
#: Waited for where no limit is known: see ``Quota.spread``.
PACE = "pace"
_NOTHING: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a call has to wait: the bucket it waits longest for. Infinite: it never fits."""

    bucket: str
    wait_s: float
    need: float
    capacity: float


@dataclass(frozen=True, slots=True)
class Sent:
    """When an attempt was let through, and how each bucket stood right after it.

    ``stood`` are levels less ``Bucket.moved`` of then: plus ``moved`` of now they are what we
    would think today of how it stood. ``taken`` is what all attempts had taken until then,
    and ``returned`` what they had turned out not to need.
    """

    at_s: float
    stood: Mapping[str, float]
    taken: Mapping[str, float]
    returned: Mapping[str, float]


class Quota:
    """``max_in_flight`` of ``None`` is no limit; neither is a ``window`` of ``None``, which
    limits the calls in flight of somebody who does not know the limits yet."""

    def __init__(self, buckets: Mapping[str, Bucket], *, max_in_flight: int | None = None) -> None:
        self.buckets = dict(buckets)
        #: Smaller buckets beside those that nothing has confirmed: see ``trial``.
        self.untried: dict[str, Bucket] = {}
        self.max_in_flight = max_in_flight
        self.window: int | None = None
        self.paced: Bucket | None = None
        self.in_flight = 0
        #: What was ever taken, by bucket, and what of it is of attempts under way.
        self.taken: dict[str, float] = {}
        self.reserved: dict[str, float] = {}
        #: What ended attempts had foreseen too much; negative where too little.
        self.returned: dict[str, float] = {}
        self._closed_until_s = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether there is no limit at all, so that nobody's share matters."""
        return not self.buckets and self.max_in_flight is None and self.window is None

    def lets_all_pass(self, now_s: float) -> bool:
        """Tell whether nothing at all stands in the way of any call now."""
        return self.is_open and now_s >= self._closed_until_s

    @property
    def _most_in_flight(self) -> int | None:
        if self.window is None or self.max_in_flight is None:
            return self.max_in_flight if self.window is None else self.window
        return min(self.window, self.max_in_flight)

    def spread(self, per_s: float, now_s: float) -> None:
        """Let the calls of a window go one after the other, at most so many a second.

        What is sent in one moment is refused in one moment: spread out, the first refusal keeps
        back the others.
        """
        if self.paced is None:
            self.paced = Bucket(per_s=per_s, capacity=1.0, now_s=now_s)
        else:
            self.paced.believe(per_s=per_s, capacity=1.0, now_s=now_s)

    def closed_s(self, now_s: float) -> float:
        """Tell for how long the provider asked us to stay away."""
        return max(0.0, self._closed_until_s - now_s)

    def shortage(
        self, need: Mapping[str, float], now_s: float, *, surely: bool = False
    ) -> Shortage | None:
        """Give what stands in the way of a call now, or ``None``.

        A wait for a call in flight to end is of unknown length: 0 seconds, to be looked at
        again when one has ended. ``surely``: without what the next reply may take away.
        """
        worst: Shortage | None = None
        closed_s = self.closed_s(now_s)
        if closed_s > 0:
            worst = Shortage(CLOSED, closed_s, 0.0, 0.0)
        for name, bucket in self.buckets.items():
            amount = need.get(name, 0.0)
            wait_s = bucket.wait_s(amount, now_s)
            if wait_s > 0 and (worst is None or wait_s > worst.wait_s):
                worst = Shortage(name, wait_s, amount, bucket.capacity)
        if self.untried and not surely:
            for name, bucket in self.untried.items():
                amount = need.get(name, 0.0)
                wait_s = bucket.wait_s(amount, now_s)
                if wait_s > 0 and (worst is None or wait_s > worst.wait_s):
                    worst = Shortage(name, wait_s, amount, bucket.capacity)
        most = self._most_in_flight
        if worst is not None or most is None:
            return worst
        if self.in_flight >= most:
            return Shortage(IN_FLIGHT, 0.0, 1.0, most)
        if self.window is None or self.paced is None or surely:
            return None
        wait_s = self.paced.wait_s(1.0, now_s)
        return Shortage(PACE, wait_s, 1.0, 1.0) if wait_s > 0 else None

    def never_fits(self, need: Mapping[str, float]) -> Shortage | None:
        """Give the bucket that is too small for this call even when full."""
        for name, bucket in self.buckets.items():
            if need.get(name, 0.0) > bucket.most:
                return Shortage(name, math.inf, need[name], bucket.most)
        return None

    def take(self, need: Mapping[str, float], now_s: float) -> Sent:
        """Take from every bucket at once; ask ``shortage`` before, in the same step."""
        if self.window is not None and self.paced is not None:
            self.paced.take(1.0, now_s)
        if not self.buckets:
            self.in_flight += 1
            return Sent(now_s, _NOTHING, _NOTHING, _NOTHING)
        stood, taken = {}, self.taken
        for name, bucket in self.buckets.items():
            amount = need.get(name, 0.0)
            bucket.take(amount, now_s)
            taken[name] = taken.get(name, 0.0) + amount
            self.reserved[name] = self.reserved.get(name, 0.0) + amount
            stood[name] = bucket.level(now_s) - bucket.moved
        for name, small in self.untried.items():
            small.take(need.get(name, 0.0), now_s)
        self.in_flight += 1
        return Sent(now_s, stood, dict(taken), dict(self.returned))

    def end(self, need: Mapping[str, float], used: Mapping[str, float], now_s: float) -> None:
        """End a call: what it took and did not use goes back, what it used beyond is owed.

        A bucket that ``used`` does not name keeps what was taken.
        """
        self.in_flight -= 1
        for name, bucket in self.buckets.items():
            amount = need.get(name, 0.0)
            self.reserved[name] = max(0.0, self.reserved.get(name, 0.0) - amount)
            if name in used:
                unused = amount - used[name]
                self.returned[name] = self.returned.get(name, 0.0) + unused
                if unused >= 0:
                    bucket.give_back(unused, now_s)
                else:
                    bucket.take(-unused, now_s)
                small = self.untried.get(name)
                if small is not None:
                    small.give_back(unused, now_s)

    def close_until(self, until_s: float) -> None:
        """Grant nothing before this time: the provider said so. Shortens no earlier word."""
        self._closed_until_s = max(self._closed_until_s, until_s)

    def weight(self, need: Mapping[str, float]) -> float:
        """Give the seconds of this quota that a call takes up, by the bucket it strains most.

        That is the cost by which callers share fairly, whichever limit binds.
        """
        return (
            max(
                (need.get(name, 0.0) / bucket.per_s for name, bucket in self.buckets.items()),
                default=1.0,
            )
            or 1e-9
        )
