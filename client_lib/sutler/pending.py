"""Who waits for an answer, and what came of it, over all tries of a call.

Whoever reads from a connection delivers into these; whoever waits takes from them. They do
no I/O and hold no lock; both clients build on them.

What can come, by kind. ``CHUNK``: a piece of a stream, the chunk's object. ``RESULT``: the
result. ``ERROR``: the error object; without an id it is about the connection. ``GARBAGE``:
what came is not the protocol, and nothing is read after it; what it was, in words.
"""

from time import monotonic

from sutler.errors import Overloaded, RateLimited, ShuttingDown, SutlerError, Timeout, from_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any, Dict, Optional, Union

    from sutler.calls import Call
    from sutler.tries import Tries


CHUNK, RESULT, ERROR, GARBAGE = range(4)

#: The daemon's own answer that the time is over says more than ours: it gets a head start.
GRACE_S = 0.25


class Expired(Exception):
    """The deadline passed while a call waited."""


class Lost:
    """How a connection ended: a reason for people, and the daemon's last words if it had any.

    ``words`` is the error object that it sent about the connection itself. ``ours``: this
    process broke it off, so it says nothing about the daemon.
    """

    __slots__ = ("ours", "reason", "words")

    def __init__(
        self, reason: str, words: "Optional[Dict[str, Any]]" = None, *, ours: bool = False
    ) -> None:
        self.reason = reason
        self.words = words
        self.ours = ours


class Waiter:
    """Somebody who waits on a link. ``ready``: there is something to take.

    ``gate`` is the lock that a thread sleeps on; it exists once a thread had to.
    """

    # Defaults of the class, so that making one costs little.
    gate: "Optional[LockType]" = None
    ready: bool = False


class Pending(Waiter):
    """A request that is to be answered: in the end ``ready``, with a result or a failure.

    ``failure`` is a wire's error object, or how the connection ended; ``sent`` says whether
    any byte of the request may have reached the daemon.
    """

    number: int = 0
    result: "Any" = None
    failure: "Union[Dict[str, Any], Lost, None]" = None
    sent: bool = False

    def renew(self) -> None:
        """Forget everything about the last try."""
        self.ready = self.sent = False
        self.number = 0
        self.result = self.failure = None

    def deliver(self, kind: int, payload: "Any") -> Waiter:
        """Take an event and give whom to wake."""
        if kind == RESULT:
            self.result = payload
            self.ready = True
        elif kind == ERROR:
            self.failure = payload
            self.ready = True
        return self

    def lose(self, lost: Lost) -> Waiter:
        if not self.ready:
            self.failure = lost
            self.ready = True
        return self


class Asked(Pending):
    """One call over all of its tries. ``deadline_s`` is on the monotonic clock.

    ``delivered``: the caller has been given a part of the answer. ``patient``: what is too
    busy just now is asked again within the call's time, instead of being an error.
    """

    delivered: bool = False
    patient: bool = False
    tries: "Optional[Tries]" = None

    def __init__(self, call: "Call", reconnect_s: float) -> None:
        self.call = call
        self.deadline_s = monotonic() + call.timeout_s + GRACE_S
        self.reconnect_s = reconnect_s

    def params(self) -> "Dict[str, Any]":
        """Give what is to be sent now, with the time that is left."""
        params = self.call.params
        if self.call.tells_time:
            left_s = self.call.timeout_s
            if self.tries is not None:
                left_s = max(0.001, round(self.deadline_s - GRACE_S - monotonic(), 3))
            params["timeout_s"] = left_s
        return params

    def pause_s(self) -> float:
        """Give how long to wait before the next try; raises the call's error if there is none."""
        failure, now_s = self.failure, monotonic()
        if isinstance(failure, Lost):
            try:
                return self._all_tries().lost(
                    failure,
                    now_s,
                    sent=self.sent,
                    repeatable=self.call.repeatable,
                    delivered=self.delivered,
                )
            except Overloaded as full:  # said at the door
                if not self.patient:
                    raise
                return self._all_tries().postponed(full, now_s)
        error = from_wire(failure or {})
        if isinstance(error, ShuttingDown):
            self.let_go()
            if not self.delivered:
                return self._all_tries().refused(error, now_s)
        elif self.patient and isinstance(error, (Overloaded, RateLimited)):
            return self._all_tries().postponed(error, now_s)
        raise error

    def reconnect_pause_s(self, error: SutlerError) -> float:
        """Like `pause_s`, after an attempt to connect: the first of all is not repeated."""
        if self.tries is None:
            raise error
        return self.tries.refused(error, monotonic())

    def let_go(self) -> None:
        """Ask nothing more on this connection: the daemon is leaving."""
        raise NotImplementedError

    def too_late(self) -> Timeout:
        return Timeout(
            "no answer to %s within %.6g s" % (self.call.method, self.call.timeout_s),
            request_id=self.call.params.get("request_id"),
        )

    def _all_tries(self) -> "Tries":
        if self.tries is None:
            from sutler.tries import Tries

            self.tries = Tries(self.deadline_s, self.reconnect_s)
        return self.tries
