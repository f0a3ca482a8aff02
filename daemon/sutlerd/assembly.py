"""From one configuration, and what outlives it, to everything that requests are served by.

Called at the start and by every reload. What counts, keeps, or knows of calls under way
belongs into ``Lasting``; all the rest is made anew, and calls under way end with the old one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import field

from sutlerd import __version__
from sutlerd.admission.level_file import LevelFile
from sutlerd.cache.contract import SecondTier, Store
from sutlerd.config.schema import Config
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.generation import Generation, Generations
from sutlerd.ledger.price_list import read_published
from sutlerd.ledger.prices import PriceTable, Seller
from sutlerd.ledger.written_prices import tariff_of
from sutlerd.pipeline.absent import absent
from sutlerd.pipeline.account_views import AccountViews
from sutlerd.pipeline.attempt import Attempts
from sutlerd.pipeline.budget_views import BudgetViews
from sutlerd.pipeline.cache_moves import CacheMoves
from sutlerd.pipeline.checking import Checking
from sutlerd.pipeline.coalesce import Flights
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.counting import Counting
from sutlerd.pipeline.embed_batch import Batch
from sutlerd.pipeline.embedding import Embeddings
from sutlerd.pipeline.experience import Experience
from sutlerd.pipeline.hits import HitPath, TracedHitPath
from sutlerd.pipeline.idempotency import RequestLog
from sutlerd.pipeline.resolve import Resolver
from sutlerd.pipeline.route import Router
from sutlerd.pipeline.serve import Pipeline
from sutlerd.pipeline.structured import Structured
from sutlerd.pipeline.tape import Tape
from sutlerd.pipeline.telling import Teller
from sutlerd.pipeline.till import Till
from sutlerd.pipeline.tracing import Tracer, vendor_of
from sutlerd.pipeline.turnstile import Turnstile
from sutlerd.pipeline.under_way import UnderWay
from sutlerd.prompts.library import PromptLibrary
from sutlerd.providers.registry import Providers
from sutlerd.server.hub import Hub, Serving
from sutlerd.server.services import Services
from sutlerd.system.tasks import Tasks
from sutlerd.treasury import Treasury


@record
class Lasting:
    """What outlives a reload: whatever counts, keeps or knows of calls under way."""

    store: Store
    second_tier: SecondTier | None
    tasks: Tasks
    generations: Generations
    turnstile: Turnstile
    levels: LevelFile
    experience: Experience
    treasury: Treasury
    request_log: RequestLog
    library: PromptLibrary
    tape: Tape | None
    tracer: Tracer | None
    clock: Clock
    log: EventLog
    instance: str
    connection_limit: int
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    flights: Flights = field(default_factory=Flights)
    under_way: UnderWay = field(default_factory=UnderWay)
    texts_under_way: dict[bytes, Batch] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@record
class Ground:
    """What the rooms above the providers stand on, made anew by every reload."""

    config: Config
    providers: Providers
    generation: Generation
    lasting: Lasting
    router: Router
    resolver: Resolver
    attempts: Attempts
    till: Till
    costs: Costs
    teller: Teller


def lay_ground(config: Config, providers: Providers, lasting: Lasting) -> Ground:
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
    resolver = Resolver(
        llm=llm,
        router=router,
        absent=absent(providers.keyless, router),
        providers=providers,
        instance=lasting.instance,
        library=lasting.library,
        tape=lasting.tape,
        numbers=lasting.numbers,
    )
    costs = _costs(config, lasting)
    till = Till(
        ledger=lasting.treasury.ledger,
        costs=costs,
        refuses_unknown=llm.budget.enabled and llm.budget.unknown_price == "refuse",
        clock=lasting.clock,
    )
    attempts = Attempts(
        providers=providers,
        turnstile=lasting.turnstile,
        till=till,
        queue_timeout_s=llm.queue_timeout_s,
        clock=lasting.clock,
        max_retries=llm.max_retries,
        max_timeout_s=llm.max_timeout_s,
        retry_after_sent=llm.retry.retry_after_sent,
        hedge_after_pct=llm.hedging.after_percentile if llm.hedging.enabled else None,
        experience=lasting.experience,
        stopping=lasting.stopping,
    )
    served = {name: {*each.models, *each.embed_models} for name, each in llm.providers.items()}
    lasting.treasury.accounting.meter.know(served)
    if lasting.tracer is not None:
        lasting.tracer.vendors = {
            name: vendor_of(each.kind, None if each.kind == "embedded" else each.base_url)
            for name, each in llm.providers.items()
        }
    return Ground(
        config=config,
        providers=providers,
        generation=lasting.generations.begin(providers.values()),
        lasting=lasting,
        router=router,
        resolver=resolver,
        attempts=attempts,
        till=till,
        costs=costs,
        teller=Teller(log=lasting.log, clock=lasting.clock, tracer=lasting.tracer),
    )


def build_hub(ground: Ground) -> Hub:
    return Hub(
        serving=build_serving(ground),
        accounting=ground.lasting.treasury.accounting,
        limits=ground.config.limits,
        connection_limit=ground.lasting.connection_limit,
        clock=ground.lasting.clock,
        log=ground.lasting.log,
    )


def build_serving(ground: Ground) -> Serving:
    lasting = ground.lasting
    tallies = lasting.treasury.accounting.hit_tallies
    # A recording hears of every reply.
    remembers = lasting.tape is None
    hit_path = HitPath(lasting.store, lasting.request_log, tallies, remembers=remembers)
    if lasting.tracer is not None:
        hit_path = TracedHitPath(
            lasting.store,
            lasting.request_log,
            tallies,
            remembers=remembers,
            tracer=lasting.tracer,
        )
    return Serving(
        pipeline=_pipeline(ground),
        resolver=ground.resolver,
        hit_path=hit_path,
        services=_services(ground, hit_path),
        spawn=ground.generation.spawn,
    )


def _pipeline(ground: Ground) -> Pipeline:
    lasting = ground.lasting
    return Pipeline(
        resolver=ground.resolver,
        structured=Structured(
            attempts=ground.attempts,
            providers=ground.providers,
            repairs=ground.config.llm.schema_repairs,
            clock=lasting.clock,
        ),
        costs=ground.costs,
        store=lasting.store,
        second_tier=lasting.second_tier,
        flights=lasting.flights,
        under_way=lasting.under_way,
        request_log=lasting.request_log,
        meter=lasting.treasury.accounting.meter,
        clock=lasting.clock,
        teller=ground.teller,
        spawn=ground.generation.spawn,
        drain_s=_drain_s(ground.config),
        in_doubt=ground.till.is_in_doubt,
        tape=lasting.tape,
    )


def _drain_s(config: Config) -> float:
    """Give how long what callers have left, and costs money, is read for its usage."""
    ledger = config.llm.ledger
    return ledger.drain_s if ledger.on_disconnect == "drain" else 0.0


def _services(ground: Ground, hit_path: HitPath) -> Services:
    limits, lasting = ground.config.limits, ground.lasting
    embeddings = Embeddings(
        resolver=ground.resolver,
        providers=ground.providers,
        attempts=ground.attempts,
        costs=ground.costs,
        accounting=lasting.treasury.accounting,
        store=lasting.store,
        second_tier=lasting.second_tier,
        clock=lasting.clock,
        teller=ground.teller,
        spawn=ground.generation.spawn,
        under_way=lasting.texts_under_way,
        max_reply_bytes=limits.owed_max_bytes,
        drain_s=_drain_s(ground.config),
        in_doubt=ground.till.is_in_doubt,
        tape=lasting.tape,
    )
    counting = Counting(
        resolver=ground.resolver,
        router=ground.router,
        providers=ground.providers,
        tape=lasting.tape,
        clock=lasting.clock,
    )
    checking = Checking(
        providers=ground.providers,
        off=ground.providers.off,
        till=ground.till,
        circuits=lasting.experience.circuits,
        clock=lasting.clock,
    )
    return Services(
        version=__version__,
        instance=ground.resolver.instance,
        limits=limits,
        providers=ground.providers,
        off=ground.providers.off,
        aliases=dict(ground.config.llm.aliases),
        default_route=ground.config.llm.default_route,
        store=lasting.store,
        second_tier=lasting.second_tier,
        library=lasting.library,
        hit_path=hit_path,
        cache_moves=_cache_moves(ground),
        embeddings=embeddings,
        counting=counting,
        checking=checking,
        costs=ground.costs,
        account_views=AccountViews(
            accounting=lasting.treasury.accounting, archive=lasting.treasury.bookkeeping
        ),
        budget_views=BudgetViews(ledger=lasting.treasury.ledger, alarm=lasting.treasury.alarm),
        gate=lasting.turnstile.gate,
        circuits=lasting.experience.circuits,
        tasks=lasting.tasks,
        clock=lasting.clock,
    )


def _cache_moves(ground: Ground) -> CacheMoves:
    return CacheMoves(
        store=ground.lasting.store,
        cache=ground.config.llm.cache,
        library=ground.lasting.library,
        costs=ground.costs,
        version=__version__,
        clock=ground.lasting.clock,
    )


def _costs(config: Config, lasting: Lasting) -> Costs:
    return Costs(
        prices=price_table(config, lasting.log),
        clock=lasting.clock,
        log=lasting.log,
        served_as=lasting.treasury.ledger.served_as,
    )


def price_table(config: Config, log: EventLog) -> PriceTable:
    sellers = {
        name: Seller(
            local=provider.local,
            base_url=provider.base_url,
            price_list=provider.preset.price_list,
        )
        for name, provider in config.llm.providers.items()
    }
    written = {model: tariff_of(price) for model, price in config.llm.prices.items()}
    return PriceTable(written=written, sellers=sellers, read=read_published, log=log)
