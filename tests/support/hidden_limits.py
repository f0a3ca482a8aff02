"""A provider's own limits, which nobody outside can see: what it enforces, and what it tells."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sutlerd.admission.bucket import Bucket
from sutlerd.providers.contract import LimitView


class HiddenLimits:
    """Buckets by kind (``requests``, ``tokens``, ``tokens_in``, ``tokens_out``), per minute.

    A full bucket holds ``burst_s`` seconds of refill. ``counts_refused``: refused calls count
    against the requests, too.
    """

    def __init__(
        self,
        per_minute: Mapping[str, float],
        *,
        burst_s: float = 60.0,
        counts_refused: bool = False,
        now_s: float = 0.0,
    ) -> None:
        self.per_minute = dict(per_minute)
        self.buckets = {
            name: Bucket(per_s=limit / 60, capacity=max(1.0, limit / 60 * burst_s), now_s=now_s)
            for name, limit in per_minute.items()
        }
        self.accepted = 0
        self.refused = 0
        self._counts_refused = counts_refused

    def arrive(self, need: Mapping[str, float], now_s: float) -> float | None:
        """Take a call in, or give the seconds until it would fit."""
        wait_s = max(
            bucket.wait_s(min(need.get(name, 0.0), bucket.capacity), now_s)
            for name, bucket in self.buckets.items()
        )
        if wait_s > 1e-6:
            self.refused += 1
            if self._counts_refused and "requests" in self.buckets:
                requests = self.buckets["requests"]
                requests.take(min(1.0, max(0.0, requests.level(now_s))), now_s)
            return wait_s
        for name, bucket in self.buckets.items():
            bucket.take(need.get(name, 0.0), now_s)
        self.accepted += 1
        return None

    def produced(self, tokens_out: float, now_s: float) -> None:
        """Count an answer, for limits on what is really produced."""
        if "tokens_out" in self.buckets:
            self.buckets["tokens_out"].take(tokens_out, now_s)

    def told(self, now_s: float) -> dict[str, LimitView]:
        """Give what the headers of an answer of now say, whole numbers as real ones do."""
        views = {}
        for name, bucket in self.buckets.items():
            level = bucket.level(now_s)
            views[name] = LimitView(
                limit=self.per_minute[name],
                remaining=max(0.0, math.floor(level + 1e-6)),
                reset_s=(bucket.capacity - level) / bucket.per_s,
            )
        return views
