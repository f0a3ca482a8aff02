"""How far a long run has come: rows a second, time left, cached share, cost. Pure.

The caller brings the time: ``now_s`` is any monotonic clock's.
"""

from __future__ import annotations

from collections import deque

from sutler.cli_tables import dollars, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, List, Optional, Tuple

#: The rate is that of the last so many seconds: a run that slows down says so soon.
WINDOW_S = 30.0


class Progress:
    """Counts of one run. ``total`` is None if nobody knows how many rows there are.

    ``already`` rows were there before; they count as done, but in no rate.
    """

    def __init__(self, total: Optional[int], already: int, now_s: float) -> None:
        self.total = total
        self.already = already
        self.answered = 0
        self.failed = 0
        self.cached = 0
        self.cost_nanousd = 0
        self.unpriced = 0
        self._started_s = now_s
        self._samples: Deque[Tuple[float, int]] = deque([(now_s, 0)])

    @property
    def asked(self) -> int:
        return self.answered + self.failed

    def add_reply(self, reply: Dict[str, Any]) -> None:
        self.answered += 1
        self.cached += 1 if reply.get("cached") else 0
        if reply.get("cost_nanousd") is None:
            self.unpriced += 1
        else:
            self.cost_nanousd += reply["cost_nanousd"]

    def add_failure(self) -> None:
        self.failed += 1

    def rate(self, now_s: float) -> Optional[float]:
        """Give rows a second over the window, or None before there is anything to say."""
        self._samples.append((now_s, self.asked))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - WINDOW_S:
            self._samples.popleft()
        since_s, before = self._samples[0]
        if now_s <= since_s or self.asked == before:
            return None
        return (self.asked - before) / (now_s - since_s)

    def line(self, now_s: float) -> str:
        """Say all of it in one line."""
        done = self.already + self.asked
        rate = self.rate(now_s)
        parts = ["{:,} rows".format(done)]
        if self.total is not None:
            share = 100.0 * done / self.total if self.total else 100.0
            parts = ["{:,}/{:,} rows ({:.0f}%)".format(done, self.total, share)]
        parts.append("- rows/s" if rate is None else "%.3g rows/s" % rate)
        if rate is not None and self.total is not None:
            parts.append("ETA " + duration((self.total - done) / rate))
        parts += self._counts()
        return " · ".join(parts)

    def summary(self, now_s: float) -> str:
        """Say in one line what this run did."""
        parts = ["{:,} rows asked".format(self.asked)]
        if self.already:
            parts.append("{:,} were there already".format(self.already))
        if self.asked:
            parts += self._counts()
        parts.append(duration(now_s - self._started_s))
        return " · ".join(parts)

    def _counts(self) -> List[str]:
        share = 100.0 * self.cached / self.answered if self.answered else 0.0
        cost = dollars(self.cost_nanousd)
        if self.unpriced:
            # Nobody knows these prices: zero would be a claim.
            known = cost + " + " if self.cost_nanousd else ""
            cost = "%s%s of unknown price" % (known, "{:,}".format(self.unpriced))
        counts = ["cached %.0f%%" % share, cost]
        if self.failed:
            counts.append("{:,} failed".format(self.failed))
        return counts
