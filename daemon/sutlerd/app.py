"""The composition root: every concrete object of the daemon is built here, once.

Constructors store their arguments; what lives long is an async context manager, entered in
order and left in reverse. Nothing heavy is imported here, and no network is touched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from sutlerd import __version__
from sutlerd.admission.level_file import LevelFile
from sutlerd.assembly import Lasting, build_hub, build_serving, lay_ground
from sutlerd.cache.contract import Store
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.cache.memory_store import MemoryStore
from sutlerd.cache.redis_store import RedisTier
from sutlerd.config.schema import Config
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.generation import Generations
from sutlerd.ledger.budgets import Budgets
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.store import LedgerStore
from sutlerd.pipeline.experience import Experience
from sutlerd.pipeline.idempotency import RequestLog
from sutlerd.pipeline.places import Places
from sutlerd.pipeline.tape import NOT_TAPED, Taped, open_tape
from sutlerd.pipeline.tracing import Tracer
from sutlerd.pipeline.turnstile import Turnstile
from sutlerd.prompts.library import Folder, PromptLibrary, watch
from sutlerd.prompts.published import Published
from sutlerd.providers.contract import Provider
from sutlerd.providers.registry import Providers, build_providers
from sutlerd.system.folders import Place
from sutlerd.system.tasks import Tasks
from sutlerd.treasury import Treasury, open_treasury

_INSTANCE_BYTES = 6
#: The ledger's folder, below the state's.
LEDGER = "ledger"
#: For answers that cost nothing, so that one asked for again under its id is not made again.
_PASSING_BYTES = 32 * 1024 * 1024


class App:
    """A daemon ready to be given connections. ``hub`` is one for its whole life; what it
    serves by is replaced by ``adopt``."""

    def __init__(self, lasting: Lasting, config: Config, providers: Providers) -> None:
        self._lasting = lasting
        self.config = config
        self.providers = providers
        ground = lay_ground(config, providers, lasting)
        self.attempts = ground.attempts
        self.hub = build_hub(ground)

    @property
    def store(self) -> Store:
        return self._lasting.store

    @property
    def tasks(self) -> Tasks:
        return self._lasting.tasks

    @property
    def generations(self) -> Generations:
        return self._lasting.generations

    @property
    def treasury(self) -> Treasury:
        return self._lasting.treasury

    @property
    def ledger(self) -> Ledger:
        return self._lasting.treasury.ledger

    async def keep_levels(self) -> None:
        """Note how full the buckets are now and then, as long as the daemon lives."""
        await self._lasting.levels.keep()

    async def adopt(self, config: Config) -> None:
        """Serve by another configuration from now on; calls under way go on by the old one.

        Raises ``CannotStart`` for what only shows now, with nothing changed. What cannot be
        changed in a running daemon must be the same in both, see ``config.restart``.
        """
        lasting = self._lasting
        places, budgets = Places(config.llm.fairness), Budgets(config.llm.budget)
        providers = build_providers(
            config, clock=lasting.clock, log=lasting.log, kept=self._unchanged(config)
        )
        await lasting.generations.enter(providers.values())
        await asyncio.to_thread(lasting.library.read_from, _prompt_folders(config))
        # No await from here on: every request is served by the old one or by the new one.
        lasting.treasury.adopt(budgets, config.llm)
        lasting.turnstile.adopt(config.llm, places)
        lasting.library.put_in_place()
        lasting.experience.adopt(config.llm)
        ground = lay_ground(config, providers, lasting)
        self.config, self.providers, self.attempts = config, providers, ground.attempts
        self.hub.adopt(build_serving(ground), config.limits)

    def close_prompts(self) -> None:
        """Have the library say no more, for the last line is that of the end."""
        self._lasting.library.close()

    async def watch_prompts(self) -> None:
        """Take over changed prompt files for ever; nothing remembered outlives them."""
        await watch(self._lasting.library, lambda: self.hub.hit_path.forget_all())

    def prompt_problems(self) -> tuple[str, ...]:
        """Tell what is wrong with prompt files, whose last good templates are served."""
        return tuple(map(str, self._lasting.library.registry.problems))

    def _unchanged(self, config: Config) -> Mapping[str, Provider]:
        """Give the providers that go on as they are, with their connections and children."""
        return {
            name: provider
            for name, provider in self.providers.items()
            if name in config.llm.providers and _same_provider(self.config, config, name)
        }


def _same_provider(before: Config, after: Config, name: str) -> bool:
    gates = {"limits": None, "share": None}  # of the turnstile, not of the provider
    old = before.llm.providers[name].model_copy(update=gates)
    new = after.llm.providers[name].model_copy(update=gates)
    if old != new or before.off(name) != after.off(name):
        return False
    return new.kind != "embedded" or before.embedded == after.embedded


async def build(
    stack: AsyncExitStack,
    config: Config,
    *,
    state_place: Place,
    cache_place: Place | None,
    connection_limit: int,
    clock: Clock,
    log: EventLog,
    taped: Taped = NOT_TAPED,
    providers: Providers | None = None,
    ledger_store: LedgerStore | None = None,
    tracer: Tracer | None = None,
) -> App:
    """Build everything behind the socket. ``stack`` ends it, in reverse order.

    ``providers`` are those of the configuration unless others are given, and the ledger is on
    the disk below the state's folder.
    """
    tape = open_tape(taped, version=__version__, clock=clock, log=log)
    if tape is not None:
        stack.callback(tape.close)
    tasks = Tasks(log)
    if ledger_store is None:
        ledger_store = LedgerStore(state_place.path / LEDGER, log=log)
    treasury = await open_treasury(stack, config.llm, ledger_store, clock, log)
    store: Store = _store(config, cache_place, clock, log)
    await stack.enter_async_context(store)
    second_tier = _second_tier(config, clock, log)
    if second_tier is not None:
        await stack.enter_async_context(second_tier)
    if providers is None:
        providers = build_providers(config, clock=clock, log=log)
    generations = await stack.enter_async_context(Generations(tasks, log))
    await generations.enter(providers.values())
    levels = await stack.enter_async_context(LevelFile(state_place.path, clock=clock, log=log))
    # Left first: what the daemon still does must end before what it uses.
    stack.push_async_callback(tasks.stop)
    turnstile = Turnstile(llm=config.llm, clock=clock, past=levels.past)
    levels.noted = turnstile.noted
    treasury.ledger.on_freed = turnstile.gate.wake
    lasting = Lasting(
        store=store,
        second_tier=second_tier,
        tasks=tasks,
        generations=generations,
        turnstile=turnstile,
        levels=levels,
        experience=Experience(llm=config.llm, clock=clock, log=log, on_shut=turnstile.recheck),
        treasury=treasury,
        request_log=RequestLog(store, MemoryStore(max_bytes=_PASSING_BYTES, clock=clock)),
        library=_library(config, state_place, log),
        tape=tape,
        tracer=tracer,
        clock=clock,
        log=log,
        instance=os.urandom(_INSTANCE_BYTES).hex(),
        connection_limit=connection_limit,
    )
    return App(lasting, config, providers)


def _library(config: Config, state_place: Place, log: EventLog) -> PromptLibrary:
    published = Published(state_place.path, log)
    return PromptLibrary(_prompt_folders(config), published, log, own_uid=os.geteuid())


def _prompt_folders(config: Config) -> tuple[Folder, ...]:
    shipped = Path(__file__).parent / "_data" / "prompts"
    configured = (Folder(path=path) for path in config.prompts.folders)
    return (Folder(path=shipped, trusted=True), *configured)


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
