"""When a process that ended may be started again. Pure.

A process that lived long enough to be useful and then ended is started again almost at once.
One that keeps ending is given more and more time; after ``PATIENT_LIVES`` short lives in a
row nobody waits for it any more, and it is started only when somebody asks again.
"""

from __future__ import annotations

#: Rest after the first short life; doubled with each further one.
FIRST_REST_S = 0.2
LONGEST_REST_S = 60.0
#: A life this long was none of the short ones.
LONG_LIFE_S = 10.0
#: Short lives in a row after which callers are no longer kept waiting.
PATIENT_LIVES = 3


class Restarts:
    """The memory of one child's short lives."""

    __slots__ = ("_short_lives",)

    def __init__(self) -> None:
        self._short_lives = 0

    def ended(self, *, lived_s: float) -> float:
        """Note that a life ended; give the seconds to rest before the next."""
        if lived_s >= LONG_LIFE_S:
            self._short_lives = 0
        self._short_lives += 1
        # The exponent is bounded, or a long row would make a number too large for a float.
        doublings = min(self._short_lives - 1, 16)
        return min(FIRST_REST_S * 2.0**doublings, LONGEST_REST_S)

    @property
    def patient(self) -> bool:
        """Say whether callers should wait for the next life."""
        return self._short_lives < PATIENT_LIVES
