"""One connection of one process, shared by all of its threads, with no thread of its own.

Whichever waiting thread holds the reader's role polls and reads for all. Whoever is
interrupted inside a read or a line breaks the connection, because bytes may be lost.
Nothing here connects, sends again or knows what is asked.
"""

from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll
from time import monotonic

from sutler.exchange import Exchange, line
from sutler.pending import Expired, Lost
from sutler.table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import Any, Dict, List, Optional

    from sutler.pending import Pending, Waiter

_RECV_BYTES = 64 * 1024  # above 128 KiB each buffer would be mapped and unmapped anew
_SEND_FLAGS = 0x4000 | 0x40  # MSG_NOSIGNAL | MSG_DONTWAIT, without importing socket for them
_SHUT_RDWR = 2
#: How long a writer whose peer does not read leaves the reading to others before it looks
#: whether anybody still does it.
_JAM_S = 0.05
_MAX_WAIT_S = 3600.0


class Link:
    __slots__ = (
        "_cancels",
        "_exchange",
        "_poll",
        "_rest",
        "_socket",
        "_table",
        "_tearing_read",
        "_tearing_write",
    )

    def __init__(self, connected: "socket") -> None:
        connected.setblocking(False)
        self._socket = connected
        self._poll = poll()
        self._poll.register(connected, POLLIN)
        self._exchange = Exchange()
        self._table = Table()
        self._cancels: "List[int]" = []
        self._rest = b""
        self._tearing_read = False
        self._tearing_write = False

    @property
    def usable(self) -> bool:
        return not self._table.closing

    def send(
        self, pending: "Pending", method: str, params: "Dict[str, Any]", deadline_s: float
    ) -> None:
        """Send a request. A connection that is over shows in ``pending.failure``, not here.

        Raises InvalidRequest (nothing is sent) and Expired; after Expired, and after whatever
        interrupts this or `wait`, the caller calls `abandon`.
        """
        number = self._exchange.new_id()
        encoded = line(number, method, params)
        pending.number = number
        writes = self._table.add(pending)
        if writes is None:
            return
        while not writes:
            _sleep(pending, deadline_s)
            writes = self._table.take_writing(pending)
        if self._table.down is None:
            if self._cancels or self._rest:
                encoded = self._owed() + encoded
            self._write(encoded, pending, deadline_s)
        self._table.leave_writing()
        if self._table.closing:
            self._dispose()

    def wait(self, waiter: "Waiter", deadline_s: float) -> None:
        """Return when the waiter is ready; raises Expired, and then it may wait again.

        It must have a request open, or have been told how that ended.
        """
        try:
            while not waiter.ready:
                if self._table.take_reading(waiter):
                    self._read_until_ready(waiter, deadline_s)
                    self._table.leave_reading()
                    if self._table.closing:
                        self._dispose()
                elif not waiter.ready:
                    _sleep(waiter, deadline_s)
        except Expired:
            self._table.withdraw(waiter)
            raise

    def abandon(self, pending: "Pending", waiter: "Optional[Waiter]" = None) -> None:
        """Give up a request, whatever it was doing; cancel it in the daemon. Idempotent.

        ``waiter`` is who waited for it, if that is somebody else.
        """
        was_open, was_reading, was_writing = self._table.drop(pending, waiter or pending)
        if (was_reading and self._tearing_read) or (was_writing and self._tearing_write):
            self.fail("a call was interrupted in the middle of a line")
        elif self._table.down is not None:
            self._dispose()
        elif was_open and pending.sent:
            self._cancels.append(pending.number)
            self._send_cancels(pending)

    def forget_later(self, pending: "Pending") -> None:
        """Cancel a request with the next line that is sent; takes no lock.

        For finalizers, which may run while this very thread holds the table's lock.
        """
        self._cancels.append(pending.number)

    def retire(self) -> None:
        """Take no new requests; close when the last one under way has ended."""
        self._table.closing = True
        self._dispose()

    def fail(self, reason: str) -> None:
        """Break off the connection: every open request is lost. Idempotent."""
        self._table.end(Lost(reason, ours=True))
        self._dispose()

    def forsake(self) -> None:
        """Drop an inherited connection in a forked child: close the copy, disturb nobody."""
        from os import close

        descriptor = self._socket.detach()
        if descriptor >= 0:
            close(descriptor)

    def _read_until_ready(self, waiter: "Waiter", deadline_s: float) -> None:
        while not waiter.ready:
            remaining_s = deadline_s - monotonic()
            # A process that was stopped past the deadline may find its answer waiting.
            if self._poll.poll(_ms(remaining_s)):
                self._read()
            if remaining_s <= 0 and not waiter.ready:
                raise Expired

    def _read(self) -> None:
        """Read once and hand out what came. Only the reader calls it."""
        self._tearing_read = True
        try:
            data = self._socket.recv(_RECV_BYTES)
        except BlockingIOError:
            self._tearing_read = False
            return
        except OSError as error:
            self._table.end(Lost("the connection broke: %s" % error.strerror))
            return
        if not data:
            self._table.end(Lost("the daemon closed the connection"))
            return
        events = self._exchange.receive(data)
        if events:
            self._table.hand_out(events)
        self._tearing_read = False

    def _write(self, data: bytes, pending: "Pending", deadline_s: float) -> None:
        """Write a whole line. Only the writer calls it."""
        pending.sent = True
        self._tearing_write = True
        try:
            done = self._socket.send(data, _SEND_FLAGS)
        except BlockingIOError:
            done = 0
        except OSError:
            # What the daemon said before it left can still be read: reading finds the end.
            pending.sent = self._tearing_write = False
            return
        if done < len(data):
            self._write_rest(memoryview(data)[done:], pending, deadline_s)
        self._tearing_write = False

    def _write_rest(self, rest: memoryview, pending: "Pending", deadline_s: float) -> None:
        """Go on with a line that the socket did not take at once, reading meanwhile.

        A daemon that is owed too much stops reading until somebody takes its answers.
        """
        while rest and self._table.down is None:
            remaining_s = deadline_s - monotonic()
            if remaining_s <= 0:
                raise Expired
            reads = self._table.try_role(pending, writing=False)
            waits = poll()
            waits.register(self._socket, POLLOUT | (POLLIN if reads else 0))
            for _, what in waits.poll(_ms(remaining_s if reads else min(remaining_s, _JAM_S))):
                if reads and what & (POLLIN | POLLHUP | POLLERR):
                    self._read()
            if reads:
                self._table.leave_reading()
            try:
                rest = rest[self._socket.send(rest, _SEND_FLAGS) :]
            except BlockingIOError:
                continue
            except OSError:
                return

    def _owed(self) -> bytes:
        """Take what is to be sent before any other line. Only the writer calls it."""
        data, self._rest = self._rest, b""
        while self._cancels:
            number = self._cancels.pop()
            self._table.forget(number)
            data += line(self._exchange.new_id(), "cancel", {"id": number})
        return data

    def _send_cancels(self, pending: "Pending") -> None:
        """Send cancellations if that can be done at once; else they go before the next line."""
        if not self._table.try_role(pending, writing=True):
            return
        data = self._owed()
        try:
            self._rest = data[self._socket.send(data, _SEND_FLAGS) :]
        except BlockingIOError:
            self._rest = data
        except OSError:
            self._rest = b""
        self._table.leave_writing()
        if self._table.closing:
            self._dispose()

    def _dispose(self) -> None:
        """Close the socket once the connection is over and nobody uses its descriptor."""
        over, unused = self._table.over()
        if over and unused:
            self._socket.close()
        elif over:
            try:
                self._socket.shutdown(_SHUT_RDWR)  # wakes the reader in its poll
            except OSError:
                return  # the other side was quicker


def _sleep(waiter: "Waiter", deadline_s: float) -> None:
    """Sleep until called; a gate is open if the call came first."""
    remaining_s = deadline_s - monotonic()
    if remaining_s <= 0:
        raise Expired
    if waiter.gate is not None:
        waiter.gate.acquire(True, min(remaining_s, _MAX_WAIT_S))


def _ms(seconds: float) -> int:
    if 0.0 < seconds < _MAX_WAIT_S:
        return int(seconds * 1000) + 1
    return int(min(max(0.0, seconds), _MAX_WAIT_S) * 1000) + 1
