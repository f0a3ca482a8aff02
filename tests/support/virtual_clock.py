"""A clock that moves only when a test says so."""

from __future__ import annotations


class VirtualClock:
    """A ``sutlerd.domain.ports.Clock`` whose three clocks start far apart on purpose."""

    def __init__(
        self, *, monotonic_s: float = 1_000.0, boottime_s: float = 5_000.0, unix_s: float = 1.8e9
    ) -> None:
        self._monotonic_s = monotonic_s
        self._boottime_s = boottime_s
        self._unix_s = unix_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def boottime_s(self) -> float:
        return self._boottime_s

    def unix_s(self) -> float:
        return self._unix_s

    def advance(self, by_s: float) -> None:
        """Let time pass while the machine is awake."""
        if by_s < 0:
            raise ValueError("time does not run backwards; jump_unix() sets the calendar")
        self._monotonic_s += by_s
        self._boottime_s += by_s
        self._unix_s += by_s

    def suspend(self, for_s: float) -> None:
        """Let the machine sleep: the monotonic clock stands still."""
        self._boottime_s += for_s
        self._unix_s += for_s

    def jump_unix(self, by_s: float) -> None:
        """Step the wall clock either way, as an operator or NTP does."""
        self._unix_s += by_s
