"""One request's answer as it arrives: whole, or piece by piece. Fed by ``http_connection``.

Bytes that have arrived are delivered before the failure that came after them. Nothing here
touches a socket: pausing goes through two callables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.failures import bad_body, lost
from sutlerd.providers.inflate import Inflater
from sutlerd.providers.transport import MAX_BODY_BYTES, MAX_ERROR_BODY_BYTES, MAX_STREAM_BYTES

#: A stream's reader that falls behind by so much stops the reading, and starts it again here.
PAUSE_BYTES = 256 * 1024
RESUME_BYTES = 64 * 1024


class Exchange(Protocol):
    """What a connection tells of an answer, in order; ``fail`` at any time, once."""

    def on_head(self, status: int, headers: dict[str, str]) -> None: ...

    def on_body(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def fail(self, failure: AttemptFailed) -> None: ...


class WholeExchange:
    """Collects a whole answer; ``done`` gives its status, headers and body."""

    __slots__ = ("_headers", "_inflater", "_parts", "_room", "_status", "done")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[tuple[int, dict[str, str], bytes]] = loop.create_future()
        self._parts: list[bytes] = []
        self._inflater: Inflater | None = None

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        self._room = MAX_BODY_BYTES if status < 300 else MAX_ERROR_BODY_BYTES
        encoding = headers.get("content-encoding")
        if encoding is not None:
            self._inflater = _inflater(encoding, MAX_BODY_BYTES)

    def on_body(self, data: bytes) -> None:
        if self._inflater is not None:
            data = _fed(self._inflater, data, self._status)
        self._room -= len(data)
        if self._room < 0:
            if self._status < 300:
                raise bad_body(f"a body over {MAX_BODY_BYTES} bytes")
            self._parts.append(data[: self._room])
            raise EnoughRead
        self._parts.append(data)

    def on_end(self) -> None:
        if self._inflater is not None and self._status < 300:
            _finish(self._inflater)
        if not self.done.done():
            parts = self._parts
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            self.done.set_result((self._status, self._headers, body))

    def fail(self, failure: AttemptFailed) -> None:
        if not self.done.done():
            self.done.set_exception(failure)


class StreamExchange:
    """Gives the head, then the body as an iterator of pieces.

    ``pause`` and ``resume`` steer the reading; ``on_silence`` is called when nothing came for
    ``silence_s`` although someone was waiting for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        silence_s: float,
        pause: Callable[[], None],
        resume: Callable[[], None],
        on_silence: Callable[[], None],
    ) -> None:
        self.head: asyncio.Future[tuple[int, dict[str, str]]] = loop.create_future()
        self.ended = False
        #: Called once when the answer is over, in whatever way.
        self.on_over: Callable[[], object] | None = None
        self._loop = loop
        self._silence_s = silence_s
        self._pause, self._resume, self._on_silence = pause, resume, on_silence
        self._paused = False
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._failure: AttemptFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._inflater: Inflater | None = None
        self._status = 0
        self._left = MAX_STREAM_BYTES
        self._heard_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- what the connection tells ----------------------------------------------------

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        encoding = headers.get("content-encoding")
        if encoding is not None:
            self._inflater = _inflater(encoding, MAX_STREAM_BYTES)
        self._status = status
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(self._silence_s, self._check_silence)
        if not self.head.done():
            self.head.set_result((status, headers))

    def on_body(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        if self._inflater is not None:
            data = _fed(self._inflater, data, self._status)
            if not data:
                return
        self._left -= len(data)
        if self._left < 0:
            raise bad_body(f"a stream over {MAX_STREAM_BYTES} bytes")
        self._parts.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def on_end(self) -> None:
        if self._inflater is not None and self._status < 300:
            _finish(self._inflater)
        self._over()

    def fail(self, failure: AttemptFailed) -> None:
        if self.ended:
            return
        self._failure = failure
        if not self.head.done():
            self.head.set_exception(failure)
        self._over()

    # --- what the reader takes --------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._held_bytes = 0
        if self._paused:
            self._paused = False
            # The time until now was the reader's, not the provider's.
            self._heard_s = self._loop.time()
            self._resume()
        return data

    def stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self.ended = True
        self.stop_clock()
        if self._paused:
            # The connection may serve another exchange now, which wants its bytes.
            self._paused = False
            self._resume()
        if self.on_over is not None:
            self.on_over()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_silence(self) -> None:
        """Look at the clock once a limit, not once a piece: pieces come by the thousand."""
        waiting_s = 0.0 if self._paused else self._loop.time() - self._heard_s
        if waiting_s >= self._silence_s:
            self._on_silence()
            return
        left_s = self._silence_s - waiting_s
        self._timer = self._loop.call_later(max(left_s, 0.001), self._check_silence)


class EnoughRead(Exception):
    """Of an answer that is an error the first words are enough: the rest is not wanted."""


def _inflater(encoding: str, limit_bytes: int) -> Inflater:
    try:
        return Inflater(encoding, limit_bytes)
    except ValueError as error:
        raise bad_body(f"the body cannot be used: {error}") from None


def _fed(inflater: Inflater, data: bytes, status: int) -> bytes:
    try:
        return inflater.feed(data)
    except ValueError as error:
        if status >= 300:
            raise EnoughRead from None
        raise bad_body(f"the body cannot be used: {error}") from None


def _finish(inflater: Inflater) -> None:
    try:
        inflater.finish()
    except ValueError as error:
        raise lost("cut", f"the body is not whole: {error}") from None
