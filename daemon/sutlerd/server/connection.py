"""One client's connection: lines in, lines out, never more than its limits hold.

A cache hit is answered here, in the read callback, with no task made. Reading pauses, before
anything is refused, while too much is under way or owed. End of input is not the end of the
client: what it is owed is still sent. Who asks is the caller the kernel named at connect.
"""

from __future__ import annotations

import asyncio
import socket
import traceback
from enum import Enum
from typing import Any, cast

from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, InternalError, InvalidRequest, ParseError
from sutlerd.ledger.rows import payer_of
from sutlerd.pipeline.resolve import read_labels
from sutlerd.server.dispatch import dispatch
from sutlerd.server.framing import LineTooLong
from sutlerd.server.hub import Hub
from sutlerd.server.inbox import Inbox
from sutlerd.server.pending import Pending
from sutlerd.server.replies import error_line
from sutlerd.server.requests import BadRequest, Request, RequestId, decode
from sutlerd.system.peers import Presence, presence
from sutlerd.system.progress import Progress


class State(Enum):
    CONNECTING = "connecting"
    OPEN = "open"
    #: The client has shut its sending half and is owed answers.
    HALF_CLOSED = "half_closed"
    #: What was written is still sent, nothing is read or begun.
    CLOSING = "closing"
    LOST = "lost"


