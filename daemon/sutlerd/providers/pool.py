"""Several endpoints of one provider that stand for one another: two servers, or two keys.

The pipeline sees one provider. Each attempt goes to the endpoint with the fewest outstanding;
one that cannot be reached, or whose key is refused, is passed over for a while that doubles,
then tried with a single call. Nothing is retried here: the pipeline's next attempt is given
another endpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.ports import Clock
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Capabilities,
    LimitView,
    Outcome,
    RateLimitView,
    TokenCount,
    Verdict,
)
from sutlerd.providers.endpoint import Endpoint

#: How long one is passed over after its first failure, and at most.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

_Answer = TypeVar("_Answer")
Pieces = Sequence[Delta | Reply]


@dataclass(slots=True, eq=False)
class _Member:
    """One endpoint. ``failures`` counts those in a row that speak of the endpoint itself."""

    endpoint: Endpoint
    failures: int = 0
    until_s: float = 0.0
    turn: int = 0

    def is_passed_over(self, now_s: float) -> bool:
        # After its pause a single call finds out for all.
        return self.failures > 0 and (now_s < self.until_s or self.endpoint.in_flight > 0)


class Pool:
    """See ``contract.Provider``. Its endpoints have one dialect and the same models."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Clock) -> None:
        first = endpoints[0]
        self.name = first.name
        self.default_model = first.default_model
        self.models: Sequence[str] = first.models
        self.embed_models: Sequence[str] = first.embed_models
        self._members = [_Member(endpoint) for endpoint in endpoints]
        self._clock = clock
        self._turn = 0
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for member in self._members:
                await stack.enter_async_context(member.endpoint)
            self._entered = stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._entered.aclose()

    def capabilities(self, model: str) -> Capabilities:
        return self._members[0].endpoint.capabilities(model)

    def build_chat(self, request: ChatRequest, model: str) -> BuiltRequest:
        return self._members[0].endpoint.build_chat(request, model)

    def build_embed(self, request: EmbedRequest, model: str) -> BuiltRequest:
        return self._members[0].endpoint.build_embed(request, model)

    async def complete(self, built: BuiltRequest, *, deadline_s: float) -> Reply:
        return await self._ask(lambda end: end.complete(built, deadline_s=deadline_s))

    async def embed(self, built: BuiltRequest, *, deadline_s: float) -> Embedded:
        return await self._ask(lambda end: end.embed(built, deadline_s=deadline_s))

    async def count_tokens(
        self,
        asked: str | Sequence[dict[str, Any]],
        model: str,
        *,
        deadline_s: float,
        ask_provider: bool = False,
    ) -> TokenCount:
        return await self._ask(
            lambda end: end.count_tokens(
                asked, model, deadline_s=deadline_s, ask_provider=ask_provider
            )
        )

    async def served_models(self, *, deadline_s: float) -> tuple[str, ...] | None:
        return await self._ask(lambda end: end.served_models(deadline_s=deadline_s))

    def stream(
        self, built: BuiltRequest, *, deadline_s: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Pieces]]:
        return _PoolStream(self, lambda end: end.stream(built, deadline_s=deadline_s))

    def limits_seen(self, built: BuiltRequest) -> RateLimitView | None:
        """Tell the limits as the endpoint had them that answered, for all endpoints together:
        each has a key of its own, and they are used in turn."""
        for member in self._members:
            seen = member.endpoint.limits_seen(built)
            if seen is not None:
                return _all_together(seen, len(self._members))
        return None

    def health(self) -> dict[str, Any]:
        now_s = self._clock.monotonic_s()
        each = []
        for member in self._members:
            left_s = max(0.0, member.until_s - now_s) if member.failures else 0.0
            told = {"failures_in_a_row": member.failures, "passed_over_s": round(left_s, 3)}
            each.append({**member.endpoint.health(), **told})
        sums = ("connections", "in_flight", "attempts", "failures")
        return {
            "address": ", ".join(told["address"] for told in each),
            "transport": each[0]["transport"],
            **{name: sum(told[name] for told in each) for name in sums},
            "endpoints": each,
        }

    async def _ask(self, ask: Callable[[Endpoint], Awaitable[_Answer]]) -> _Answer:
        member = self._choose()
        with self._judged(member):
            return await ask(member.endpoint)

    def _choose(self) -> _Member:
        """Choose with no await before the attempt counts as outstanding."""
        now_s = self._clock.monotonic_s()
        able = [member for member in self._members if not member.is_passed_over(now_s)]
        # With none to be had, the one whose pause ends first: asking is better than refusing.
        chosen = (
            min(able, key=lambda member: (member.endpoint.in_flight, member.turn))
            if able
            else min(self._members, key=lambda member: (member.until_s, member.turn))
        )
        self._turn += 1
        chosen.turn = self._turn
        return chosen

    @contextmanager
    def _judged(self, member: _Member) -> Iterator[None]:
        """Learn of the endpoint from what becomes of an attempt."""
        try:
            yield
        except AttemptFailed as failure:
            self._learn(member, failure)
            raise
        else:
            member.failures = 0

    def _learn(self, member: _Member, failure: AttemptFailed) -> None:
        unreachable = failure.outcome is Outcome.NOT_SENT and failure.kind != "timeout"
        closed = failure.verdict is Verdict.CLOSED
        if not unreachable and not closed:
            # It answered, or took the request: slow, busy and refusing ones are not dead ones.
            if failure.outcome is Outcome.NOT_BILLED:
                member.failures = 0
            return
        now_s = self._clock.monotonic_s()
        member.failures += 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(member.failures - 1, 10))
        member.until_s = now_s + pause_s
        if any(not other.is_passed_over(now_s) for other in self._members):
            # What closes one endpoint, a key without credit, does not close the others.
            failure.verdict = Verdict.RETRY


class _PoolStream:
    """The context of one stream through the pool."""

    def __init__(
        self,
        pool: Pool,
        open_stream: Callable[[Endpoint], AbstractAsyncContextManager[AsyncIterator[Pieces]]],
    ) -> None:
        self._pool = pool
        self._open_stream = open_stream

    async def __aenter__(self) -> AsyncIterator[Pieces]:
        member = self._pool._choose()
        self._inner = self._open_stream(member.endpoint)
        with self._pool._judged(member):
            return await self._inner.__aenter__()

    async def __aexit__(self, *details: Any) -> None:
        await self._inner.__aexit__(*details)


def _all_together(seen: RateLimitView, endpoints: int) -> RateLimitView:
    def times(amount: float | None) -> float | None:
        return None if amount is None else amount * endpoints

    return RateLimitView(
        limits={
            name: LimitView(
                limit=times(view.limit), remaining=times(view.remaining), reset_s=view.reset_s
            )
            for name, view in seen.limits.items()
        }
    )
