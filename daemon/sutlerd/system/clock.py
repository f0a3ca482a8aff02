"""The machine's three clocks."""

from __future__ import annotations

import time


class SystemClock:
    """The real ``domain.ports.Clock``."""

    __slots__ = ()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def boottime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def unix_s(self) -> float:
        return time.time()
