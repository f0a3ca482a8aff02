"""The composition root: every concrete object of the daemon is built here, once.

Constructors store their arguments; what lives long is an async context manager, entered in
order and left in reverse. Nothing heavy is imported here, and no network is touched.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from sutlerd import __version__
from sutlerd.cache.contract import SecondTier, Store
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.cache.memory_store import MemoryStore
from sutlerd.cache.redis_store import RedisTier
from sutlerd.config.schema import Config
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.pipeline.attempt import Attempts
from sutlerd.pipeline.coalesce import Flights
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.counting import Counting
from sutlerd.pipeline.embedding import Embeddings
from sutlerd.pipeline.hits import HitPath
from sutlerd.pipeline.idempotency import RequestLog
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.route import Router
from sutlerd.pipeline.serve import Pipeline
from sutlerd.providers.registry import Providers, build_providers
from sutlerd.server.hub import Hub
from sutlerd.server.services import Services
from sutlerd.system.folders import Place
from sutlerd.system.tasks import Tasks

_INSTANCE_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A daemon ready to be given connections. ``place_check`` looks after the cache's folder."""

    hub: Hub
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
) -> App:
    """Build everything behind the socket. ``stack`` ends it, in reverse order."""
    tasks = Tasks(log)
    store: Store = _store(config, cache_place, clock, log)
    await stack.enter_async_context(store)
    second_tier = _second_tier(config, clock, log)
    if second_tier is not None:
        await stack.enter_async_context(second_tier)
    providers = build_providers(config, clock=clock, log=log)
    for provider in providers.values():
        await stack.enter_async_context(provider)
    # Left first: what the daemon still does must end before what it uses.
    stack.push_async_callback(tasks.stop)
    return App(
        hub=_hub(config, providers, store, second_tier, tasks, connection_limit, clock, log),
        store=store,
        tasks=tasks,
        providers=providers,
    )


def _hub(
    config: Config,
    providers: Providers,
    store: Store,
    second_tier: SecondTier | None,
    tasks: Tasks,
    connection_limit: int,
    clock: Clock,
    log: EventLog,
) -> Hub:
    llm = config.llm
    instance = os.urandom(_INSTANCE_BYTES).hex()
    router = Router(
        providers=providers.values(),
        off=dict(providers.off),
        default_provider=llm.default_provider,
        default_model=llm.default_model,
        fallback=llm.fallback_providers,
        fallback_models=dict(llm.fallback_models),
        aliases=dict(llm.aliases),
    )
    resolver = Resolver(llm=llm, router=router, providers=providers, instance=instance)
    costs = Costs(free=frozenset(name for name in providers if llm.providers[name].local))
    attempts = Attempts(
        providers=providers,
        clock=clock,
        max_retries=llm.max_retries,
        max_timeout_s=llm.max_timeout_s,
    )
    request_log = RequestLog(store)
    hit_path = HitPath(store, request_log)
    pipeline = Pipeline(
        resolver=resolver,
        providers=providers,
        attempts=attempts,
        costs=costs,
        store=store,
        second_tier=second_tier,
        flights=Flights(),
        request_log=request_log,
        clock=clock,
        log=log,
        spawn=tasks.start,
    )
    embeddings = Embeddings(
        resolver=resolver,
        router=router,
        providers=providers,
        attempts=attempts,
        costs=costs,
        store=store,
        second_tier=second_tier,
        clock=clock,
        log=log,
        spawn=tasks.start,
        max_reply_bytes=config.limits.owed_max_bytes,
    )
    services = Services(
        version=__version__,
        instance=instance,
        limits=config.limits,
        providers=providers,
        off=providers.off,
        default_route=llm.default_route,
        store=store,
        second_tier=second_tier,
        hit_path=hit_path,
        embeddings=embeddings,
        counting=Counting(resolver=resolver, router=router, providers=providers, clock=clock),
        clock=clock,
    )
    services.hub = Hub(
        pipeline=pipeline,
        resolver=resolver,
        hit_path=hit_path,
        services=services,
        limits=config.limits,
        connection_limit=connection_limit,
        clock=clock,
        log=log,
        spawn=tasks.start,
    )
    return services.hub


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
