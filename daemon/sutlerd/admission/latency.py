"""How long a route usually takes, learned from its own answers. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable

_REMEMBERED = 128
_LEAST = 20
_MOST_ROUTES = 1024


class Latencies:
    """The last answers' times by route, whatever names one. Forgets the oldest."""

    def __init__(self) -> None:
        self._seen_s: dict[Hashable, deque[float]] = {}

    def learn(self, route: Hashable, passed_s: float) -> None:
        seen_s = self._seen_s.get(route)
        if seen_s is None:
            if len(self._seen_s) >= _MOST_ROUTES:
                del self._seen_s[next(iter(self._seen_s))]
            seen_s = self._seen_s[route] = deque(maxlen=_REMEMBERED)
        seen_s.append(passed_s)

    def percentile_s(self, route: Hashable, percent: float) -> float | None:
        """Give the time that ``percent`` of the answers took no longer than.

        ``None`` for a route with fewer than 20 answers, of which nothing can be said yet.
        """
        seen_s = self._seen_s.get(route, ())
        if len(seen_s) < _LEAST:
            return None
        rank = max(1, math.ceil(len(seen_s) * percent / 100))
        return sorted(seen_s)[rank - 1]
