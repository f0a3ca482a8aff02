"""``providers.check``: one tiny call of each kind to every endpoint, and a verdict to read.

The first thing to run with real keys. Answers are neither taken from the cache nor stored; each
endpoint is asked by itself, all at once, and what fails says why in the provider's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from sutlerd.domain.call import ChatRequest, EmbedRequest, Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CallError, InvalidParams
from sutlerd.domain.ports import Clock
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.pipeline.circuits import Circuits
from sutlerd.pipeline.nearest import nearest
from sutlerd.pipeline.till import Bill, Till
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Provider

CHECK_LIMIT_S = 60.0
_MESSAGE = {"role": "user", "content": "Say ok."}
_MAX_TOKENS = 16
_SHOWN_CHARS = 60
#: What these calls are called in the accounts.
_NAME = "providers.check"

T = TypeVar("T", Reply, Embedded)

#: What was seen of one kind of call: words for a person, and what it cost.
Seen = tuple[str, int | None]


class _Booked(Exception):
    """An attempt that failed: why, and what was booked for it, all that was held if need be."""

    def __init__(self, message: str, cost_nanousd: int) -> None:
        super().__init__(message)
        self.cost_nanousd = cost_nanousd


class Checking:
    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        off: Mapping[str, str],
        till: Till,
        circuits: Circuits,
        clock: Clock,
    ) -> None:
        self._providers = providers
        self._off = off
        self._till = till
        self._circuits = circuits
        self._clock = clock

    async def check(self, names: list[str] | None, caller: Caller) -> dict[str, Any]:
        """Give ``{checks: [{provider, model, what, verdict, ms, cost_nanousd, said}]}``.

        ``verdict`` is ``ok``, ``failed``, ``refused`` (the endpoint does not offer it, or there
        is no money for it) or ``off``. What it costs is the caller's.
        Raises ``InvalidParams`` for a name that is not configured.
        """
        known = [*self._providers, *self._off]
        for name in names or ():
            if name not in known:
                near = nearest(name, known)
                hint = f"; did you mean {near}?" if near else ""
                raise InvalidParams(f"params.names: there is no provider {name[:100]!r}{hint}")
        asked = [name for name in known if names is None or name in names]
        checked = await asyncio.gather(
            *(self._one(self._providers[name], caller) for name in asked if name in self._providers)
        )
        off = [
            _row(name, "", "all", "off", said=self._off[name])
            for name in asked
            if name in self._off
        ]
        return {"checks": [row for rows in checked for row in rows] + off}

    async def _one(self, provider: Provider, caller: Caller) -> list[dict[str, Any]]:
        chat, rows = provider.default_model, []
        kinds: dict[str, tuple[str, Callable[[Provider, str, Caller], Awaitable[Seen]]]] = {
            "completion": (chat, self._completion),
            "stream": (chat, self._stream),
            "tokens": (chat, self._tokens),
        }
        if not provider.capabilities(chat).chat:
            kinds = {}
        if provider.embed_models:
            kinds["embedding"] = (provider.embed_models[0], self._embedding)
        for what, (model, ask) in kinds.items():
            started_s = self._clock.monotonic_s()
            cost: int | None = None
            try:
                said, cost = await ask(provider, model, caller)
                verdict = "ok"
                # An operator's word: what was closed is open from now on.
                self._circuits.reset(provider.name)
            except _Booked as failure:
                verdict, said, cost = "failed", str(failure), failure.cost_nanousd
            except AttemptFailed as failure:
                verdict, said = "failed", failure.message
            except CallError as refusal:
                verdict, said = "refused", refusal.message
            passed_ms = (self._clock.monotonic_s() - started_s) * 1000
            rows.append(
                _row(provider.name, model, what, verdict, ms=passed_ms, cost=cost, said=said)
            )
        return rows

    async def _completion(self, provider: Provider, model: str, caller: Caller) -> Seen:
        built = provider.build_chat(_tiny(), model)
        ask = provider.complete(built, deadline_s=self._deadline_s())
        return _read(*await self._paid(provider, built, model, caller, ask))

    async def _stream(self, provider: Provider, model: str, caller: Caller) -> Seen:
        built = provider.build_chat(_tiny(), model)

        async def ask() -> Reply:
            async with provider.stream(built, deadline_s=self._deadline_s()) as batches:
                return await _last(batches)

        return _read(*await self._paid(provider, built, model, caller, ask()))

    async def _embedding(self, provider: Provider, model: str, caller: Caller) -> Seen:
        built = provider.build_embed(EmbedRequest(texts=("ok",)), model)
        ask = provider.embed(built, deadline_s=self._deadline_s())
        embedded, cost = await self._paid(provider, built, model, caller, ask, kind="embed")
        return f"{embedded.dimension} dimensions", cost

    async def _tokens(self, provider: Provider, model: str, caller: Caller) -> Seen:
        count = await provider.count_tokens([_MESSAGE], model, deadline_s=self._deadline_s())
        exact = "exact" if count.exact else "estimated"
        return f"{count.tokens} tokens, {exact} ({count.method})", 0

    async def _paid(
        self,
        provider: Provider,
        built: BuiltRequest,
        model: str,
        caller: Caller,
        ask: Coroutine[Any, Any, T],
        *,
        kind: str = "chat",
    ) -> tuple[T, int | None]:
        """Make one attempt with its money, as any other; it waits for none."""
        try:
            route = Route(provider=provider.name, model=model)
            bill = Bill(
                request_id=_NAME,
                given_id=False,
                caller=caller,
                labels=Labels(component=_NAME),
                kind=kind,
            )
            spend = await self._till.quote(
                bill, route, built.body, max_tokens_out=_MAX_TOKENS, within_s=CHECK_LIMIT_S
            )
            reservation = self._till.reserve_now(spend)
            await reservation.on_disk()
        except BaseException:
            ask.close()
            raise
        asked_unix_s = self._clock.unix_s()
        try:
            brought = await ask
        except AttemptFailed as failure:
            booked_nanousd = self._till.failed(reservation, failure.outcome)
            raise _Booked(failure.message, booked_nanousd) from failure
        except BaseException:
            self._till.failed(reservation, Outcome.UNKNOWN)
            raise
        cost = await self._till.settle(reservation, route, brought, asked_unix_s=asked_unix_s)
        return brought, cost

    def _deadline_s(self) -> float:
        return self._clock.monotonic_s() + CHECK_LIMIT_S


def _tiny() -> ChatRequest:
    return ChatRequest(messages=(_MESSAGE,), max_tokens=_MAX_TOKENS)


def _read(reply: Reply, cost: int | None) -> Seen:
    said = " ".join(reply.content.split())[:_SHOWN_CHARS]
    return f"{reply.model}: {said or reply.finish_reason}", cost


async def _last(batches: AsyncIterator[Any]) -> Reply:
    last: Reply | None = None
    async for batch in batches:
        for item in batch:
            if isinstance(item, Reply):
                last = item
    assert last is not None, "a provider's stream ends with its reply or raises"
    return last


def _row(
    provider: str,
    model: str,
    what: str,
    verdict: str,
    *,
    said: str,
    ms: float | None = None,
    cost: int | None = None,
) -> dict[str, Any]:
    return {
        "provider": provider,
        "model": model or None,
        "what": what,
        "verdict": verdict,
        "ms": None if ms is None else round(ms, 1),
        "cost_nanousd": cost,
        "said": said,
    }
