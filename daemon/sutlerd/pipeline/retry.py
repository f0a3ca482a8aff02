"""After a failed attempt: the same route again, the next one, or the end. Pure.

One layer retries, this one. Never after a piece reached a caller; at most one more try after
an attempt whose bill nobody knows, none if the operator says so; a provider's hint is kept to
the second, or the route is left if the hint passes the caller's time, or if the budget of
retries is spent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 8.0
#: A provider that is overloaded is left in peace for as long as after so many more failures.
_OVERLOADED_TRIES = 2
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Again:
    """Try the same route once more, after a pause."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class NextRoute:
    """Leave this route for the next one of the chain."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Tell the caller."""


Decision = Again | NextRoute | GiveUp


def backoff_s(tries: int, *, chance: float) -> float:
    """Give the pause after the ``tries``-th failure in a row: full jitter, doubling, capped.

    ``chance`` is a random number in [0, 1).
    """
    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(tries - 1, 10))
    return ceiling_s * chance


def closed_s(refusals: int, *, chance: float) -> float:
    """Give for how long a limit stays closed after the ``refusals``-th "too many" in a row that
    brought no hint: between half a second and eight, more each time."""
    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(refusals, 10))
    return BACKOFF_FIRST_S + (ceiling_s - BACKOFF_FIRST_S) * chance


@dataclass(slots=True, kw_only=True)
class Effort:
    """What was tried so far for one flight. ``retry_after_sent``: whether an attempt that may
    have been billed is followed by another."""

    attempts_left: int
    routes_left: int
    retry_after_sent: bool = True
    tries_here: int = 0
    unknown_outcomes: int = 0

    def starts(self) -> None:
        self.attempts_left -= 1
        self.tries_here += 1

    def moves_on(self) -> None:
        self.routes_left -= 1
        self.tries_here = 0

    def after(
        self,
        failure: AttemptFailed,
        *,
        was_heard: bool,
        time_left_s: float,
        chance: float,
        granted: Callable[[], bool],
        refused_in_row: int = 0,
    ) -> Decision:
        """Decide what follows a failure. ``time_left_s`` is the most patient caller's;
        ``granted`` takes leave from the budget of retries. ``refused_in_row``: how often the
        limit's calls, of anybody, were told "too many" without an answer in between."""
        if failure.outcome is Outcome.UNKNOWN:
            self.unknown_outcomes += 1
            if not self.retry_after_sent:
                return GiveUp()
        if was_heard or failure.verdict in (Verdict.REFUSED, Verdict.TOO_LONG):
            return GiveUp()
        onward: Decision = NextRoute() if self.routes_left > 0 else GiveUp()
        if self.attempts_left <= 0 or self.unknown_outcomes > 1:
            return GiveUp()
        if failure.verdict in (Verdict.CLOSED, Verdict.MODEL_GONE):
            return onward
        hintless = failure.status == _TOO_MANY and failure.retry_after_s is None
        if hintless and self.tries_here > 1 and refused_in_row <= self.tries_here:
            # Nobody else was refused: it is this call that never fits, whenever it comes.
            return onward
        if self.routes_left > 0 and self.attempts_left <= self.routes_left:
            return NextRoute()
        delay_s = failure.retry_after_s
        if delay_s is None:
            more = _OVERLOADED_TRIES if failure.kind == "overloaded" else 0
            delay_s = backoff_s(self.tries_here + more, chance=chance)
        if delay_s >= time_left_s:
            return onward
        # What was told to come later is paced by its limit, which is closed for all till then.
        paced = failure.status == _TOO_MANY
        return Again(delay_s) if paced or granted() else onward
