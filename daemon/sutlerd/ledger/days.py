"""Which day of the account a moment belongs to, in the budgets' time zone."""

from __future__ import annotations

from datetime import UTC, tzinfo

from sutlerd.ledger.calendar import Period, Span, span_at


class Days:
    """Remembers the day that it gave last, since it is asked about now. ``zone`` is a name that
    was checked."""

    def __init__(self, zone: str) -> None:
        self._zone = zone_named(zone)
        self._span = Span(key="", begins_unix_s=0.0, ends_unix_s=0.0)

    def of(self, unix_s: float) -> str:
        """Give the day as ``YYYY-MM-DD``."""
        span = self._span
        if span.ends_unix_s is None or not span.begins_unix_s <= unix_s < span.ends_unix_s:
            span = self._span = span_at(Period.DAY, self._zone, unix_s)
        return span.key

    def ends_unix_s(self, unix_s: float) -> float | None:
        """Give the moment at which a moment's day ends."""
        self.of(unix_s)
        return self._span.ends_unix_s


def zone_named(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)
