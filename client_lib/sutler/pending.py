"""Who waits for an answer, and what came of it. Values that threads hand to each other.

Whoever reads from a connection delivers into these; whoever waits takes from them. They
hold no lock of the connection's and may be renewed for another try.

What can come, by kind. ``CHUNK``: a piece of a stream, the chunk's object. ``RESULT``: the
result. ``ERROR``: the error object; without an id it is about the connection. ``GARBAGE``:
what came is not the protocol, and nothing is read after it; what it was, in words.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any, Dict, Optional, Union


CHUNK, RESULT, ERROR, GARBAGE = range(4)


class Expired(Exception):
    """The deadline passed while a call waited."""


class Lost:
    """How a connection ended: a reason for people, and the daemon's last words if it had any.

    ``words`` is the error object that it sent about the connection itself.
    """

    __slots__ = ("reason", "words")

    def __init__(self, reason: str, words: "Optional[Dict[str, Any]]" = None) -> None:
        self.reason = reason
        self.words = words


class Waiter:
    """Somebody who waits on a link. ``ready``: there is something to take.

    ``gate`` is the lock that a thread sleeps on; it exists once a thread had to.
    """

    __slots__ = ("gate", "ready")

    def __init__(self) -> None:
        self.gate: "Optional[LockType]" = None
        self.ready = False


class Pending(Waiter):
    """A request that is to be answered: in the end ``ready``, with a result or a failure.

    ``failure`` is a wire's error object, or how the connection ended; ``sent`` says whether
    any byte of the request may have reached the daemon.
    """

    __slots__ = ("failure", "number", "result", "sent")

    def __init__(self) -> None:
        self.gate = None
        self.renew()

    def renew(self) -> None:
        """Forget everything about the last try."""
        self.ready = False
        self.number = 0
        self.result: "Any" = None
        self.failure: "Union[Dict[str, Any], Lost, None]" = None
        self.sent = False

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
