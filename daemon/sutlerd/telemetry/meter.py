"""What is counted of calls, in plain integers and short lists, until somebody asks. Pure.

Nothing here knows of an exposition format: a count is an addition. Models that nobody
configured are counted together as ``other``, however many a server or a caller names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeVar

OTHER: Final = "other"

#: Upper bounds in seconds: from a local model's quick answer to a long reasoning one.
LATENCY_BOUNDS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
FIRST_TOKEN_BOUNDS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WAIT_BOUNDS_S: Final = (0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)
SPEED_BOUNDS: Final = (1, 5, 10, 20, 40, 60, 80, 100, 150, 200, 400, 1000)

Place = tuple[str, str]
Name = TypeVar("Name", Place, str)

#: Names by which models were asked for or answered, and whose labels are remembered.
_MAX_PLACES: Final = 4096


class Histogram:
    """Counts by upper bound, and the sum of all that was observed."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Give ``(upper bound, how many are at most that)``, the last bound infinite."""
        passed, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            passed += count
            rows.append((bound, passed))
        return rows


class Meter:
    """One per daemon; it outlives every reload. Places are ``(provider, model)``."""

    def __init__(self) -> None:
        self._names: Mapping[str, Collection[str]] = {}
        self._places: dict[Place, Place] = {}
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        self.cost_nanousd: Counter[Place] = Counter()
        self.saved_nanousd: Counter[Place] = Counter()
        self.reserved_nanousd: Counter[Place] = Counter()
        self.cache_hits = 0
        self.cache_misses = 0
        self.coalesced = 0
        self.latencies: dict[Place, Histogram] = {}
        self.first_tokens: dict[Place, Histogram] = {}
        self.speeds: dict[Place, Histogram] = {}
        self.waits: dict[str, Histogram] = {}

    def know(self, names: Mapping[str, Collection[str]]) -> None:
        """Take the configured providers and their models: the only ones with lines of their own."""
        self._names = names
        self._places.clear()

    def place(self, provider: str, model: str) -> Place:
        """Give the labels of a route. Providers answer with longer names than they were asked
        by (``gpt-5.4-2026-03-05``): the longest configured one that a name begins with is it."""
        asked = provider, model
        known = self._places.get(asked)
        if known is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            known = self._places[asked] = self._found(provider, model)
        return known

    def _found(self, provider: str, model: str) -> Place:
        models = self._names.get(provider)
        if models is None:
            return OTHER, OTHER
        return provider, max(filter(model.startswith, models), key=len, default=OTHER)

    def called(
        self,
        provider: str,
        model: str,
        *,
        calls: int,
        cached: int = 0,
        coalesced: int = 0,
        error: str | None = None,
        saved_nanousd: int = 0,
        waited_s: float = 0.0,
    ) -> None:
        """Count calls whose callers were told how they ended."""
        place = self.place(provider, model)
        self.cache_hits += cached
        self.coalesced += coalesced
        fresh = calls - cached - coalesced
        if error is not None:
            self.requests[*place, "error"] += calls
            self.errors[place[0], error] += calls
        else:
            self.cache_misses += fresh
            if fresh:
                self.requests[*place, "ok"] += fresh
            if cached:
                self.requests[*place, "cached"] += cached
            if coalesced:
                self.requests[*place, "coalesced"] += coalesced
        if saved_nanousd:
            self.saved_nanousd[place] += saved_nanousd
        if waited_s > 0:
            _of(self.waits, place[0], WAIT_BOUNDS_S).observe(waited_s)

    def spent(
        self,
        provider: str,
        model: str,
        *,
        tokens: Mapping[str, int],
        cost_nanousd: int,
    ) -> None:
        """Count what an attempt used; ``tokens`` by kind."""
        place = self.place(provider, model)
        for kind, count in tokens.items():
            if count:
                self.tokens[*place, kind] += count
        self.cost_nanousd[place] += cost_nanousd

    def settled(self, provider: str, model: str, reserved_nanousd: int) -> None:
        """Count what was reserved for an attempt whose cost is known now."""
        self.reserved_nanousd[self.place(provider, model)] += reserved_nanousd

    def took(
        self,
        provider: str,
        model: str,
        *,
        passed_s: float,
        first_s: float | None = None,
        attempt_s: float = 0.0,
        tokens_out: int | None = None,
    ) -> None:
        """Note how long an answer took that a provider was asked for.

        ``passed_s`` is its caller's time; ``attempt_s`` that of the attempt which brought it,
        and ``first_s`` of this the time to a stream's first piece.
        """
        place = self.place(provider, model)
        _of(self.latencies, place, LATENCY_BOUNDS_S).observe(passed_s)
        if first_s is None:
            return
        _of(self.first_tokens, place, FIRST_TOKEN_BOUNDS_S).observe(first_s)
        if tokens_out and attempt_s > first_s:
            speed = tokens_out / (attempt_s - first_s)
            _of(self.speeds, place, SPEED_BOUNDS).observe(speed)


def _of(histograms: dict[Name, Histogram], name: Name, bounds: Sequence[float]) -> Histogram:
    histogram = histograms.get(name)
    if histogram is None:
        histogram = histograms[name] = Histogram(bounds)
    return histogram
