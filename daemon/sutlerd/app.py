"""The composition root: every concrete object of the daemon is built here, once.

Constructors store their arguments; what lives long is an async context manager, entered in
order and left in reverse. Nothing heavy is imported here, and no network is touched.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from sutlerd import __version__
from sutlerd.admission.gate import Gate
from sutlerd.cache.contract import SecondTier, Store
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.cache.memory_store import MemoryStore
from sutlerd.cache.redis_store import RedisTier
from sutlerd.config.schema import Config
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.ledger.price_list import read_published
from sutlerd.ledger.prices import PriceTable, Seller
from sutlerd.ledger.tariff import Rates, fixed
from sutlerd.pipeline.attempt import Attempts
from sutlerd.pipeline.checking import Checking
from sutlerd.pipeline.coalesce import Flights
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.counting import Counting
from sutlerd.pipeline.embedding import Embeddings
from sutlerd.pipeline.hits import HitPath
from sutlerd.pipeline.idempotency import RequestLog
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.route import Router
from sutlerd.pipeline.serve import Pipeline
from sutlerd.pipeline.turnstile import Turnstile
from sutlerd.providers.registry import Providers, build_providers
from sutlerd.server.hub import Hub
from sutlerd.server.services import Services
from sutlerd.system.folders import Place
from sutlerd.system.tasks import Tasks

_INSTANCE_BYTES = 6
#: For answers that cost nothing, so that one asked for again under its id is not made again.
_PASSING_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A daemon ready to be given connections."""

    hub: Hub
    attempts: Attempts
    store: Store
    tasks: Tasks
    providers: Providers


