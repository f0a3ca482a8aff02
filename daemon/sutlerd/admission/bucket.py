"""A token bucket with continuous refill. Pure: every method is told the time.

The level may go below zero: what was really used can be more than what was foreseen, and is
owed. Time that goes back counts as no time passed.
"""

from __future__ import annotations

import math


class Bucket:
    """Holds at most ``capacity`` and refills ``per_s`` a second.

    ``level`` is what it starts with; full where it is not said. ``most`` is the largest need
    that can ever fit: a need between a lowered ``capacity`` and it is met from a full bucket,
    and the rest is owed. ``moved`` sums up all corrections by somebody who knew better.
    """

    __slots__ = ("_level", "_seen_s", "capacity", "most", "moved", "per_s")

    def __init__(
        self, *, per_s: float, capacity: float, now_s: float, level: float | None = None
    ) -> None:
        if not (per_s > 0 and capacity > 0):
            raise ValueError("a bucket needs a rate and a capacity above zero")
        self.per_s = per_s
        self.capacity = self.most = capacity
        self.moved = 0.0
        self._level = capacity if level is None else min(level, capacity)
        self._seen_s = now_s

    def level(self, now_s: float) -> float:
        """Give what is in it now, below zero where more was used than it held."""
        passed_s = now_s - self._seen_s
        if passed_s > 0:
            self._level = min(self.capacity, self._level + passed_s * self.per_s)
            self._seen_s = now_s
        return self._level

    def wait_s(self, need: float, now_s: float) -> float:
        """Tell in how many seconds ``need`` can be taken if nobody else takes any.

        Infinite for a need that never fits.
        """
        if need > self.most:
            return math.inf
        missing = min(need, self.capacity) - self.level(now_s)
        return missing / self.per_s if missing > 0 else 0.0

    def take(self, amount: float, now_s: float) -> None:
        """Take, below zero if need be."""
        self._level = self.level(now_s) - amount

    def give_back(self, amount: float, now_s: float) -> None:
        self._level = min(self.capacity, self.level(now_s) + amount)

    def move(self, by: float, now_s: float) -> None:
        """Correct the level by what somebody who knows better told."""
        level = self.level(now_s)
        self._level = min(self.capacity, level + by)
        self.moved += self._level - level

    def lower_to(self, remaining: float, now_s: float) -> None:
        """Believe somebody who knows better that there is less in it than we thought."""
        self.move(min(0.0, remaining - self.level(now_s)), now_s)

    def believe(self, *, per_s: float, capacity: float, now_s: float) -> None:
        """Refill slower or hold less for a while; what can ever fit stays the same."""
        self._level = min(self.level(now_s), capacity)
        self.per_s, self.capacity = per_s, capacity

    def resize(self, *, per_s: float, capacity: float, now_s: float) -> None:
        """Change the limit and keep the level in proportion; what is owed stays owed."""
        level = self.level(now_s)
        # Rounding must not make it fuller than full.
        self._level = min(capacity, level * capacity / self.capacity) if level > 0 else level
        self.per_s, self.capacity, self.most = per_s, capacity, capacity

    def shrink(self, *, per_s: float, capacity: float, now_s: float) -> None:
        """Hear that it never held more than ``capacity``.

        What was used of it stays used; of what was only believed to be used, a part.
        """
        level = self.level(now_s)
        left = level - min(0.0, self.moved) - (self.most - capacity)
        in_part = level * capacity / self.most if level > 0 else level
        self.move(min(in_part, left) - level, now_s)
        self.per_s, self.capacity, self.most = per_s, capacity, capacity
