"""The last hour in points of ten seconds: what the page draws. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from sutlerd.telemetry.meter import Meter

EVERY_S: Final = 10.0
POINTS: Final = 360


class History:
    """One per daemon. A point holds what happened since the one before it, as plain numbers."""

    def __init__(self) -> None:
        self._points: deque[dict[str, Any]] = deque(maxlen=POINTS)
        self._before: dict[str, int] = {}

    def note(self, meter: Meter, *, unix_s: float, waiting: int, in_flight: int) -> dict[str, Any]:
        """Add a point, and give it: ``unix_s``, counts of calls by how they ended,
        ``cost_nanousd``, ``tokens``, and how many wait and are under way at this moment."""
        totals = _totals(meter)
        point: dict[str, Any] = {
            name: total - self._before.get(name, 0) for name, total in totals.items()
        }
        self._before = totals
        point |= {"unix_s": round(unix_s), "waiting": waiting, "in_flight": in_flight}
        self._points.append(point)
        return point

    def points(self) -> list[dict[str, Any]]:
        """Give the points, the oldest first."""
        return list(self._points)


def _totals(meter: Meter) -> dict[str, int]:
    totals = dict.fromkeys(("ok", "cached", "coalesced", "error"), 0)
    for (_, _, status), count in meter.requests.items():
        totals[status] += count
    totals["cost_nanousd"] = sum(meter.cost_nanousd.values())
    totals["saved_nanousd"] = sum(meter.saved_nanousd.values())
    totals["tokens"] = sum(
        count for (_, _, kind), count in meter.tokens.items() if kind in ("input", "output")
    )
    return totals
