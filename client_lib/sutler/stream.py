"""An answer that arrives in pieces, in the blocking client."""

from collections import deque
from os import getpid
from time import sleep

from sutler.ask import Ask
from sutler.errors import Cancelled, ConnectionLost, SutlerError
from sutler.pending import Expired
from sutler.pieces import Piecewise, chunk_of
from sutler.types import Chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from sutler.ask import Home
    from sutler.calls import Call
    from sutler.types import Completion


class Pieces(Ask, Piecewise):
    """A call whose answer comes in pieces."""

    def __init__(self, home: "Home", call: "Call") -> None:
        self.pieces = deque()
        super().__init__(home, call)


class Stream:
    """Iterate over the chunks; afterwards ``result`` is the whole reply.

    Leaving the ``with`` block, `close`, or dropping the stream before its end cancels the
    call in the daemon. A stream that has given a chunk is never asked for again by itself:
    it ends with ConnectionLost. For one thread at a time.
    """

    __slots__ = ("__weakref__", "_ended", "_error", "_pieces", "_result")

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._ended = False
        self._result: "Optional[Completion]" = None
        self._error: "Optional[SutlerError]" = None
        self._guarded(pieces.start)

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

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        if self._pieces.home.pid != getpid():
            self._ended = True
            raise self._kept(
                ConnectionLost("the stream belongs to the parent process", retryable=False)
            )
        piece = self._guarded(self._next_piece)
        if piece is not None:
            return Chunk(chunk_of(piece))
        self._ended = True
        raise StopIteration

    def _next_piece(self) -> "Optional[Dict[str, Any]]":
        pieces = self._pieces
        while pieces.link is not None:
            pieces.link.wait(pieces, pieces.deadline_s)
            piece = pieces.take()
            if piece is not None:
                pieces.delivered = True
                return piece
            if pieces.over:
                if pieces.failure is None:
                    self._result = pieces.call.value(pieces.result)
                    return None
                sleep(pieces.pause_s())
                pieces.start()
        return None

    def _guarded(self, step: "Any") -> "Any":
        """Take a step; whatever it raises ends the stream."""
        try:
            return step()
        except Expired:
            error = self._kept(self._pieces.timed_out())
            self._ended = True
            raise error from None
        except SutlerError as told:
            self._kept(told)
            self._ended = True
            raise
        except BaseException:
            self._kept(Cancelled("the stream was interrupted"))
            self._ended = True
            self._pieces.interrupted()
            raise

    def _kept(self, error: SutlerError) -> SutlerError:
        self._error = error
        return error

    def close(self) -> None:
        """End the stream; if it has not ended by itself, cancel the call in the daemon."""
        if self._ended:
            return
        self._kept(Cancelled("the stream was closed before its end"))
        self._ended = True
        if self._pieces.link is not None and self._pieces.home.pid == getpid():
            self._pieces.link.abandon(self._pieces)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # May run anywhere, even while this thread holds the table's lock: only leave a note.
        pieces = getattr(self, "_pieces", None)
        if pieces is None or self._ended or pieces.link is None:
            return
        if pieces.home.pid == getpid():
            pieces.link.forget_later(pieces)
