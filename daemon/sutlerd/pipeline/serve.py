"""The order of all stages of a call for a reply, on one screen.

    resolve -> request log -> cache -> coalesce
        -> (second tier -> attempts -> shape) -> store -> answer

Everything up to coalescing happens at once, without a task: a cached answer is given inside
the read callback. From there on the flight runs as a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from functools import partial
from typing import Any

from sutlerd.cache.contract import SecondTier, Store
from sutlerd.domain.call import CacheMode, Call, ChatRequest, EmbedRequest
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import (
    BudgetExceeded,
    CacheMiss,
    CallError,
    InternalError,
    Overloaded,
    RateLimited,
)
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.domain.reply import Reply
from sutlerd.pipeline.coalesce import Flight, Flights, Follower
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.hedge import Known
from sutlerd.pipeline.idempotency import Asked, RequestLog
from sutlerd.pipeline.journey import Arrived, Leg
from sutlerd.pipeline.occurrences import Asking
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.question import Question
from sutlerd.pipeline.resolve import Resolved, Resolver
from sutlerd.pipeline.result import Answer, Served, encode_payload
from sutlerd.pipeline.structured import Structured
from sutlerd.pipeline.tape import Recorder, Tape
from sutlerd.pipeline.telling import Teller
from sutlerd.pipeline.till import InDoubt
from sutlerd.pipeline.under_way import UnderWay
from sutlerd.telemetry.meter import Meter

_new_asked = quick(Asked)
_new_answer = quick(Answer)
_new_served = quick(Served)

#: How long a paid answer waits for its record to be written.
STORE_LIMIT_S = 0.1
STORED_FINISHES = ("stop", "tool_calls", "length")
#: Refusals that say nothing of what somebody else's account would be told.
_OWN = (BudgetExceeded, RateLimited, Overloaded)
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Pipeline:
    """Serves calls for replies. Built once; ``spawn`` starts a task that the daemon owns.

    ``drain_s`` is how long a paid attempt that everybody has left is read to its end;
    ``tape`` is the recording that is being made or played.
    """

    def __init__(
        self,
        *,
        resolver: Resolver,
        structured: Structured,
        costs: Costs,
        store: Store,
        second_tier: SecondTier | None,
        flights: Flights,
        under_way: UnderWay,
        request_log: RequestLog,
        meter: Meter,
        clock: Clock,
        teller: Teller,
        spawn: Spawn,
        drain_s: float,
        in_doubt: InDoubt,
        tape: Tape | None = None,
    ) -> None:
        self._resolver = resolver
        self._structured = structured
        self._costs = costs
        self._store = store
        self._second_tier = second_tier
        self._flights = flights
        self._request_log = request_log
        self._under_way = under_way
        self._meter = meter
        self._clock = clock
        self.teller = teller
        self._spawn = spawn
        self._drain_s = drain_s
        self._in_doubt = in_doubt
        self._tape = tape

    @property
    def open_flights(self) -> int:
        return self._flights.open_count

    @property
    def ids_under_way(self) -> int:
        return len(self._under_way)

    def resolve(self, method: str, params: Mapping[str, Any], caller: Caller) -> Resolved:
        """Turn parameters into a call. Raises ``CallError`` for what can be refused now."""
        return self._resolver.reply_call(method, params, caller, now_s=self._clock.monotonic_s())

    def start(self, resolved: Resolved, follower: Follower) -> Flight | None:
        """Answer from what is known, or join or open a flight, which is returned.

        ``None`` means that the follower has its answer already. Raises ``CallError``.
        """
        call = resolved.call
        if isinstance(self._tape, Player):
            self._replay(self._tape, resolved, follower)
            return None
        asking = self._asking(resolved)
        asked = None
        if call.idempotent:
            asked = _new_asked(
                uid=call.caller.uid, request_id=call.request_id, request_hash=resolved.key
            )
        flight = None if asked is None else self._under_way.flight_of(asked)
        if flight is None:
            payload = self._known_answer(resolved, asked)
            if payload is not None:
                self._record(resolved.question, asking, payload)
                _give(Answer(payload=payload, cached=True), follower)
                self.teller.known(call, payload)
                return None
            missed = _missed(resolved)
            if missed is not None and not self._is_elsewhere(call):
                raise missed
            flight = self._joinable_flight(resolved)
        if flight is None:
            flight = self._open(resolved, follower, asked)
            self._note(asked, flight)
        else:
            flight.has_room()
            self._note(asked, flight)
            self._flights.joined_count += 1
            # Who would be refused for its id does not go on when another one is refused.
            asks = None if self._is_in_doubt(call) else (_account(call), asked, resolved)
            flight.join(follower, stores=call.cache_mode.writes, asks=asks)
        if resolved.question is not None and asking is not None:
            flight.taped.append((follower, resolved.question, asking))
        return flight

    def _is_in_doubt(self, call: Call) -> bool:
        return call.idempotent and self._in_doubt(call.caller.uid, call.request_id)

    def _asking(self, resolved: Resolved) -> Asking | None:
        if isinstance(self._tape, Recorder) and resolved.question is not None:
            return self._tape.begin(resolved.question)
        return None

    def _record(self, question: Question | None, asking: Asking | None, payload: bytes) -> None:
        if isinstance(self._tape, Recorder) and question is not None and asking is not None:
            self._tape.keep(question, asking, payload)

    def _replay(self, player: Player, resolved: Resolved, follower: Follower) -> None:
        assert resolved.question is not None, "who plays a recording resolves for it"
        payload = player.play(resolved.question)
        _give(Answer(payload=payload, cached=True), follower)

    def _note(self, asked: Asked | None, flight: Flight) -> None:
        """Know under which id a flight is followed, here and where it is paid for."""
        if asked is not None and self._under_way.add(asked, flight):
            for reservation in flight.paid:
                reservation.write_askers()

    def _known_answer(self, resolved: Resolved, asked: Asked | None) -> bytes | None:
        call = resolved.call
        if asked is not None:
            payload = self._request_log.answer_to(asked)
            if payload is not None:
                return payload
        if call.cacheable and call.cache_mode.reads:
            for key in resolved.keys:
                payload = self._store.get(key)
                if payload is not None:
                    return payload
        return None

    def _joinable_flight(self, resolved: Resolved) -> Flight | None:
        call = resolved.call
        if call.cacheable and call.cache_mode in (CacheMode.ON, CacheMode.READ_ONLY):
            return self._flights.under_way(resolved.flight_key)
        return None

    def _open(self, resolved: Resolved, follower: Follower, asked: Asked | None) -> Flight:
        call = resolved.call
        shared = call.cacheable and call.cache_mode in (CacheMode.ON, CacheMode.READ_ONLY)
        shared = shared and not self._is_in_doubt(call)
        flight = self._flights.open(resolved.flight_key if shared else None)
        asks = _account(call), asked, resolved
        flight.join(follower, stores=call.cache_mode.writes, asks=asks)
        task = self._spawn(self._fly(flight, resolved), f"flight {call.request_id}")
        flight.runs_with(task.cancel, drain_s=self._drain_s)
        return flight

    async def _fly(self, flight: Flight, resolved: Resolved) -> None:
        asked: Resolved | None = resolved
        while asked is not None:
            asked = await self._fly_for(flight, asked)

    async def _fly_for(self, flight: Flight, resolved: Resolved) -> Resolved | None:
        """Bring the answer on the account of who asks for it; give who is to try after that
        one was refused for a reason of its own."""
        call = resolved.call
        started_s = self._clock.monotonic_s()
        try:
            payload = None
            if self._second_tier is not None:
                payload = await self._from_second_tier(call, *resolved.keys)
                missed = None if payload is not None else _missed(resolved)
                if missed is not None:
                    raise missed
            if payload is not None:
                answer = Answer(payload=payload, cached=True)
            else:
                self._costs.prepare(call.routes[0])
                earned = await self._structured.earn(
                    flight, resolved, partial(self._stored, resolved)
                )
                arrived = earned.arrived
                answer = self._keep(flight, resolved, arrived, earned.cost_nanousd)
                if flight.asked and answer.cost_nanousd != 0:
                    await self._made_sure()
                self._measure(flight, arrived, started_s)
                self.teller.called(flight, call, started_s, arrived=arrived, answer=answer)
        except Known as known:
            if flight.tried:
                self.teller.called(flight, call, started_s, known=True)
            self._finish(flight, Answer(payload=known.payload, cached=True))
        except CallError as error:
            self.teller.called(flight, call, started_s, error=error)
            if isinstance(error, _OWN) and not any(tried.sent_s for tried in flight.tried):
                heir: Resolved | None = flight.heir(_account(call), error)
                if heir is not None:
                    return heir
            flight.fail(error)
        except asyncio.CancelledError:
            self.teller.left(flight, call, started_s)
            raise
        except BaseException as error:
            # A bug of ours must not leave callers waiting; the task's group hears of it too.
            flight.fail(InternalError(f"{type(error).__name__}: see the log for this request"))
            raise
        else:
            self._finish(flight, answer)
        return None

    def _finish(self, flight: Flight, answer: Answer) -> None:
        for question, asking in flight.asked_of_followers():
            self._record(question, asking, answer.payload)
        flight.finish(answer)

    async def _stored(self, resolved: Resolved, leg: Leg) -> bytes | None:
        """Give the stored answer of a route that a call falls back to."""
        call = resolved.call
        if not (call.cacheable and call.cache_mode.reads):
            return None
        key = self._resolver.key(call, leg.route, leg.built)
        return self._store.get(key) or await self._from_second_tier(call, key)

    def _is_elsewhere(self, call: Call) -> bool:
        """Tell whether there is a second place where its answer may be stored."""
        return self._second_tier is not None and call.cacheable and call.cache_mode.reads

    async def _from_second_tier(self, call: Call, *keys: bytes) -> bytes | None:
        if self._second_tier is None or not (call.cacheable and call.cache_mode.reads):
            return None
        for key in keys:
            payload = await self._second_tier.get(key)
            if payload is not None:
                scope = self._resolver.tenant(call.caller)
                self._store.put(key, payload, scope=scope, ttl_s=call.cache_ttl_s)
                return payload
        return None

    def _keep(
        self,
        flight: Flight,
        resolved: Resolved,
        arrived: Arrived[Reply],
        cost_nanousd: int | None,
    ) -> Answer:
        """Store what may be stored, note the request ids, and make the answer."""
        call = resolved.call
        payload = encode_payload(arrived.brought, cost_nanousd=cost_nanousd, prompt=call.prompt)
        keeps = flight.stores and call.cacheable and call.cache_ttl_s > 0
        if keeps and storable(arrived.brought, call.request):
            stored_under = self._resolver.key(call, arrived.leg.route, arrived.leg.built)
            scope = self._resolver.tenant(call.caller)
            self._store.put(stored_under, payload, scope=scope, ttl_s=call.cache_ttl_s)
            if self._second_tier is not None:
                self._second_tier.put(stored_under, payload, ttl_s=call.cache_ttl_s)
        for asked in flight.asked:
            self._request_log.keep(asked, payload=payload, was_free=cost_nanousd == 0)
        return _new_answer(
            payload=payload,
            cached=False,
            cost_nanousd=cost_nanousd,
            trace={
                "queued_ms": round(arrived.queued_s * 1000, 3),
                "bucket": arrived.bucket,
                "attempts": arrived.attempts,
                "dropped": list(arrived.leg.built.dropped),
                **_raw_finish(arrived.brought),
                **({} if call.prompt is None else {"prompt": call.prompt.to_wire()}),
            },
            by=_new_served(
                provider=arrived.brought.provider,
                model=arrived.brought.model,
                saved_nanousd=cost_nanousd,
            ),
        )

    async def _made_sure(self) -> None:
        """Have a paid answer that may be asked for again on disk before anybody gets it.

        Who loses it with a killed daemon asks again under the same id, and must not pay twice.
        A store that is slow or broken delays the answer no longer than its limit.
        """
        try:
            async with asyncio.timeout(STORE_LIMIT_S):
                await self._store.flush()
        except TimeoutError:
            pass

    def _measure(self, flight: Flight, arrived: Arrived[Reply], started_s: float) -> None:
        route = arrived.leg.route
        self._meter.took(
            route.provider,
            route.model,
            passed_s=self._clock.monotonic_s() - started_s,
            first_s=flight.first_piece_s,
            attempt_s=arrived.attempts[-1]["ms"] / 1000,
            tokens_out=arrived.brought.usage.tokens_out,
        )


def _account(call: Call) -> Hashable:
    """Give the account that a follower asks on."""
    return call.caller.uid, call.caller.job, call.labels


def _missed(resolved: Resolved) -> CallError | None:
    """Say why nothing is bought for a call whose answer is not stored, if nothing is."""
    if resolved.refusal is not None:
        return resolved.refusal
    if resolved.call.cache_mode is CacheMode.ONLY:
        return CacheMiss("nothing is stored for this request, and cache is 'only'")
    return None


def _give(answer: Answer, follower: Follower) -> None:
    if follower.wants_pieces:
        follower.on_pieces(answer.pieces())
    follower.on_answer(answer, coalesced=False)


def storable(reply: Reply, request: ChatRequest | EmbedRequest) -> bool:
    """Tell whether a reply is whole: ended by itself, or by the call's own length."""
    if not reply.content and not reply.tool_calls:
        return False
    if reply.raw_finish_reason is not None or reply.finish_reason not in STORED_FINISHES:
        return False
    tokens_out = reply.usage.tokens_out
    if reply.finish_reason != "length" or tokens_out is None:
        return True
    # Fewer than were asked for: it was the model's context, which may be wider tomorrow. Some
    # servers do not count the last token.
    return isinstance(request, ChatRequest) and tokens_out >= request.max_tokens - 1


def _raw_finish(reply: Reply) -> dict[str, str]:
    return {} if reply.raw_finish_reason is None else {"finish_reason": reply.raw_finish_reason}
