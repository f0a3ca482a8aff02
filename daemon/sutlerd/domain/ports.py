"""What the core needs of the outside world, as small protocols."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Three clocks that are never mixed: intervals, leases, calendar."""

    def monotonic_s(self) -> float:
        """Seconds that never go back and stand still while the machine sleeps."""

    def boottime_s(self) -> float:
        """Seconds since boot, sleep included."""

    def unix_s(self) -> float:
        """Wall-clock seconds since 1970; may jump either way."""


class EventLog(Protocol):
    """Where events are told. Never blocks, never raises; values are masked and escaped."""

    def event(self, level: str, name: str, /, **fields: object) -> None: ...

    def tells(self, level: str) -> bool:
        """Whether events of this level are written, for who would compose them in vain."""
