"""An answer that arrives in pieces, in the asyncio client."""

import asyncio
from os import getpid

from sutler.aio_ask import AsyncPieces
from sutler.errors import Cancelled, SutlerError
from sutler.pending import Expired
from sutler.pieces import chunk_of
from sutler.types import Chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from sutler.types import Completion


class AsyncStream:
    """Iterate over the chunks; afterwards ``result`` is the whole reply.

    It is asked for at the first chunk. Leaving the ``async with`` block, `aclose`, or
    cancelling who waits for a chunk cancels the call in the daemon. A stream that has given
    a chunk is never asked for again by itself: it ends with ConnectionLost.
    """

    __slots__ = ("__weakref__", "_ended", "_error", "_pieces", "_result")

    def __init__(self, pieces: AsyncPieces) -> None:
        self._pieces = pieces
        self._ended = False
        self._result: "Optional[Completion]" = None
        self._error: "Optional[SutlerError]" = None

    @property
    def result(self) -> "Completion":
        """The whole reply, once the chunks have been read to their end.

        Raises the error that the stream ended with, or RuntimeError before its end.
        """
        if self._result is not None:
            return self._result
        if self._error is not None:
            raise self._error
        raise RuntimeError("the stream has not ended: its result comes after the last chunk")

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Chunk:
        if self._ended:
            raise StopAsyncIteration
        piece = await self._guarded()
        if piece is not None:
            return Chunk(chunk_of(piece))
        self._ended = True
        raise StopAsyncIteration

    async def _guarded(self) -> "Optional[Dict[str, Any]]":
        """Take the next piece; whatever it raises ends the stream."""
        try:
            return await self._next_piece()
        except Expired:
            error: SutlerError = self._pieces.too_late()
        except SutlerError as told:
            error = told
        except BaseException:
            self._end(Cancelled("the stream was interrupted"))
            raise
        self._end(error)
        raise error

    async def _next_piece(self) -> "Optional[Dict[str, Any]]":
        pieces = self._pieces
        if pieces.link is None:
            await pieces.start()
        while True:
            await pieces.wait()
            piece = pieces.take()
            if piece is not None:
                pieces.delivered = True
                return piece
            if pieces.over:
                if pieces.failure is None:
                    self._result = pieces.call.value(pieces.result)
                    return None
                await asyncio.sleep(pieces.pause_s())
                await pieces.start()

    async def aclose(self) -> None:
        """End the stream; if it has not ended by itself, cancel the call in the daemon."""
        if not self._ended:
            self._end(Cancelled("the stream was closed before its end"))

    def _end(self, error: SutlerError) -> None:
        self._ended = True
        self._error = error
        self._pieces.abandon()

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # May run in any thread; the connection is the loop's.
        if self._ended or self._pieces.link is None:
            return
        home = self._pieces.home
        if home.pid == getpid() and not home.loop.is_closed():
            home.loop.call_soon_threadsafe(self._pieces.abandon)
