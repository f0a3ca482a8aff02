"""Calls for replies on behalf of HTTP requests: what ``server.dispatch`` is to lines.

The same order, the same parts: the memo of hits, then resolving, then a flight to follow. What
comes back is taken by the request's own handler, as fast as its client reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sutlerd.domain.call import Call
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, ShuttingDown, Timeout
from sutlerd.http.door import Ask
from sutlerd.http.house import House
from sutlerd.ledger.rows import payer_of
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.hits import MAX_PARAMS_BYTES
from sutlerd.pipeline.result import Answer
from sutlerd.telemetry.conventions import CHAT

METHOD = "complete"


@dataclass(slots=True, kw_only=True)
class Told:
    """An answer as this caller was given it."""

    answer: Answer
    coalesced: bool
    request_id: str

    @property
    def is_free(self) -> bool:
        return self.answer.cached or self.coalesced

    @property
    def cost_nanousd(self) -> int | None:
        return 0 if self.is_free else self.answer.cost_nanousd

    @property
    def saved_nanousd(self) -> int | None:
        saved: int | None = self.answer.reply.get("saved_nanousd") if self.is_free else 0
        return saved


class Stir:
    """Wakes the one handler that waits for any of its calls."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting


class HttpCall:
    """One call under way: follows a flight, keeps what came until the handler takes it.

    ``told`` and ``error`` are its outcome, one of them, once. ``held_bytes`` counts what waits
    to be taken.
    """

    def __init__(self, ask: Ask, house: House, stir: Stir, request_id: str) -> None:
        self._ask = ask
        self._house = house
        self._stir = stir
        self._call: Call | None = None
        self._flight: Flight | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pieces: list[bytes] = []
        self._live_bytes = 0
        self._started_s = house.clock.monotonic_s()
        self.request_id = request_id
        self.held_bytes = 0
        self.deadline_s = 0.0
        self.wants_pieces = False
        self.told: Told | None = None
        self.error: CallError | None = None

    @property
    def is_over(self) -> bool:
        return self.told is not None or self.error is not None

    def take(self) -> list[bytes]:
        """Give the pieces that came since this was asked last."""
        taken, self._pieces = self._pieces, []
        self.held_bytes = self._live_bytes = 0
        return taken

    def begins(self, call: Call) -> None:
        """Take a place among the calls under way. Raises ``Overloaded``."""
        self._house.call_opened(self._ask.caller, self._ask.body_bytes)
        self._call = call
        self.deadline_s = call.deadline_s
        self.wants_pieces = call.stream
        self._ask.client.pending[self] = None

    def follows(self, flight: Flight) -> None:
        self._flight = flight
        left_s = max(0.0, self.deadline_s - self._started_s)
        self._timer = asyncio.get_running_loop().call_later(left_s, self._on_deadline)

    def answered(self, answer: Answer) -> None:
        """Take the answer to a call that never began: a hit of the memo."""
        self._house.tally.hits += 1
        self.told = Told(answer=answer, coalesced=False, request_id=self.request_id)

    # -- what a flight calls

    def on_pieces(self, pieces: Sequence[bytes]) -> None:
        if self.is_over:
            return
        self._pieces.extend(pieces)
        size_bytes = sum(map(len, pieces))
        self.held_bytes += size_bytes
        self._ask.client.account()
        if self._flight is not None:
            # What a flight had before it was joined comes in one go: not this client's doing.
            self._live_bytes += size_bytes
            if self._live_bytes > self._house.limits.owed_max_bytes:
                self._ask.client.cut("it is owed more than the limit")
                return
        self._stir.wake()

    def on_answer(self, answer: Answer, *, coalesced: bool) -> None:
        if self.is_over:
            return
        assert self._call is not None
        self.told = Told(answer=answer, coalesced=coalesced, request_id=self.request_id)
        self._house.tally.answered(cached=answer.cached, coalesced=coalesced)
        self._house.accounting.answered(self._call, answer, coalesced=coalesced)
        self._end()

    def on_error(self, error: CallError) -> None:
        if self.is_over:
            return
        self.error = error
        self._fails(error.type)
        self._end(error)

    # -- how it ends otherwise

    def cancel(self, error: CallError) -> None:
        self.on_error(error)

    def abandon(self) -> None:
        """Let go, whatever has come: nobody takes it any more. Harmless after the outcome."""
        if not self.is_over and self._call is not None:
            self.error = CallError("the client has left")
            self._fails("abandoned")
            self._end()
        self.take()
        self._ask.client.pending.pop(self, None)
        self._ask.client.account()

    def _fails(self, kind: str) -> None:
        self._house.tally.failed(kind)
        if self._call is not None:
            passed_s = self._house.clock.monotonic_s() - self._started_s
            self._house.accounting.failed(self._call, kind, passed_s=passed_s)

    def _on_deadline(self) -> None:
        waited_s = self._house.clock.monotonic_s() - self._started_s
        self.on_error(Timeout(f"no answer within {waited_s:.1f} s: ask again later"))

    def _end(self, error: CallError | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        flight, self._flight = self._flight, None
        assert self._call is not None
        if flight is not None:
            flight.leave(self, error)
        self._house.call_ended(self._ask.caller, self._ask.body_bytes)
        self._stir.wake()


class Calls:
    """The calls of one request: one, or one for each sample that was asked for."""

    def __init__(self, house: House, ask: Ask, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Begin them all. Raises ``CallError`` for what is refused at once."""
        self._stir = Stir()
        self._all: list[HttpCall] = []
        try:
            for params in wanted:
                self._all.append(_begin(house, ask, self._stir, params))
        except BaseException:
            self.leave()
            raise

    @property
    def request_id(self) -> str:
        return self._all[0].request_id

    def leave(self) -> None:
        for call in self._all:
            call.abandon()

    async def answers(self) -> list[Told]:
        """Wait for all answers. Raises the first ``CallError`` of any."""
        while True:
            told = [call.told for call in self._all if call.told is not None]
            self._raise_error()
            if len(told) == len(self._all):
                return told
            await self._stir.wait()

    async def first_news(self) -> None:
        """Wait until there is something to tell. Raises ``CallError`` if it is an error."""
        while not any(call.held_bytes or call.is_over for call in self._all):
            await self._stir.wait()
        self._raise_error()

    def known_at_once(self) -> Told | None:
        """Give the one answer that is there before anything was sent, if it is."""
        return self._all[0].told if len(self._all) == 1 else None

    async def pieces(self) -> AsyncIterator[tuple[int, list[bytes] | Told]]:
        """Give what comes, each with the number of its sample: pieces, and last its ``Told``.

        Raises ``CallError`` at the first call that fails.
        """
        under_way = dict(enumerate(self._all))
        while under_way:
            idle = True
            for number, call in list(under_way.items()):
                pieces = call.take()
                if not pieces and call.told is not None:
                    idle = False
                    del under_way[number]
                    yield number, call.told
                elif pieces:
                    idle = False
                    yield number, pieces
                elif call.error is not None:
                    raise call.error
            if idle and under_way:
                await self._stir.wait()

    def _raise_error(self) -> None:
        for call in self._all:
            if call.error is not None:
                raise call.error


def _begin(house: House, ask: Ask, stir: Stir, params: Mapping[str, Any]) -> HttpCall:
    caller, client = ask.caller, ask.client
    name = params.get("request_id")
    plain = {key: value for key, value in params.items() if key != "request_id"}
    short = ask.body_bytes <= MAX_PARAMS_BYTES
    call = HttpCall(ask, house, stir, name or house.resolver.request_id(None))
    if short and not house.draining:
        found = house.hit_path.find(client.hit_place(caller), caller.uid, METHOD, plain, name)
        if found is not None:
            answer = Answer(payload=found, cached=True)
            if params.get("stream") is True:
                call.on_pieces(answer.pieces())
            call.answered(answer)
            return call
    try:
        if house.draining:
            raise ShuttingDown("the daemon is stopping: reconnect and ask again")
        resolved = house.pipeline.resolve(METHOD, params, caller)
        call.request_id = resolved.call.request_id
        call.begins(resolved.call)
    except CallError as error:
        refused(house, CHAT, caller, params, error)
        raise
    try:
        flight = house.pipeline.start(resolved, call)
    except CallError as error:
        house.pipeline.teller.turned_away(resolved.call, error)
        call.on_error(error)
        return call
    if flight is not None:
        call.follows(flight)
    if short and resolved.call.cacheable and resolved.call.cache_mode.reads:
        payer = payer_of(caller, resolved.call.labels)
        house.hit_path.learn(client.hit_place(caller), payer, METHOD, plain, resolved.key)
    return call


def refused(
    house: House, operation: str, caller: Caller, params: Mapping[str, Any], error: CallError
) -> None:
    """Enter and tell what never became a call, if nobody has; ``params`` are as they came."""
    if not error.is_told:
        kind = "chat" if operation == CHAT else "embed"
        labels, name = params.get("labels"), params.get("request_id")
        house.accounting.refused(caller, labels, name, kind, error.type)
        house.pipeline.teller.refused(operation, caller, params, error)
