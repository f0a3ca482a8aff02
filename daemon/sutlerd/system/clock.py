"""The machine's three clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial


class SystemClock:
    """The real ``domain.ports.Clock``. A call reads the time a dozen times, so that these are
    the machine's own functions rather than methods around them."""

    __slots__ = ()

    monotonic_s: Callable[[], float] = staticmethod(time.monotonic)
    unix_s: Callable[[], float] = staticmethod(time.time)
    boottime_s: Callable[[], float] = staticmethod(partial(time.clock_gettime, time.CLOCK_BOOTTIME))
