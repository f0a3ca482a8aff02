"""``embed``: each text is cached, and shared while under way, by itself.

What is missing is bought in batches within the provider's limits. The daemon owns a batch: it
is cancelled only when nobody waits for any of its texts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from sutlerd.cache.contract import SecondTier, Store
from sutlerd.cache.fingerprint import fingerprint
from sutlerd.domain.call import CacheMode, EmbedRequest, Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import CacheMiss, CallError, InternalError, Timeout
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.attempt import Attempts
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.embed_batch import Batch, BatchJourney, portions, share
from sutlerd.pipeline.embed_result import Vector, check_texts, compose_vectors
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.player import Player
from sutlerd.pipeline.question import embed_asked, question
from sutlerd.pipeline.resolve import Resolver, traceparent_of
from sutlerd.pipeline.tape import Tape
from sutlerd.pipeline.telling import Teller
from sutlerd.pipeline.till import Bill, InDoubt
from sutlerd.providers.contract import Provider
from sutlerd.telemetry.conventions import EMBEDDINGS

if TYPE_CHECKING:
    from sutlerd.pipeline.params import EmbedParams

DEFAULT_BATCH_TEXTS = 256
_YIELD_EVERY_TEXTS = 128


class Embeddings:
    """``max_reply_bytes`` bounds one reply, whatever its texts, dimension and encoding.
    ``under_way`` has the batch of each text that is being bought, by fingerprint."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        providers: Mapping[str, Provider],
        attempts: Attempts,
        costs: Costs,
        accounting: Accounting,
        store: Store,
        second_tier: SecondTier | None,
        clock: Clock,
        teller: Teller,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        under_way: dict[bytes, Batch],
        max_reply_bytes: int,
        drain_s: float,
        in_doubt: InDoubt,
        tape: Tape | None = None,
    ) -> None:
        self._resolver = resolver
        self._providers = providers
        self._attempts = attempts
        self._costs = costs
        self._accounting = accounting
        self._store = store
        self._second_tier = second_tier
        self._clock = clock
        self._teller = teller
        self._spawn = spawn
        self._max_reply_bytes = max_reply_bytes
        self._drain_s = drain_s
        self._in_doubt = in_doubt
        self._tape = tape
        self._under_way = under_way
        self._storing = asyncio.Lock()

    @property
    def texts_under_way(self) -> int:
        return len(self._under_way)

    async def embed(self, params: EmbedParams, caller: Caller, labels: Labels) -> bytes:
        """Give the result object as JSON. Raises ``CallError``."""
        request_id = self._resolver.request_id(params.request_id)
        try:
            return await self._given(params, caller, labels, request_id)
        except CallError as error:
            claimed = {"component": labels.component, "project": labels.project}
            said = {"labels": claimed, "request_id": request_id, "metadata": params.metadata}
            self._teller.refused(EMBEDDINGS, caller, said, error)
            raise

    async def _given(
        self, params: EmbedParams, caller: Caller, labels: Labels, request_id: str
    ) -> bytes:
        if self._tape is None:
            return await self._bought(params, caller, labels, request_id)
        asked = question(
            embed_asked(params), caller=caller, labels=labels, request_id=params.request_id
        )
        if isinstance(self._tape, Player):
            try:
                return self._replayed(self._tape.play(asked), caller, labels, request_id)
            except CallError as error:
                self._accounting.refused(caller, params.labels, request_id, "embed", error.type)
                raise
        asking = self._tape.begin(asked)
        given = await self._bought(params, caller, labels, request_id)
        self._tape.keep(asked, asking, given)
        return given

    def _replayed(self, recorded: bytes, caller: Caller, labels: Labels, request_id: str) -> bytes:
        """Give a recorded result, as one that was stored and cost nothing."""
        result = orjson.loads(recorded)
        served = {"provider": result["provider"], "model": result["model"]}
        self._accounting.embedded(request_id, caller, labels, cached=True, **served)
        free = {"cached": len(result["embeddings"]), "cost_nanousd": 0, "request_id": request_id}
        return orjson.dumps(result | free)

    async def _bought(
        self, params: EmbedParams, caller: Caller, labels: Labels, request_id: str
    ) -> bytes:
        try:
            route, refusal = self._resolver.embed_route(params.model, params.provider)
        except CallError as error:
            self._accounting.refused(caller, params.labels, request_id, "embed", error.type)
            raise
        enter = partial(
            self._accounting.embedded,
            request_id,
            caller,
            labels,
            provider=route.provider,
            model=route.model,
        )
        bill = Bill(
            request_id=request_id,
            given_id=params.request_id is not None,
            caller=caller,
            labels=labels,
            kind="embed",
        )
        try:
            result, cached, coalesced = await self._embed(params, bill, route, refusal)
        except CallError as error:
            enter(error=error.type)
            raise
        except asyncio.CancelledError:
            enter(error="cancelled")
            raise
        enter(cached=cached, coalesced=coalesced)
        return result

    async def _embed(
        self, params: EmbedParams, bill: Bill, route: Route, refusal: CallError | None
    ) -> tuple[bytes, bool, bool]:
        """Give the result, whether all of it was stored, and whether others bought the rest."""
        caller, now_s = bill.caller, self._clock.monotonic_s()
        deadline_s = self._resolver.deadline_s(params.timeout_s, now_s)
        provider = self._resolver.provider_of(route)
        check_texts(params, provider.capabilities(route.model), self._max_reply_bytes)
        mode = CacheMode.OFF if not self._resolver.caches else CacheMode(params.cache or "on")
        keys = await self._keys(params, caller, route, provider)
        vectors = await self._stored(keys, mode, self._resolver.tenant(caller))
        missing = {key: text for key, text in keys.items() if key not in vectors}
        unknown = set(missing.values())
        cached_texts = sum(text not in unknown for text in params.texts)
        opened: list[Batch] = []
        if missing and refusal is not None:
            raise refusal
        if missing and params.cache == "only":
            raise CacheMiss(f"{len(missing)} of the texts are not stored, and cache is 'only'")
        if missing:
            order = _Order(asker=Asker(caller=caller, lane=params.lane), bill=bill)
            joined, opened = self._batches(missing, params, order, route, mode, deadline_s)
            vectors |= await self._wait(joined, opened, deadline_s)
        by_text = {text: vectors[key] for key, text in keys.items()}
        result = compose_vectors(
            params,
            [by_text[text] for text in params.texts],
            bought=[batch.embedded for batch in opened if batch.embedded is not None],
            cost_nanousd=_sum([batch.cost_nanousd for batch in opened]),
            cached_texts=cached_texts,
            provider=route.provider,
            request_id=bill.request_id,
            latency_ms=(self._clock.monotonic_s() - now_s) * 1000,
        )
        return result, not missing, bool(missing) and not opened

    async def _keys(
        self, params: EmbedParams, caller: Caller, route: Route, provider: Provider
    ) -> dict[bytes, str]:
        """Give each distinct text's key, without holding the loop for long."""
        tenant = self._resolver.tenant(caller)
        keys = {}
        for place, text in enumerate(dict.fromkeys(params.texts)):
            if place % _YIELD_EVERY_TEXTS == _YIELD_EVERY_TEXTS - 1:
                await asyncio.sleep(0)
            request = EmbedRequest(texts=(text,), dimensions=params.dimensions, extra=params.extra)
            built = provider.build_embed(request, route.model)
            key = fingerprint(
                tenant=tenant,
                kind="embed",
                provider=route.provider,
                model=built.model,
                body=built.body,
                sample=0,
            )
            keys[key] = text
        return keys

    async def _stored(
        self, keys: Mapping[bytes, str], mode: CacheMode, scope: str
    ) -> dict[bytes, Vector]:
        vectors: dict[bytes, Vector] = {}
        if not mode.reads:
            return vectors
        for key in keys:
            payload = self._store.get(key)
            if payload is not None:
                vectors[key] = Vector.decode(payload)
        if self._second_tier is not None:
            away = [key for key in keys if key not in vectors]
            found = await asyncio.gather(*(self._second_tier.get(key) for key in away))
            for key, payload in zip(away, found, strict=True):
                if payload is not None:
                    self._store.put(key, payload, scope=scope, ttl_s=self._resolver.ttl_s(None))
                    vectors[key] = Vector.decode(payload)
        return vectors

    def _batches(
        self,
        missing: Mapping[bytes, str],
        params: EmbedParams,
        order: _Order,
        route: Route,
        mode: CacheMode,
        deadline_s: float,
    ) -> tuple[list[Batch], list[Batch]]:
        """Join batches under way where that is allowed, and open others for the rest: both."""
        shares = mode in (CacheMode.ON, CacheMode.READ_ONLY)
        ttl_s = self._resolver.ttl_s(params.cache_ttl_s) if mode.writes else 0.0
        joined: dict[Batch, None] = {}
        fresh: dict[bytes, str] = {}
        for key, text in missing.items():
            batch = self._under_way.get(key) if shares else None
            if batch is None:
                fresh[key] = text
            else:
                joined[batch] = None
                batch.ttl_s = max(batch.ttl_s, ttl_s)
        if order.bill.given_id:
            share(joined, order.bill)
        can = self._providers[route.provider].capabilities(route.model)
        size = can.max_embed_texts or DEFAULT_BATCH_TEXTS
        # Nobody joins what will be refused for its id.
        bill = order.bill
        buys = not (bill.given_id and self._in_doubt(bill.uid, bill.request_id))
        opened: list[Batch] = []
        for texts in portions(fresh, max_texts=size, max_tokens=can.max_embed_tokens):
            batch = Batch(texts, params.dimensions, params.extra)
            batch.patience_until_s = deadline_s
            batch.ttl_s = ttl_s
            batch.traceparent = traceparent_of(params.metadata)
            opened.append(batch)
            if shares and buys:
                self._under_way.update(dict.fromkeys(batch.texts, batch))
            batch.task = self._spawn(self._buy(batch, route, order), "embed")
        return list(joined), opened

    async def _wait(
        self, joined: Sequence[Batch], opened: Sequence[Batch], deadline_s: float
    ) -> dict[bytes, Vector]:
        batches = [*joined, *opened]
        vectors: dict[bytes, Vector] = {}
        late: Timeout | None = None
        for batch in batches:
            batch.waiters += 1
            batch.patience_until_s = max(batch.patience_until_s, deadline_s)
        try:
            async with asyncio.timeout(deadline_s - self._clock.monotonic_s()):
                for batch in batches:
                    await asyncio.shield(batch.done)
                    vectors |= batch.vectors
        except TimeoutError:
            late = Timeout("not all texts were embedded in time: ask with a longer timeout_s")
            # A batch that its opener is the last to leave says so in the opener's name.
            late.is_told = any(each.waiters == 1 and not each.done.done() for each in opened)
            raise late from None
        finally:
            for batch in batches:
                batch.waiters -= 1
                if batch.waiters or batch.done.done():
                    continue
                batch.left_for = late
                if batch.paid and self._drain_s:
                    loop = asyncio.get_running_loop()
                    loop.call_later(self._drain_s, self._abandon, batch)
                else:
                    self._abandon(batch)
        return vectors

    def _abandon(self, batch: Batch) -> None:
        if not batch.waiters and not batch.done.done():
            self._forget(batch)
            if batch.task is not None:
                batch.task.cancel()

    async def _buy(self, batch: Batch, route: Route, order: _Order) -> None:
        started_s = self._clock.monotonic_s()
        journey = BatchJourney(
            batch=batch,
            asker=order.asker,
            opened_by=order.bill,
            providers=self._providers,
            clock=self._clock,
        )
        try:
            self._costs.prepare(route)
            arrived = await self._attempts.travel([route], journey)
            batch.cost_nanousd = arrived.cost_nanousd
        except CallError as error:
            self._teller.bought(batch, order.bill, route, started_s, error=error)
            _fail(batch, error)
        except asyncio.CancelledError:
            self._teller.deserted(batch, order.bill, route, started_s)
            batch.done.cancel()
            raise
        except BaseException as error:
            # A bug of ours must not leave callers waiting; who owns the task logs it.
            _fail(batch, InternalError(f"{type(error).__name__}: see the daemon's log"))
            raise
        else:
            _accept(batch, arrived.brought)
            self._teller.bought(batch, order.bill, route, started_s)
            batch.done.set_result(None)
            await self._keep(batch, self._resolver.tenant(order.bill.caller))
        finally:
            self._forget(batch)

    async def _keep(self, batch: Batch, scope: str) -> None:
        """Store a batch, one at a time: the store's queue could not take thousands at once."""
        if batch.ttl_s <= 0:
            return
        async with self._storing:
            for key, vector in batch.vectors.items():
                payload = vector.encode()
                self._store.put(key, payload, scope=scope, ttl_s=batch.ttl_s)
                if self._second_tier is not None:
                    self._second_tier.put(key, payload, ttl_s=batch.ttl_s)
            await self._store.flush()

    def _forget(self, batch: Batch) -> None:
        for key in batch.texts:
            if self._under_way.get(key) is batch:
                del self._under_way[key]


@record
class _Order:
    """Who buys: the caller that opened a batch, and who pays for what."""

    asker: Asker
    bill: Bill


def _accept(batch: Batch, embedded: Embedded) -> None:
    batch.embedded = embedded
    for key, floats in zip(batch.texts, embedded.vectors, strict=True):
        batch.vectors[key] = Vector(
            model=embedded.model, dimension=embedded.dimension, floats=floats
        )


def _fail(batch: Batch, error: CallError) -> None:
    batch.done.set_exception(error)
    # Read once, so that a batch whose last waiter just left is no unheard error.
    batch.done.exception()


def _sum(costs: Sequence[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
