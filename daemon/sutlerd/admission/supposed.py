"""The pace of a provider that tells no limits: found from its refusals alone. Pure.

At a refusal the provider's bucket is empty. So what it let pass between two refusals is what
refilled in that time, however unevenly it was asked for; unless its bucket was full in between,
and then it grants more. Whoever asks too slowly at first loses little by it: what was not used
is saved up by the provider, and is used when the pace grows beyond what refills.

The pace doubles until a refusal measures it, grows by little until a second one says the same,
and by very little from then on: a refusal every few hundred calls.
"""

from __future__ import annotations

import math

#: What was never measured doubles in so long, but not in fewer answers than these.
_DOUBLES_S = 1.0
_DOUBLING_ANSWERS = 4.0
#: A hint of a moment is what one call lacks, and so tells a pace; one of seconds is rounded.
_HINT_S = 1.0
_HINT_PART = 0.6
_HINT_MOST = 4.0
#: So few calls between two refusals measure nothing.
_LEAST_MEASURE = 12.0
_NOISY_PART = 0.5
_NOISY_GROWTH = 0.01
#: An answer's part of the pace on top, when it was measured once, and when it was confirmed.
_MEASURED_GROWTH = 0.006
_CONFIRMED_GROWTH = 0.0001
_ALIKE = 0.15
_MARGIN = 0.02
#: What was measured before counts for this much beside what is measured now.
_OLDER = 0.5
#: Seconds of refill that are saved up: who refuses at a rate may refuse bursts, too.
_BURST_S = 2.0
_LEAST_BURST_S = 0.1
_FASTEST_PER_S = 1e16


class Supposed:
    """One pace, in calls a second; ``burst_s`` of it are saved up at most.

    ``measured`` says whether it is a measure already, or the first guess of one.
    """

    def __init__(self, per_s: float, *, measured: bool) -> None:
        self.per_s = per_s
        self.burst_s = _BURST_S
        self._growth = _MEASURED_GROWTH if measured else math.inf
        self._first = per_s
        self._hint_s = 0.0
        self._since: tuple[float, float] | None = None
        self._calls = self._seconds = 0.0

    def hinted(self, pause_s: float) -> None:
        """Hear after how long one of the first refusals said that its call would be let pass.

        The longest of them is the time that a whole call takes to refill.
        """
        if self._growth == math.inf and 0 < pause_s < _HINT_S and pause_s > self._hint_s:
            self._hint_s = pause_s
            self.per_s = max(self._first, min(_HINT_PART / pause_s, _HINT_MOST * self._first))

    def begins(self, taken: float, now_s: float) -> None:
        """Measure from now on: the provider's bucket is empty, and ``taken`` calls were sent."""
        self._since = (taken, now_s)

    def was_idle(self) -> None:
        """Hear that fewer called than might: the provider's bucket may be full."""
        self._since = None

    def grow(self, passed_s: float, *, sent_s: float, calm: bool) -> None:
        """Hear of an answer, ``passed_s`` after the one before, while the pace bound.

        What was sent before the last refusal is no news of this pace.
        """
        if self._since is not None and sent_s < self._since[1]:
            return
        if self._growth == math.inf or calm:
            part = 2.0 ** min(passed_s / _DOUBLES_S, 1.0 / _DOUBLING_ANSWERS)
        else:
            part = 1.0 + self._growth
        self.per_s = min(self.per_s * part, _FASTEST_PER_S)

    def refused(self, taken: float, now_s: float) -> None:
        """Hear of a refusal of a call that was sent now, when ``taken`` had been before it."""
        since, self._since = self._since, None
        if since is None:
            # Too many at once after a rest, or a pace that was never held for long.
            self.burst_s = max(self.burst_s / 2, _LEAST_BURST_S)
        calls, seconds = (0.0, 0.0) if since is None else (taken - since[0], now_s - since[1])
        known = self._calls / self._seconds if self._seconds else 0.0
        if not calls >= _LEAST_MEASURE or seconds <= 0:
            if self._growth == _CONFIRMED_GROWTH:
                self.per_s = min(self.per_s, (1.0 - 2.0 * _MARGIN) * known)
            else:
                self.per_s *= _NOISY_PART
                self._growth = _NOISY_GROWTH
            return
        if known and abs(calls / seconds - known) <= _ALIKE * known:
            self._calls = self._calls * _OLDER + calls
            self._seconds = self._seconds * _OLDER + seconds
            self._growth = _CONFIRMED_GROWTH
        else:
            self._calls, self._seconds = calls, seconds
            self._growth = _MEASURED_GROWTH
        margin = max(_MARGIN, 1.0 / self._calls)
        self.per_s = min(self.per_s, (1.0 - margin) * self._calls / self._seconds)
