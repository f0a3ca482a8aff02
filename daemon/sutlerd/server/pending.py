"""Requests of one connection that are under way: each ends in exactly one final line.

``line_bytes`` is how long its line was, for as long as it is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sutlerd.domain.call import Call
from sutlerd.domain.errors import CallError, Cancelled, Timeout
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.result import Answer, compose
from sutlerd.server.replies import chunk_lines, encode_id, error_line, result_line
from sutlerd.server.requests import RequestId

if TYPE_CHECKING:
    from sutlerd.server.connection import Connection


class PendingReply:
    """A call for a reply: follows a flight until an answer, an error, its deadline, or the
    caller's leave, whichever comes first."""

    __slots__ = (
        "_connection",
        "_ended",
        "_flight",
        "_started_s",
        "_timer",
        "call",
        "deadline_s",
        "id",
        "id_text",
        "line_bytes",
        "wants_pieces",
    )

    def __init__(
        self, connection: Connection, request_id: RequestId, call: Call, *, now_s: float
    ) -> None:
        self._connection = connection
        self._ended = False
        self._flight: Flight | None = None
        self._started_s = now_s
        self._timer: asyncio.TimerHandle | None = None
        self.call = call
        self.id = request_id
        self.id_text = encode_id(request_id)
        self.line_bytes = 0
        self.deadline_s = call.deadline_s
        self.wants_pieces = call.stream

    def follows(self, flight: Flight, loop: asyncio.AbstractEventLoop, *, now_s: float) -> None:
        self._flight = flight
        self._timer = loop.call_later(max(0.0, self.deadline_s - now_s), self._on_deadline)

    def on_pieces(self, pieces: Sequence[bytes]) -> None:
        if self._ended:
            return
        lines = chunk_lines(self.id_text, list(pieces))
        if self._flight is None:
            # What a flight had before it was joined comes in one go: not this client's doing.
            self._connection.send(lines)
        else:
            self._connection.send_chunks(lines)

    def on_answer(self, answer: Answer, *, coalesced: bool) -> None:
        if self._ended:
            return  # while its flight told the others: by a cancel that was read just then
        now_s = self._connection.hub.clock.monotonic_s()
        result = compose(
            answer,
            coalesced=coalesced,
            latency_ms=(now_s - self._started_s) * 1000,
            request_id=self.call.request_id,
        )
        hub = self._connection.hub
        hub.tally.answered(cached=answer.cached, coalesced=coalesced)
        hub.accounting.answered(self.call, answer, coalesced=coalesced)
        self._end(result_line(self.id_text, result))

    def on_error(self, error: CallError) -> None:
        if self._ended:
            return
        self._fails(error.type)
        self._end(error_line(self.id, error, name=self.call.request_id), error)

    def cancel(self, error: CallError | None = None) -> None:
        """End the call now; ``error`` is what its caller is told."""
        self.on_error(error or Cancelled("cancelled by the client"))

    def abandon(self) -> None:
        """End the call for a caller that is gone: nothing is written."""
        if not self._ended:
            self._fails("abandoned")
            self._end(None)

    def _fails(self, kind: str) -> None:
        hub = self._connection.hub
        hub.tally.failed(kind)
        passed_s = hub.clock.monotonic_s() - self._started_s
        hub.accounting.failed(self.call, kind, passed_s=passed_s)

    def _on_deadline(self) -> None:
        waited_s = self._connection.hub.clock.monotonic_s() - self._started_s
        self.on_error(
            Timeout(f"no answer within {waited_s:.1f} s: ask with a longer timeout_s, or later")
        )

    def _end(self, line: bytes | None, error: CallError | None = None) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.leave(self, error)
        self._connection.ended(self, line)


class PendingTask:
    """A request that a task of its own works on, such as ``embed``."""

    __slots__ = ("_connection", "_task", "id", "line_bytes", "name")

    def __init__(self, connection: Connection, request_id: RequestId, name: str | None) -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self.id = request_id
        self.line_bytes = 0
        self.name = name

    def runs_as(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def on_result(self, result: bytes) -> None:
        self._connection.ended(self, result_line(encode_id(self.id), result))

    def on_error(self, error: CallError) -> None:
        self._connection.hub.tally.failed(error.type)
        self._connection.ended(self, error_line(self.id, error, name=self.name))

    def cancel(self, error: CallError | None = None) -> None:
        self.on_error(error or Cancelled("cancelled by the client"))
        self._stop()

    def abandon(self) -> None:
        self._connection.ended(self, None)
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


Pending = PendingReply | PendingTask