class Connection(asyncio.Protocol):
    """``labels`` is what ``hello`` claimed; it labels calls and allows nothing. ``hit_place``
    names scope and payer for the way of hits, ``line_bytes`` is the length of the line that is
    being worked on."""

    __slots__ = (
        "_inbox",
        "_labels",
        "_owed_chunk_bytes",
        "_owed_paused",
        "_progress",
        "_reading_paused",
        "_transport",
        "_working",
        "_written_bytes",
        "buffered_bytes",
        "caller",
        "hit_place",
        "hub",
        "line_bytes",
        "loop",
        "pending",
        "scope",
        "state",
    )

    def __init__(self, hub: Hub, caller: Caller, loop: asyncio.AbstractEventLoop) -> None:
        self.hub = hub
        self.caller = caller
        self.loop = loop
        self.state = State.CONNECTING
        self._labels: dict[str, Any] = {}
        self.share(hub.resolver.tenant(caller))
        self.pending: dict[RequestId | int, Pending] = {}
        self.buffered_bytes = 0
        self._progress = Progress()
        self._written_bytes = 0
        self._inbox = Inbox(max_line_bytes=hub.limits.line_bytes)
        self.line_bytes = 0
        self._owed_chunk_bytes = 0
        self._owed_paused = False
        self._reading_paused = False
        self._working = False

    @property
    def labels(self) -> dict[str, Any]:
        return self._labels

    @labels.setter
    def labels(self, labels: dict[str, Any]) -> None:
        self._labels = labels
        self.share(self.scope)

    def share(self, scope: str) -> None:
        """Share answers with this scope from now on."""
        self.scope = scope
        # Whatever the labels are, no two spell the same.
        self.hit_place = repr((scope, payer_of(self.caller, read_labels(self._labels))))

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        limits = self.hub.limits
        self._transport.set_write_buffer_limits(
            high=limits.owed_pause_bytes, low=limits.owed_resume_bytes
        )
        if self.state is State.CLOSING:
            self._transport.close()
        else:
            self.state = State.OPEN

    def data_received(self, data: bytes) -> None:
        if self.state is not State.OPEN:
            return
        line = self._inbox.whole_line(data)
        if line is not None and not self._is_full():
            # One request in one read, as nearly all are: nothing has to be kept for it.
            self._on_line(line)
            if self.pending or self._owed_paused:
                self._steer_reading()
            return
        try:
            self._inbox.feed(data)
        except LineTooLong as too_long:
            self._work()
            self.close_for(InvalidRequest(f"{too_long}: the connection is closed"))
            return
        self._work()
        self.account()

    def eof_received(self) -> bool:
        if self.state is State.OPEN:
            if presence(self.descriptor()) is Presence.GONE:
                return False
            self.state = State.HALF_CLOSED
            if self._inbox.has_unfinished:
                unread = InvalidRequest("the last line was not read: it did not end in a newline")
                self.send(error_line(None, unread))
            self._close_if_done()
        return self.state is not State.LOST

    def pause_writing(self) -> None:
        self._owed_paused = True
        self._steer_reading()

    def resume_writing(self) -> None:
        self._owed_paused = False
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = State.LOST
        self._inbox.drop()
        for pending in list(self.pending.values()):
            pending.abandon()
        self.account()
        self.hub.left(self)

    # -- for requests under way

    def begins(self, pending: Pending) -> None:
        """Take up a request that does not end at once. Raises ``Overloaded``."""
        pending.line_bytes = self.line_bytes
        self.hub.call_opened(self.caller, self.line_bytes)
        self.pending[self._place(pending)] = pending

    def ended(self, pending: Pending, line: bytes | None) -> None:
        """Send a request's final line, once; ``None`` for a client that is gone."""
        place = self._place(pending)
        if self.pending.get(place) is not pending:
            return  # it has ended, and its id may be another's by now
        del self.pending[place]
        self.hub.call_ended(self.caller, pending.line_bytes)
        if line is not None:
            self.send(line)
        if self._inbox.lines and not self._working:
            self._work()
        else:
            self._steer_reading()
        self._close_if_done()

    def cancel_request(self, request_id: int | str) -> bool:
        """End a request of this connection with ``cancelled``; false if none has this id."""
        pending = self.pending.get(request_id)
        if pending is None:
            return False
        pending.cancel()
        return True

    def send(self, line: bytes) -> None:
        transport = self._transport if self._is_connected else None
        if transport is None or transport.is_closing():
            return
        self._written_bytes += len(line)
        transport.write(line)
        # What ``account`` does, written out: this is on the way of every hit.
        held_bytes = self._inbox.held_bytes + transport.get_write_buffer_size()
        change = held_bytes - self.buffered_bytes
        self.buffered_bytes = held_bytes
        if change:
            self.hub.buffered(change, self)

    def send_chunks(self, lines: bytes) -> None:
        """Send pieces of a stream; a client that is owed too much of them is cut.

        Whole replies do not count, however large: a client cannot ask for less of one.
        """
        limit_bytes = self.hub.limits.owed_max_bytes
        if not self._owed_paused:
            self._owed_chunk_bytes = 0
        elif self._owed_chunk_bytes > limit_bytes and self.owed_bytes() > limit_bytes:
            self.cut("it is owed more than the limit")
            return
        self._owed_chunk_bytes += len(lines)
        self.send(lines)

    # -- for those who watch over connections

    def owed_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._is_connected else 0

    @property
    def wants_polling(self) -> bool:
        """Whether the event loop would not tell that this client is gone."""
        return self.state is State.HALF_CLOSED or self._reading_paused

    def stalled_for_s(self, passed_s: float) -> float:
        """Tell for how long the client has taken nothing of what it is owed.

        ``passed_s`` is the time since this was asked before.
        """
        if self.buffered_bytes:
            self.account()
        return self._progress.stalled_for_s(
            written_bytes=self._written_bytes,
            owed_bytes=self.owed_bytes() if self.buffered_bytes else 0,
            passed_s=passed_s,
        )

    def account(self) -> None:
        """Tell the hub what this client makes the daemon hold."""
        change = self.measure()
        if change:
            self.hub.buffered(change)

    def measure(self) -> int:
        """Bring ``buffered_bytes`` up to date, and give the change."""
        before = self.buffered_bytes
        self.buffered_bytes = self._inbox.held_bytes + self.owed_bytes()
        return self.buffered_bytes - before

    def make_room(self, error: CallError) -> None:
        """Give back what this client makes the daemon hold, and tell it why if it listens."""
        if self._inbox.held_bytes > self.owed_bytes():
            self._inbox.drop()
            self.close_for(error)
        else:
            self.cut(error.message)

    def descriptor(self) -> int:
        sock: socket.socket = self._transport.get_extra_info("socket")
        return sock.fileno()

    def cut(self, why: str) -> None:
        """Close at once, without what is owed: the client does not take it."""
        if self._is_connected:
            self.hub.tally.cut_slow += 1
            self.hub.log.event(
                "warning", "client_cut", uid=self.caller.uid, pid=self.caller.pid, why=why
            )
            self.gone()

    def gone(self) -> None:
        """Take note of a client that is not there any more, or not for us."""
        if self._is_connected:
            self._transport.abort()
            # What it was owed is given up now; the rest follows when the loop calls back.
            self.state = State.LOST
            self._inbox.drop()
            self.account()

    def close_for(self, error: CallError) -> None:
        """Tell why, under no request's id, and close. Calls under way are cancelled."""
        if self.state in (State.CLOSING, State.LOST):
            return
        self.hub.tally.failed(error.type)
        self.send(error_line(None, error))
        self.close()

    def close(self, error: CallError | None = None) -> None:
        """Close after what was written is sent; ``error`` is told to the calls under way."""
        if self.state in (State.CLOSING, State.LOST):
            return
        connected, self.state = self._is_connected, State.CLOSING
        self._inbox.drop()
        for pending in list(self.pending.values()):
            if error is None:
                pending.abandon()
            else:
                pending.cancel(error)
        if connected:
            self._transport.close()

    # -- inside

    @property
    def _is_connected(self) -> bool:
        return self.state not in (State.CONNECTING, State.LOST)

    def _work(self) -> None:
        self._working = True
        while self._inbox.lines and not self._is_full() and self.state is not State.LOST:
            self._on_line(self._inbox.next_line())
        self._working = False
        self._steer_reading()
        self._close_if_done()

    def _on_line(self, line: bytes) -> None:
        try:
            request = decode(line)
        except ParseError as error:
            self.hub.tally.failed(error.type)
            self.hub.log.event(
                "info",
                "bad_line",
                uid=self.caller.uid,
                why=error.message,
                line=error.data.pop("line_start", None),
            )
            self.send(error_line(None, error))
            return
        except BadRequest as bad:
            self.hub.tally.failed(bad.error.type)
            self.send(error_line(bad.id, bad.error))
            return
        self.line_bytes = len(line)
        try:
            dispatch(self, request)
        except Exception as error:  # noqa: BLE001 -- one request's bug is not everybody's
            self._on_bug(request, error)

    def _on_bug(self, request: Request, error: Exception) -> None:
        """Tell who asked, and the log: the event loop would close the connection instead."""
        self.hub.log.event(
            "error",
            "request_failed",
            uid=self.caller.uid,
            method=request.method[:100],
            traceback="".join(traceback.format_exception(error)),
        )
        told = InternalError(f"{type(error).__name__}: see the daemon's log")
        begun = self.pending.get(request.id) if request.id is not None else None
        if begun is not None:
            begun.cancel(told)
        else:
            self.hub.tally.failed(told.type)
            self.send(error_line(request.id, told))

    def _is_full(self) -> bool:
        return self._owed_paused or len(self.pending) >= self.hub.limits.in_flight_per_connection

    def _steer_reading(self) -> None:
        if self.state is not State.OPEN:
            return
        pause = bool(self._inbox.lines) or self._is_full()
        if pause and not self._reading_paused:
            self._transport.pause_reading()
        elif self._reading_paused and not pause:
            self._transport.resume_reading()
        self._reading_paused = pause

    def _close_if_done(self) -> None:
        if self.state is State.HALF_CLOSED and not self.pending and not self._inbox.lines:
            self.close()

    @staticmethod
    def _place(pending: Pending) -> RequestId | int:
        """Requests without an id may be many; each has a place of its own."""
        return pending.id if pending.id is not None else -id(pending) - 2**64
