"""Answers of an agreed shape: read, checked, and asked for again if they miss it.

Stands around the attempts, inside of one flight: what comes out of here fits, so that only
good answers are stored and shared, under the key of the question as it was first asked. Each
repair is an attempt like any other, admitted and paid by itself, in the time of the same
callers; what fails on its way is tried again as often as the call has retries left. A stream
that somebody has heard is not asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import CallError, InvalidOutput, ShuttingDown
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import quick, record
from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import Usage
from sutlerd.pipeline.arguments import judge_arguments, prepare_parameters
from sutlerd.pipeline.attempt import Attempts
from sutlerd.pipeline.chat import ChatJourney, LookUp
from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.journey import Arrived
from sutlerd.pipeline.repair import repair_request
from sutlerd.pipeline.resolve import Resolved
from sutlerd.pipeline.schema_judge import Judgement, SchemaJudge
from sutlerd.providers.contract import Provider

#: As much of an answer as an error carries.
MAX_TOLD_CHARS = 256 * 1024
_MISSED = "invalid_output"
#: Endings after which there is no answer to be judged, or none to be had by asking again.
_NOT_JUDGED = "tool_calls"
_NOT_REPAIRED = "content_filter"


@record
class Earned:
    """A reply that fits, and what it cost with all that missed before it."""

    arrived: Arrived[Reply]
    cost_nanousd: int | None


_new_earned = quick(Earned)


class Structured:
    """``repairs`` is how often an answer is asked for again."""

    def __init__(
        self,
        *,
        attempts: Attempts,
        providers: Mapping[str, Provider],
        repairs: int,
        clock: Clock,
    ) -> None:
        self._attempts = attempts
        self._providers = providers
        self._repairs = repairs
        self._clock = clock
        self._judge = SchemaJudge()

    async def earn(self, flight: Flight, resolved: Resolved, look_up: LookUp) -> Earned:
        """Bring the answer of a call, of whatever shape. Raises ``CallError``, and ``Known``
        where a route that the call falls back to has its answer stored."""
        request = resolved.call.request
        assert isinstance(request, ChatRequest)
        uid = resolved.call.caller.uid
        if request.schema is not None:
            await self._judge.prepare(request.schema, uid=uid)
        if request.checks_arguments:
            await prepare_parameters(self._judge, request, uid=uid)
        journey = self._journey(flight, resolved, look_up)
        arrived = await self._attempts.travel(resolved.call.routes, journey)
        cost_nanousd = arrived.cost_nanousd
        first_leg = arrived.leg
        for repairs_made in range(self._repairs + 1):
            reply = arrived.brought
            judged = await self._judged(request, reply, uid)
            if judged is None:
                return _new_earned(arrived=arrived, cost_nanousd=cost_nanousd)
            if not judged.errors:
                arrived = replace(arrived, brought=replace(reply, parsed=judged.value))
                return _new_earned(arrived=arrived, cost_nanousd=cost_nanousd)
            arrived.attempts[-1]["outcome"] = _MISSED
            missed = _missed(arrived, judged, repairs_made, cost_nanousd)
            if (
                repairs_made == self._repairs
                or journey.was_heard
                or judged.final
                or reply.finish_reason == _NOT_REPAIRED
            ):
                raise missed
            again = await self._ask_again(flight, resolved, arrived, judged, missed)
            cost_nanousd = _sum(cost_nanousd, again.cost_nanousd)
            arrived = _joined(arrived, again)
            if again.leg.route != first_leg.route:
                first_leg = journey.leg(again.leg.route)
            # Stored under the question, not under the question with its corrections.
            arrived = replace(arrived, leg=first_leg)
        raise AssertionError("the last round returns or raises")

    async def _judged(self, request: ChatRequest, reply: Reply, uid: int) -> Judgement | None:
        """Judge a reply by what was asked for; ``None`` where any will do."""
        if request.checks_arguments and reply.tool_calls:
            return await judge_arguments(self._judge, request, reply, uid=uid)
        if reply.finish_reason == _NOT_JUDGED:
            return None
        if request.schema is None and not request.json_mode:
            return None
        return await self._judge.judge(reply.content, request.schema, uid=uid)

    def _journey(
        self, flight: Flight, resolved: Resolved, look_up: LookUp | None = None
    ) -> ChatJourney:
        return ChatJourney(
            flight, resolved, providers=self._providers, clock=self._clock, look_up=look_up
        )

    async def _ask_again(
        self,
        flight: Flight,
        resolved: Resolved,
        arrived: Arrived[Reply],
        judged: Judgement,
        missed: InvalidOutput,
    ) -> Arrived[Reply]:
        """Ask whoever answered, then the rest of the chain, for a better answer."""
        call = resolved.call
        assert isinstance(call.request, ChatRequest)
        request = repair_request(call.request, arrived.brought, judged.errors)
        routes = call.routes[call.routes.index(arrived.leg.route) :]
        try:
            built = self._providers[routes[0].provider].build_chat(request, routes[0].model)
            again = replace(
                resolved, call=replace(call, request=request, routes=routes), built=built
            )
            return await self._attempts.travel(
                routes, self._journey(flight, again), retries_left=arrived.retries_left
            )
        except ShuttingDown:
            raise
        except CallError as error:
            # The answer is at hand and paid for; why there was no better one is told with it.
            missed.data["repair_failed"] = {"type": error.type, "message": error.message}
            missed.retryable = error.retryable
            missed.retry_after_s = error.retry_after_s
            missed.data["attempts"] += error.data.get("attempts", [])
            raise missed from None


def _joined(before: Arrived[Reply], again: Arrived[Reply]) -> Arrived[Reply]:
    """Give the later answer with the attempts, the waiting and the usage of both."""
    usage = _usage_sum(before.brought.usage, again.brought.usage)
    return replace(
        again,
        brought=replace(again.brought, usage=usage),
        attempts=before.attempts + again.attempts,
        queued_s=before.queued_s + again.queued_s,
        bucket=again.bucket or before.bucket,
    )


def _usage_sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        tokens_in=_sum(one.tokens_in, other.tokens_in),
        tokens_out=_sum(one.tokens_out, other.tokens_out),
        cached_tokens_in=_sum(one.cached_tokens_in, other.cached_tokens_in),
        cache_write_tokens_in=_sum(one.cache_write_tokens_in, other.cache_write_tokens_in),
        reasoning_tokens_out=_sum(one.reasoning_tokens_out, other.reasoning_tokens_out),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    """Add; what is unknown of a part is unknown of the whole."""
    return None if one is None or other is None else one + other


def _missed(
    arrived: Arrived[Reply], judged: Judgement, repairs_made: int, cost_nanousd: int | None
) -> InvalidOutput:
    """Tell the caller. The message is logged, so it quotes nothing of the answer."""
    reply = arrived.brought
    times = f"{repairs_made} repair" + ("" if repairs_made == 1 else "s")
    data: dict[str, Any] = {
        "content": reply.content[:MAX_TOLD_CHARS],
        "errors": list(judged.errors),
        "finish_reason": reply.finish_reason,
        "repairs": repairs_made,
        "model": reply.model,
        "provider": reply.provider,
        "usage": reply.usage.to_wire(),
        "cost_nanousd": cost_nanousd,
        "attempts": list(arrived.attempts),
    }
    missed = "answer is not the JSON that was asked for"
    if reply.tool_calls:
        missed = "call of a function does not fit its parameters"
        data["tool_calls"] = [call.to_wire() for call in reply.tool_calls]
    return InvalidOutput(
        f"the model's {missed}, after {times}: see data.errors and data.content; ask for less at "
        "once, allow more max_tokens, or name a larger model",
        **data,
    )
