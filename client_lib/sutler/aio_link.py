"""One connection of one event loop: the protocol under the asyncio client.

Like `sutler.link` without threads: lines out, events in, nothing sent again.
"""

import asyncio
import os

from sutler.exchange import Exchange, line
from sutler.pending import ERROR, GARBAGE, Expired, Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional

    from sutler.aio_ask import AsyncAsk

_RECV_BYTES = 256 * 1024


class AsyncLink(asyncio.Protocol):
    """``down`` tells how it ended, if it did; a ``retired`` one takes no new requests."""

    def __init__(self, connected: "socket.socket") -> None:
        self._socket = connected
        self._exchange = Exchange()
        self._open: "Dict[int, AsyncAsk]" = {}
        self._transport: "Optional[asyncio.WriteTransport]" = None
        self._full: "List[asyncio.Future[None]]" = []
        self._paused = False
        self.down: "Optional[Lost]" = None
        self.retired = False

    @property
    def usable(self) -> bool:
        return self.down is None and not self.retired

    async def send(self, ask: "AsyncAsk", method: str, params: "Dict[str, Any]") -> None:
        """Send a request. A connection that is over shows in ``ask.failure``, not here.

        Raises InvalidRequest (nothing is sent) and Expired.
        """
        number = self._exchange.new_id()
        encoded = line(number, method, params)
        while self._paused and self.down is None:
            room = asyncio.get_running_loop().create_future()
            self._full.append(room)
            done, _ = await asyncio.wait([room], timeout=max(0.0, ask.left_s()))
            if not done:
                self._full.remove(room)
                raise Expired
        if self._transport is None or not self.usable:
            ask.lose(self.down or Lost("the connection was given up"))
            return
        ask.number = number
        ask.sent = True
        self._open[number] = ask
        self._transport.write(encoded)

    def abandon(self, ask: "AsyncAsk") -> None:
        """Give up a request and cancel it in the daemon. Idempotent."""
        if self._open.pop(ask.number, None) is None:
            return
        if self._transport is not None and self.down is None:
            self._transport.write(line(self._exchange.new_id(), "cancel", {"id": ask.number}))
        self._close_if_done()

    def retire(self) -> None:
        """Take no new requests; close when the last one under way has ended."""
        self.retired = True
        self._close_if_done()

    def fail(self, reason: str) -> None:
        """End the connection: every open request is lost. Idempotent."""
        self._end(Lost(reason))

    def forsake(self) -> None:
        """Drop a connection whose process or loop is another's: close the copy, no more."""
        descriptor = self._socket.detach()
        if descriptor >= 0:
            os.close(descriptor)

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked for its class: uvloop's transports are not asyncio's.
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        for number, kind, payload in self._exchange.receive(data):
            if number is None:
                if kind == ERROR:
                    self._end(Lost("the daemon refused the connection", payload))
                elif kind == GARBAGE:
                    self._end(Lost(payload))
                continue
            ask = self._open.get(number)
            if ask is None:
                continue  # cancelled, or asked by nobody
            ask.deliver(kind, payload)
            if ask.is_over():
                del self._open[number]
        self._close_if_done()

    def connection_lost(self, exc: "Optional[Exception]") -> None:
        if exc is not None and self.down is None:
            self._read_the_rest()
        what = "closed the connection" if exc is None else "broke the connection: %s" % exc
        self._end(Lost("the daemon " + what))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        rooms, self._full = self._full, []
        for room in rooms:
            if not room.done():
                room.set_result(None)

    # -- helpers

    def _read_the_rest(self) -> None:
        """Read what the daemon said before it left; a failed write hides it from the loop."""
        try:
            while self.down is None:
                data = self._socket.recv(_RECV_BYTES)
                if not data:
                    return
                self.data_received(data)
        except OSError:
            return

    def _end(self, lost: Lost) -> None:
        if self.down is None:
            self.down = lost
        for ask in list(self._open.values()):
            ask.lose(self.down)
        self._open.clear()
        self.resume_writing()
        if self._transport is not None:
            self._transport.abort()

    def _close_if_done(self) -> None:
        if self.retired and not self._open and self.down is None:
            self._end(Lost("the connection was given up"))
