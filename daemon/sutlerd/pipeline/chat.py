"""A chat flight's journey: how one attempt is made for it, streamed or whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from sutlerd.domain.call import ChatRequest, Route
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick
from sutlerd.domain.reply import Delta, Reply
from sutlerd.ledger.reservation import Reservation
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.journey import Leg
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.resolve import Resolved
from sutlerd.pipeline.result import encode_pieces
from sutlerd.pipeline.till import Bill
from sutlerd.pipeline.tried import Tried
from sutlerd.providers.contract import Provider

_new_asker = quick(Asker)
_new_bill = quick(Bill)
_new_leg = quick(Leg)

#: Gives what is stored of a leg's answer.
LookUp = Callable[[Leg], Awaitable[bytes | None]]


class ChatJourney:
    """``flight`` hears the pieces of a stream as they come. ``look_up`` finds answers of routes
    that the chain falls back to: the first one's was looked for before the flight began."""

    def __init__(
        self,
        flight: Flight,
        resolved: Resolved,
        *,
        providers: Mapping[str, Provider],
        clock: Clock,
        look_up: LookUp | None = None,
    ) -> None:
        self._flight = flight
        self._resolved = resolved
        self._providers = providers
        self._clock = clock
        self._look_up = look_up

    @property
    def asker(self) -> Asker:
        call = self._resolved.call
        return _new_asker(caller=call.caller, lane=call.lane)

    @property
    def bill(self) -> Bill:
        call = self._resolved.call
        return _new_bill(
            request_id=call.request_id,
            given_id=call.idempotent,
            caller=call.caller,
            labels=call.labels,
            kind="chat",
            askers=self._flight.asked,
        )

    @property
    def max_tokens_out(self) -> int:
        request = self._resolved.call.request
        return request.max_tokens if isinstance(request, ChatRequest) else 0

    @property
    def was_heard(self) -> bool:
        return self._flight.was_heard

    @property
    def is_deserted(self) -> bool:
        return not self._flight.followers

    @property
    def paid(self) -> list[Reservation]:
        return self._flight.paid

    @property
    def tried(self) -> list[Tried]:
        return self._flight.tried

    @property
    def streams(self) -> bool:
        return self._resolved.call.stream

    def time_left_s(self) -> float:
        return self._flight.latest_deadline_s() - self._clock.monotonic_s()

    def leg(self, route: Route) -> Leg:
        call = self._resolved.call
        if route == call.routes[0]:
            return _new_leg(route=route, built=self._resolved.built)
        assert isinstance(call.request, ChatRequest)
        provider = self._providers[route.provider]
        return Leg(route=route, built=provider.build_chat(call.request, route.model))

    async def known(self, leg: Leg) -> bytes | None:
        if self._look_up is None or leg.route == self._resolved.call.routes[0]:
            return None
        return await self._look_up(leg)

    async def once(
        self, provider: Provider, leg: Leg, *, deadline_s: float, heard: Callable[[], None]
    ) -> Reply:
        streams = self._resolved.call.stream and provider.capabilities(leg.route.model).stream
        if not streams:
            return await provider.complete(leg.built, deadline_s=deadline_s)
        reply: Reply | None = None
        begun_s = self._clock.monotonic_s()
        speaks = False
        async with provider.stream(leg.built, deadline_s=deadline_s) as batches:
            async for batch in batches:
                deltas = [item for item in batch if isinstance(item, Delta)]
                if deltas:
                    if not speaks:
                        heard()
                        speaks = True
                        self._flight.first_piece_s = self._clock.monotonic_s() - begun_s
                    self._flight.publish(encode_pieces(deltas))
                if batch and isinstance(batch[-1], Reply):
                    reply = batch[-1]
        assert reply is not None, "a provider's stream ends with its reply or raises"
        return reply
