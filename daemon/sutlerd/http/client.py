"""One HTTP client's connection, between its transport and the HTTP library's protocol.

To the daemon it is a connection like those of the socket: it has a caller, calls under way,
bytes it makes the daemon hold, and is cut by the same rules. The library reads and writes the
HTTP in between; nothing of a request is understood here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from sutlerd.domain.call import Labels
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, Cancelled
from sutlerd.http.house import House
from sutlerd.ledger.rows import payer_of
from sutlerd.system.peers import Presence, presence
from sutlerd.system.progress import Progress

_NO_LABELS = Labels()
#: A request that came together with the end of input has begun by then, or is none.
_BEGINS_WITHIN_S = 0.05
#: As much of a request as tells its path.
_HEAD_BYTES = 256


class Inner(Protocol):
    """The HTTP library's side of a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def close(self) -> None: ...


class Open(Protocol):
    """A call under way for this client."""

    held_bytes: int

    def abandon(self) -> None: ...

    def cancel(self, error: CallError) -> None: ...


class Client(asyncio.Protocol):
    """``caller`` is who the kernel named; over TCP nobody yet, until a token says who asks.

    ``over_tcp`` is true for a TCP connection. ``pending`` are its calls under way.
    """

    def __init__(self, house: House, caller: Caller, *, over_tcp: bool) -> None:
        self.house = house
        self.caller = caller
        self.over_tcp = over_tcp
        self.pending: dict[Open, None] = {}
        self.buffered_bytes = 0
        self.body_bytes = 0
        self.written_bytes = 0
        self.serving = False
        #: How the bytes begin that brought the request served last, or one nobody can read.
        self.head = b""
        self._callers: dict[int, Caller] = {}
        self._hit_places: dict[int, str] = {}
        self._transport: asyncio.Transport | None = None
        self._inner: Inner | None = None
        self._make: Callable[[Client], Inner] | None = None
        self._progress = Progress()
        self._half_closed = False
        self._closing = False
        #: Whether bytes have come that may be a request which nobody has begun to serve.
        self._unheard = False

    def wear(self, make: Callable[[Client], Inner]) -> None:
        """Take the library's protocol, made when the transport is there."""
        self._make = make

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self._make is not None
        self._transport = cast(asyncio.Transport, transport)
        self._inner = self._make(self)
        self._inner.connection_made(transport)
        if self._closing:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if not self.serving:
            if not self._unheard:
                self.head = data[:_HEAD_BYTES]
            self._unheard = True
        if self._inner is not None and not self._half_closed:
            self._inner.data_received(data)

    def eof_received(self) -> bool:
        """End of input is not the end of the client: it still gets the answer it waits for.

        Over TCP nobody can tell the two apart, and those who close are many.
        """
        gone = self.over_tcp or presence(self.descriptor()) is Presence.GONE
        if gone or not (self.serving or self._unheard):
            return False
        self._half_closed = True
        if self._inner is not None:
            self._inner.close()
        if not self.serving:
            asyncio.get_running_loop().call_later(_BEGINS_WITHIN_S, self._close_if_idle)
        return True

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        inner, self._inner = self._inner, None
        self._transport = None
        if inner is not None:
            inner.connection_lost(exc)
        for call in list(self.pending):
            call.abandon()
        self.account()
        self.house.left(self)

    # -- for requests under way

    def served(self, *, begins: bool) -> None:
        """Note that a request is begun, or done."""
        self.serving = begins
        self._unheard = False

    def same_caller(self, caller: Caller) -> Caller:
        """Give one object for each uid of this connection: fairness goes by it."""
        known = self._callers.get(caller.uid)
        if known != caller or known is None:
            known = self._callers[caller.uid] = caller
        return known

    def share(self, scope: str) -> None:
        """Share answers with another scope from now on: who asks is looked up anew."""
        self._hit_places.clear()

    def hit_place(self, caller: Caller) -> str:
        """Give the place in the memo of hits of requests by this caller."""
        place = self._hit_places.get(caller.uid)
        if place is None:
            scope = self.house.resolver.tenant(caller)
            place = repr((scope, payer_of(caller, _NO_LABELS)))
            self._hit_places[caller.uid] = place
        return place

    def holds_body(self, size_bytes: int) -> None:
        """Account for a request's body that is held; 0 when it is not any more."""
        self.body_bytes = size_bytes
        self.account()

    def wrote(self, size_bytes: int) -> None:
        """Note what was handed to the transport, which tells how much of it was taken."""
        self.written_bytes += size_bytes
        self.account()

    # -- for those who watch over connections

    def owed_bytes(self) -> int:
        """Count what was not taken yet: what the transport has, and what waits for it."""
        transport = self._transport
        unsent = transport.get_write_buffer_size() if transport is not None else 0
        return unsent + sum(call.held_bytes for call in self.pending)

    @property
    def wants_polling(self) -> bool:
        transport = self._transport
        return transport is not None and (self._half_closed or not transport.is_reading())

    def stalled_for_s(self, passed_s: float) -> float:
        """Tell for how long the client has taken nothing of what it is owed."""
        if self._transport is None:
            return 0.0
        self.account()
        return self._progress.stalled_for_s(
            written_bytes=self.written_bytes,
            owed_bytes=self._transport.get_write_buffer_size(),
            passed_s=passed_s,
        )

    def account(self) -> None:
        change = self.measure()
        if change:
            self.house.buffered(change)

    def measure(self) -> int:
        """Bring ``buffered_bytes`` up to date, and give the change."""
        before = self.buffered_bytes
        held = self.body_bytes + self.owed_bytes() if self._transport is not None else 0
        self.buffered_bytes = held
        return held - before

    def make_room(self, error: CallError) -> None:
        self.cut(error.message)

    def descriptor(self) -> int:
        assert self._transport is not None
        sock: socket.socket = self._transport.get_extra_info("socket")
        return sock.fileno()

    def cut(self, why: str) -> None:
        """Close at once, without what is owed."""
        if self._transport is not None:
            self.house.tally.cut_slow += 1
            self.house.log.event(
                "warning", "client_cut", uid=self.caller.uid, pid=self.caller.pid, why=why
            )
            self.gone()

    def gone(self) -> None:
        """Take note of a client that is not there any more, or not for us."""
        if self._transport is not None:
            self._transport.abort()

    def _close_if_idle(self) -> None:
        if not self.serving and self._transport is not None:
            self._transport.close()

    def close(self, error: CallError | None = None) -> None:
        """Close after what is owed; calls under way end with ``error``."""
        self._closing = True
        for call in list(self.pending):
            call.cancel(error or Cancelled("the client has left"))
        if self._inner is not None:
            self._inner.close()
        if not self.serving and self._transport is not None:
            self._transport.close()
