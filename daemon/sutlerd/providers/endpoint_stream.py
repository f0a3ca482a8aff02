"""One streamed attempt: bytes of the transport through the dialect's reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self

from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest
from sutlerd.providers.dialect import Dialect, StreamReader
from sutlerd.providers.tally import Tally
from sutlerd.providers.transport import MAX_ERROR_BODY_BYTES, Response, StreamingResponse

#: Some ten pieces in OpenAI's spelling, and some hundred and sixty.
_FIRST_SLICE_BYTES = 2 * 1024
_SLICE_BYTES = 32 * 1024

Pieces = Sequence[Delta | Reply]


class AttemptStream:
    """A context whose value is the iterator of the pieces, itself. ``open_stream`` may raise
    ``AttemptFailed``; ``hear`` is told request, headers and arrival of the answer."""

    def __init__(
        self,
        *,
        open_stream: Callable[[], AbstractAsyncContextManager[StreamingResponse]],
        dialect: Dialect,
        built: BuiltRequest,
        tally: Tally,
        hear: Callable[[BuiltRequest, Mapping[str, str], float], None],
    ) -> None:
        self._open_stream = open_stream
        self._dialect = dialect
        self._built = built
        self._tally = tally
        self._hear = hear
        self._over = False
        self._unread = b""
        self._slice = _FIRST_SLICE_BYTES
        self._response: StreamingResponse
        self._reader: StreamReader
        self._left: AsyncExitStack

    async def __aenter__(self) -> AsyncIterator[Pieces]:
        async with AsyncExitStack() as stack:
            stack.enter_context(self._tally)
            try:
                response = await stack.enter_async_context(self._open_stream())
                self._hear(self._built, response.headers, response.arrived_unix_s)
                if not 200 <= response.status < 300:
                    raise self._dialect.classify(await _whole(response))
            except AttemptFailed as failure:
                raise self._tally.failed(failure) from None
            self._response = response
            self._reader = self._dialect.open_stream(self._built)
            self._left = stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._left.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Pieces:
        if self._over:
            raise StopAsyncIteration
        try:
            return await self._next_pieces()
        except AttemptFailed as failure:
            self._over = True
            raise self._tally.failed(failure) from None

    async def _next_pieces(self) -> Pieces:
        """Read on until there is something to pass on.

        What one read brought is read in slices, with a turn for the loop after each: the
        first piece is on its way before the last of a burst is read, and no stream, however
        fast, keeps the others waiting.
        """
        # A failure that came in the same bytes as the last pieces is told now.
        self._reader.feed(b"")
        while True:
            if self._unread:
                await asyncio.sleep(0)
            else:
                try:
                    self._unread = await anext(self._response.chunks)
                except StopAsyncIteration:
                    return self._passed(self._reader.eof())
            data, self._unread = self._unread[: self._slice], self._unread[self._slice :]
            pieces = self._reader.feed(data)
            if pieces:
                self._slice = _SLICE_BYTES
                return self._passed(pieces)

    def _passed(self, pieces: Pieces) -> Pieces:
        reply = pieces[-1]
        if isinstance(reply, Reply):
            self._over = True
            self._tally.succeeded()
            self._response.finish()
            masked = self._tally.masked(reply, self._built.model)
            if masked is not reply:
                return [*pieces[:-1], masked]
        return pieces


async def _whole(response: StreamingResponse) -> Response:
    """Read an answer that is an error as far as its words matter."""
    body = bytearray()
    async for data in response.chunks:
        body += data
        if len(body) >= MAX_ERROR_BODY_BYTES:
            break
    return Response(
        status=response.status,
        headers=response.headers,
        body=bytes(body[:MAX_ERROR_BODY_BYTES]),
        arrived_unix_s=response.arrived_unix_s,
    )
