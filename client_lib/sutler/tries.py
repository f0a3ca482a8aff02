"""Whether a call may be sent again, and after how long. Pure: the clock and chance come in.

A call that a daemon may have taken is sent again once, under its old request id; one that a
daemon surely did not take (it was draining, or could not be reached while it restarts) is
sent again until the time allowed for reconnecting has passed.
"""

from sutler.errors import ConnectionLost, DaemonUnavailable, InvalidRequest, ShuttingDown, from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from sutler.errors import SutlerError
    from sutler.pending import Lost

#: Waits are drawn between 0 and a step that doubles, so that many clients of one daemon do
#: not come back in the same instant.
_FIRST_STEP_S, _LAST_STEP_S = 0.04, 1.0


class Tries:
    """The tries of one call. Every method gives seconds to wait, or raises the call's error.

    ``chance`` gives a number from 0 up to 1.
    """

    __slots__ = ("_chance", "_deadline_s", "_lost", "_reconnect_s", "_step_s", "_until_s")

    def __init__(
        self, deadline_s: float, reconnect_s: float, chance: "Optional[Callable[[], float]]" = None
    ) -> None:
        self._deadline_s = deadline_s
        self._reconnect_s = reconnect_s
        self._chance = random_share if chance is None else chance
        self._step_s = _FIRST_STEP_S
        self._until_s: "Optional[float]" = None
        self._lost = False

    def refused(self, error: "SutlerError", now_s: float) -> float:
        """The daemon answered with an error, or could not be reached."""
        if isinstance(error, ShuttingDown):
            return self._after(error, now_s)
        if isinstance(error, DaemonUnavailable) and self._until_s is not None:
            return self._after(error, now_s)
        raise error

    def postponed(self, error: "SutlerError", now_s: float) -> float:
        """The daemon or a provider has too much to do just now, and the caller has time."""
        delay_s = self._delay_s(error)
        if not error.retryable or now_s + delay_s >= self._deadline_s:
            raise error
        return delay_s

    def lost(
        self,
        lost: "Lost",
        now_s: float,
        *,
        sent: bool = True,
        repeatable: bool = True,
        delivered: bool = False,
    ) -> float:
        """The connection ended first.

        ``sent``: the daemon may have seen the call. ``delivered``: the caller has already
        been given a part of the answer.
        """
        error: "SutlerError" = ConnectionLost(
            "%s before the answer was whole" % lost.reason, retryable=repeatable or not sent
        )
        if lost.words is not None:
            words = from_wire(lost.words)
            if isinstance(words, ShuttingDown):
                sent = False
            elif not isinstance(words, InvalidRequest):
                raise words
            # Whose line the daemon could not read is not known: each gets a second try.
            error = words
        if delivered or (sent and not repeatable):
            raise error
        if sent and not lost.ours:
            if self._lost:
                raise error
            self._lost = True
        return self._after(error, now_s)

    def _after(self, error: "SutlerError", now_s: float) -> float:
        if self._until_s is None:
            self._until_s = min(self._deadline_s, now_s + self._reconnect_s)
        delay_s = self._delay_s(error)
        if now_s + delay_s >= self._until_s:
            raise error
        return delay_s

    def _delay_s(self, error: "SutlerError") -> float:
        delay_s = max(self._chance() * self._step_s, error.retry_after_s or 0.0)
        self._step_s = min(self._step_s * 2, _LAST_STEP_S)
        return delay_s


def random_share() -> float:
    """Give a number from 0 up to 1."""
    from os import urandom

    return int.from_bytes(urandom(4), "big") / 2**32
