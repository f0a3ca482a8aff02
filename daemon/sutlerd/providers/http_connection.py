"""One HTTP/1.1 connection to a provider, one exchange at a time, parsed by llhttp.

What belongs here: framing of answers and its limits, and what the end of a connection means
for the exchange under way. Never here: choosing connections, time limits, what a status means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import cast

from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.failures import bad_body, lost
from sutlerd.providers.http_exchange import EnoughRead, Exchange
from sutlerd.providers.transport import MAX_HEAD_BYTES

#: Interim answers (100 Continue, 103 Early Hints) before the real one.
_MAX_INTERIM = 16


class State(Enum):
    IDLE = "idle"
    BUSY = "busy"
    CLOSED = "closed"


class HttpConnection(asyncio.Protocol):
    """``where`` names the host in messages; ``on_closed`` is told once, at the very end.

    Of the callbacks that llhttp makes, none raises: what is wrong is kept in ``_failure`` and
    acted upon when the parser is back, since it would wrap the exception.
    """

    def __init__(self, where: str, on_closed: Callable[[HttpConnection], None]) -> None:
        import httptools

        self.state = State.IDLE
        self.idle_since_s = 0.0
        self.transport: asyncio.Transport | None = None
        self._where = where
        self._on_closed = on_closed
        self._parser_errors = (httptools.HttpParserError, httptools.HttpParserUpgrade)
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._failure: AttemptFailed | None = None
        self._forget_head()
        self._interim = 0

    # --- what the transport asks ------------------------------------------------------

    def begin(self, exchange: Exchange, request: bytes) -> None:
        assert self.transport is not None
        self.state = State.BUSY
        self._exchange = exchange
        self.transport.write(request)

    def fail(self, failure: AttemptFailed) -> None:
        """End the exchange under way with a failure, and the connection with it."""
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.fail(failure)

    def abort(self) -> None:
        self.state = State.CLOSED
        self._exchange = None
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # --- what the event loop tells ----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            # Nothing was asked: whatever this is, no answer of ours may follow it.
            self.abort()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except self._parser_errors as error:
            self._failure = self._failure or bad_body(f"{self._where} does not speak HTTP: {error}")
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._failure = self._failure or bad_body(f"headers over {MAX_HEAD_BYTES} bytes")
        if self._failure is not None:
            self.fail(self._failure)

    def eof_received(self) -> bool:
        self._end_of_input(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_of_input(exc)
        self.state = State.CLOSED
        self._on_closed(self)

    def _end_of_input(self, exc: Exception | None) -> None:
        self.state = State.CLOSED
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if not self._has_head:
            how = "closed" if exc is None else "reset"
            message = f"{self._where} {how} the connection before its answer"
            exchange.fail(lost("reset", message))
        elif exc is None and self._ends_with_connection:
            _end(exchange)
        else:
            how = "closed" if exc is None else "reset"
            kind = "cut" if exc is None else "reset"
            exchange.fail(lost(kind, f"{self._where} {how} the connection within its answer"))

    # --- what the parser tells --------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._exchange is None and self._failure is None:
            self._failure = bad_body(f"{self._where} answered more than it was asked")
        self._forget_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # trailers
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEAD_BYTES:
            self._failure = self._failure or bad_body(f"headers over {MAX_HEAD_BYTES} bytes")
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM or status == 101:
                self._failure = self._failure or bad_body(f"{self._where} never came to answer")
            return
        self._has_head = True
        headers = self._headers
        self._ends_with_connection = (
            "content-length" not in headers and "transfer-encoding" not in headers
        )
        exchange = self._exchange
        if exchange is not None and self._failure is None:
            try:
                exchange.on_head(status, headers)
            except AttemptFailed as failure:
                self._failure = failure

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and self._failure is None:
            try:
                exchange.on_body(data)
            except AttemptFailed as failure:
                self._failure = failure
            except EnoughRead:
                self._exchange = None
                self.abort()
                exchange.on_end()

    def on_message_complete(self) -> None:
        if not self._has_head or self._failure is not None:
            return
        exchange, self._exchange = self._exchange, None
        keeps = self._parser.should_keep_alive() and not self._ends_with_connection
        self._interim = 0
        if exchange is not None and not _end(exchange):
            keeps = False
        if keeps and self.state is State.BUSY:
            self.state = State.IDLE
        else:
            self.abort()

    def _forget_head(self) -> None:
        self._headers: dict[str, str] = {}
        self._header_bytes = self._head_bytes = 0
        self._has_head = False
        self._ends_with_connection = False


def _end(exchange: Exchange) -> bool:
    """Tell an exchange that its answer is over; say whether it was a whole one."""
    try:
        exchange.on_end()
    except AttemptFailed as failure:
        exchange.fail(failure)
        return False
    return True