async def build(
    stack: AsyncExitStack,
    config: Config,
    *,
    cache_place: Place | None,
    connection_limit: int,
    clock: Clock,
    log: EventLog,
    providers: Providers | None = None,
) -> App:
    """Build everything behind the socket. ``stack`` ends it, in reverse order.

    ``providers`` are those of the configuration unless others are given.
    """
    tasks = Tasks(log)
    store: Store = _store(config, cache_place, clock, log)
    await stack.enter_async_context(store)
    second_tier = _second_tier(config, clock, log)
    if second_tier is not None:
        await stack.enter_async_context(second_tier)
    if providers is None:
        providers = build_providers(config, clock=clock, log=log)
    for provider in providers.values():
        await stack.enter_async_context(provider)
    # Left first: what the daemon still does must end before what it uses.
    stack.push_async_callback(tasks.stop)
    ground = _ground(config, providers, store, second_tier, tasks, clock, log)
    return App(
        hub=_hub(ground, connection_limit),
        attempts=ground.attempts,
        store=store,
        tasks=tasks,
        providers=providers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What the rooms above the providers stand on."""

    config: Config
    providers: Providers
    store: Store
    second_tier: SecondTier | None
    tasks: Tasks
    router: Router
    resolver: Resolver
    gate: Gate
    attempts: Attempts
    costs: Costs
    clock: Clock
    log: EventLog


def _ground(
    config: Config,
    providers: Providers,
    store: Store,
    second_tier: SecondTier | None,
    tasks: Tasks,
    clock: Clock,
    log: EventLog,
) -> _Ground:
    llm = config.llm
    router = Router(
        providers=providers.values(),
        off=dict(providers.off),
        default_provider=llm.default_provider,
        default_model=llm.default_model,
        fallback=llm.fallback_providers,
        fallback_models=dict(llm.fallback_models),
        aliases=dict(llm.aliases),
    )
    instance = os.urandom(_INSTANCE_BYTES).hex()
    turnstile = Turnstile(llm=llm, clock=clock)
    attempts = Attempts(
        providers=providers,
        turnstile=turnstile,
        queue_timeout_s=llm.queue_timeout_s,
        clock=clock,
        max_retries=llm.max_retries,
        max_timeout_s=llm.max_timeout_s,
    )
    return _Ground(
        config=config,
        providers=providers,
        store=store,
        second_tier=second_tier,
        tasks=tasks,
        router=router,
        resolver=Resolver(llm=llm, router=router, providers=providers, instance=instance),
        gate=turnstile.gate,
        attempts=attempts,
        costs=Costs(prices=_prices(config, log), clock=clock, log=log),
        clock=clock,
        log=log,
    )


def _hub(ground: _Ground, connection_limit: int) -> Hub:
    passing = MemoryStore(max_bytes=_PASSING_BYTES, clock=ground.clock)
    request_log = RequestLog(ground.store, passing)
    hit_path = HitPath(ground.store, request_log)
    services = _services(ground, hit_path)
    services.hub = Hub(
        pipeline=_pipeline(ground, request_log),
        resolver=ground.resolver,
        hit_path=hit_path,
        services=services,
        limits=ground.config.limits,
        connection_limit=connection_limit,
        clock=ground.clock,
        log=ground.log,
        spawn=ground.tasks.start,
    )
    return services.hub


def _pipeline(ground: _Ground, request_log: RequestLog) -> Pipeline:
    return Pipeline(
        resolver=ground.resolver,
        providers=ground.providers,
        attempts=ground.attempts,
        costs=ground.costs,
        store=ground.store,
        second_tier=ground.second_tier,
        flights=Flights(),
        request_log=request_log,
        clock=ground.clock,
        log=ground.log,
        spawn=ground.tasks.start,
    )


def _services(ground: _Ground, hit_path: HitPath) -> Services:
    limits = ground.config.limits
    embeddings = Embeddings(
        resolver=ground.resolver,
        router=ground.router,
        providers=ground.providers,
        attempts=ground.attempts,
        costs=ground.costs,
        store=ground.store,
        second_tier=ground.second_tier,
        clock=ground.clock,
        log=ground.log,
        spawn=ground.tasks.start,
        max_reply_bytes=limits.owed_max_bytes,
    )
    counting = Counting(
        resolver=ground.resolver,
        router=ground.router,
        providers=ground.providers,
        clock=ground.clock,
    )
    checking = Checking(
        providers=ground.providers,
        off=ground.providers.off,
        costs=ground.costs,
        clock=ground.clock,
    )
    return Services(
        version=__version__,
        instance=ground.resolver.instance,
        limits=limits,
        providers=ground.providers,
        off=ground.providers.off,
        default_route=ground.config.llm.default_route,
        store=ground.store,
        second_tier=ground.second_tier,
        hit_path=hit_path,
        embeddings=embeddings,
        counting=counting,
        checking=checking,
        costs=ground.costs,
        gate=ground.gate,
        tasks=ground.tasks,
        clock=ground.clock,
    )


def _prices(config: Config, log: EventLog) -> PriceTable:
    sellers = {
        name: Seller(
            local=provider.local,
            base_url=provider.base_url,
            price_list=provider.preset.price_list,
        )
        for name, provider in config.llm.providers.items()
    }
    written = {
        model: fixed(
            Rates(
                input_usd=price.input_usd,
                output_usd=price.output_usd,
                cache_read_usd=price.cache_read_usd,
                cache_write_usd=price.cache_write_usd,
            ),
            "configuration",
        )
        for model, price in config.llm.prices.items()
    }
    return PriceTable(written=written, sellers=sellers, read=read_published, log=log)


def _store(
    config: Config, place: Place | None, clock: Clock, log: EventLog
) -> LmdbStore | MemoryStore:
    cache = config.llm.cache
    if place is None:
        return MemoryStore(max_bytes=cache.max_size_bytes, clock=clock)
    return LmdbStore(place.path, max_bytes=cache.max_size_bytes, clock=clock, log=log)


def _second_tier(config: Config, clock: Clock, log: EventLog) -> RedisTier | None:
    cache = config.llm.cache
    if not cache.enabled or cache.backend != "redis" or cache.redis_url is None:
        return None
    return RedisTier(
        cache.redis_url.reveal(), timeout_s=cache.redis_timeout_s, clock=clock, log=log
    )
