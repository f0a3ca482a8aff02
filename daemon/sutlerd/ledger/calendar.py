"""Budget periods in a configured time zone, and the time that they go by. Pure.

Days are told by the instants at which they begin, never by the local date alone: where a clock
is set back over midnight a date would come twice, and the day must turn exactly once.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from typing import Final

from sutlerd.domain.record import record

#: A wall clock may stray so far from the time since boot before it counts as set.
TOLERANCE_S: Final = 30.0
#: How long a clock that was set must stand before the budget goes by it.
STANDS_S: Final = 600.0


class Period(Enum):
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@record
class Span:
    """One day, month or all time: half open. ``ends_unix_s`` is when a budget starts anew,
    ``None`` for never."""

    key: str
    begins_unix_s: float
    ends_unix_s: float | None


ALL_TIME: Final = Span(key="total", begins_unix_s=0.0, ends_unix_s=None)


def span_at(period: Period, zone: tzinfo, unix_s: float) -> Span:
    """Give the span that an instant belongs to; spans follow each other without a gap."""
    if period is Period.TOTAL:
        return ALL_TIME
    day = datetime.fromtimestamp(unix_s, zone).date()
    # The local date may be a day beside the span near a change over midnight, and two where
    # a zone left out a whole day.
    first = day - timedelta(days=2)
    if period is Period.MONTH:
        first = first.replace(day=1)
    while True:
        following = _following(period, first)
        ends_unix_s = _begins_unix_s(following, zone)
        if unix_s < ends_unix_s:
            key = f"{first:%Y-%m-%d}" if period is Period.DAY else f"{first:%Y-%m}"
            return Span(key=key, begins_unix_s=_begins_unix_s(first, zone), ends_unix_s=ends_unix_s)
        first = following


def _following(period: Period, first: date) -> date:
    if period is Period.DAY:
        return first + timedelta(days=1)
    return (first + timedelta(days=31)).replace(day=1)


def _begins_unix_s(day: date, zone: tzinfo) -> float:
    """Give the first of a day's midnights; where it has none, the instant that replaced it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone, fold=0).astimezone(UTC).timestamp()


class BudgetClock:
    """The time that budgets go by: never back, and forward only by what can be believed.

    A wall clock that was set is followed only after it has stood for ``STANDS_S``: until then
    time goes on at the pace of the time since boot. One that was set back is waited for, in the
    newest period that was opened. Whether a clock stands is judged from look to look, so it
    wants to be looked at every few seconds, calls or none.

    ``latest_unix_s`` is the newest time that a ledger knows. ``offset_s`` is the difference
    between wall clock and time since boot, if it is known from this very boot.
    """

    def __init__(self, *, latest_unix_s: float, offset_s: float | None = None) -> None:
        self._latest_unix_s = latest_unix_s
        self._offset_s = offset_s
        self._suspected_s: float | None = None
        self._suspected_since_s = 0.0

    @property
    def latest_unix_s(self) -> float:
        return self._latest_unix_s

    @property
    def offset_s(self) -> float | None:
        return self._offset_s

    @property
    def suspects_jump_s(self) -> float | None:
        """How far the wall clock was set, as long as that is not believed."""
        if self._suspected_s is None or self._offset_s is None:
            return None
        return self._suspected_s - self._offset_s

    def look(self, *, unix_s: float, boottime_s: float) -> float:
        """Take both clocks' times, and give the budgets' time."""
        offset_s = unix_s - boottime_s
        known_s = self._offset_s
        if known_s is None or abs(offset_s - known_s) <= TOLERANCE_S:
            known_s, self._suspected_s = offset_s, None
        elif self._suspected_s is None or abs(offset_s - self._suspected_s) > TOLERANCE_S:
            self._suspected_s, self._suspected_since_s = offset_s, boottime_s
        elif boottime_s - self._suspected_since_s >= STANDS_S:
            known_s, self._suspected_s = offset_s, None
        self._offset_s = known_s
        self._latest_unix_s = max(self._latest_unix_s, boottime_s + known_s)
        return self._latest_unix_s

    def behind_s(self, *, boottime_s: float) -> float:
        """Tell how far the wall clock is behind the newest time, which is kept until then."""
        if self._offset_s is None:
            return 0.0
        return max(0.0, self._latest_unix_s - (boottime_s + self._offset_s))
