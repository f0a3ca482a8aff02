"""What the methods serve from: the rooms below, gathered for those who ask about them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from sutlerd.admission.gate import Gate
from sutlerd.cache.contract import SecondTier, Store, StoreUnavailable
from sutlerd.config.schema import LimitsConfig
from sutlerd.domain.call import Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.errors import Overloaded
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.pipeline.account_views import AccountViews
from sutlerd.pipeline.budget_views import BudgetViews
from sutlerd.pipeline.cache_moves import CacheMoves
from sutlerd.pipeline.checking import Checking
from sutlerd.pipeline.circuits import Circuits
from sutlerd.pipeline.costs import Costs
from sutlerd.pipeline.counting import Counting
from sutlerd.pipeline.embedding import Embeddings
from sutlerd.pipeline.hits import HitPath
from sutlerd.prompts.library import PromptLibrary
from sutlerd.providers.contract import Provider
from sutlerd.server.readings import gather
from sutlerd.system.stall import StallWatcher
from sutlerd.system.tasks import Tasks
from sutlerd.system.tokens import TokenBook
from sutlerd.telemetry.readings import Readings
from sutlerd.telemetry.span_queue import SpanQueue

if TYPE_CHECKING:
    from sutlerd.server.hub import Hub


_FLUSH_LIMIT_S = 1.0


@record
class Control:
    """What operators may do to the daemon itself.

    ``reload`` tells how it ended, ``last_reload`` how the last one did; ``drain`` begins the
    stop that SIGTERM begins.
    """

    reload: Callable[[], Awaitable[dict[str, Any]]]
    drain: Callable[[], None]
    last_reload: Callable[[], dict[str, Any] | None]


class Services:
    """``off`` tells why a configured provider is not in service; ``default_route`` is shown
    by ``models``. ``hub`` is set by the hub that serves by this, ``stalls``, ``tokens``,
    ``control`` and, where traces are sent, ``spans`` by who starts the daemon. Made anew by every
    reload; what lasts is taken over by ``inherit``."""

    hub: Hub
    stalls: StallWatcher | None = None
    control: Control | None = None
    spans: SpanQueue | None = None
    tokens: TokenBook

    def __init__(
        self,
        *,
        version: str,
        instance: str,
        limits: LimitsConfig,
        providers: Mapping[str, Provider],
        off: Mapping[str, str],
        aliases: Mapping[str, str],
        default_route: tuple[str, str] | None,
        store: Store,
        second_tier: SecondTier | None,
        library: PromptLibrary,
        hit_path: HitPath,
        cache_moves: CacheMoves,
        embeddings: Embeddings,
        counting: Counting,
        checking: Checking,
        costs: Costs,
        account_views: AccountViews,
        budget_views: BudgetViews,
        gate: Gate,
        circuits: Circuits,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self.version = version
        self.instance = instance
        self.limits = limits
        self.cache_moves = cache_moves
        self.embeddings = embeddings
        self.counting = counting
        self.checking = checking
        self.library = library
        self.account_views = account_views
        self.budget_views = budget_views
        self._costs = costs
        self._providers = providers
        self._off = off
        self.aliases = aliases
        self._default_route = default_route
        self._store = store
        self._second_tier = second_tier
        self._hit_path = hit_path
        self._gate = gate
        self._circuits = circuits
        self._tasks = tasks
        self._clock = clock
        self._started_s = clock.monotonic_s()

    def inherit(self, older: Services) -> None:
        """Go on where the services of the configuration before this one end."""
        self.stalls = older.stalls
        self.control = older.control
        self.spans = older.spans
        self.tokens = older.tokens
        self._started_s = older._started_s

    async def list_models(self) -> list[dict[str, Any]]:
        return [
            {
                "id": model,
                "provider": provider.name,
                "default": (provider.name, model) == self._default_route,
                "available": self._circuits.is_asked(Route(provider=provider.name, model=model)),
                "capabilities": provider.capabilities(model).to_wire(),
                "price": await self._costs.shown(Route(provider=provider.name, model=model)),
            }
            for provider in self._providers.values()
            for model in dict.fromkeys([*provider.models, *provider.embed_models])
        ]

    def status(self, caller: Caller) -> dict[str, Any]:
        """Give the daemon's state; details of callers to themselves, of all to operators."""
        hub = self.hub
        tally = hub.tally
        return {
            "version": self.version,
            "instance": self.instance,
            "uptime_s": round(self._clock.monotonic_s() - self._started_s, 3),
            "state": "draining" if hub.draining else "running",
            "connections": len(hub.connections),
            "calls_open": hub.calls_open,
            "callers": self._callers(caller),
            "answers": {
                "cached": tally.hits,
                "coalesced": tally.coalesced,
                "fresh": tally.fresh,
                "errors": dict(tally.errors) if caller.may_operate else None,
            },
            "providers": {
                **{name: _seen_by(caller, each.health()) for name, each in self._providers.items()},
                **{name: {"state": "off", "why": why} for name, why in self._off.items()},
            },
            "cache": self.cache_stats(None if caller.may_operate else f"uid:{caller.uid}"),
            "prompts": self._prompts(caller),
            "queue": self._queue_by_lane(),
            "buckets": self._gate.levels(),
            "circuits": self._circuits.snapshot(),
            "buffered_bytes": hub.buffered_bytes,
            "clients_cut": tally.cut_slow,
            "connections_refused": tally.refused_connections,
            "budgets": self.budget_views.budgets(caller)["budgets"],
            "budget_clock": self.budget_views.clock(),
            "alerts": self.budget_views.alerts() if caller.may_operate else None,
            "tracing": self._tracing() if caller.may_operate else None,
            "process": self._process() if caller.may_operate else None,
            "recent_errors": hub.accounting.recent_errors(caller),
            "last_reload": self._last_reload() if caller.may_operate else None,
        }

    def readings(self) -> Readings:
        """Read what the metrics show of the daemon's state."""
        return gather(
            hub=self.hub,
            gate=self._gate,
            providers=self._providers,
            store=self._store,
            stalls=self.stalls,
            uptime_s=self._clock.monotonic_s() - self._started_s,
            lanes=self._queue_by_lane(),
            circuits=self._circuits.snapshot(),
            money=self.budget_views.readings(),
            spans={} if self.spans is None else dict(self.spans.counts()),
        )

    def queue(self, caller: Caller) -> list[dict[str, Any]]:
        """Tell who waits for what and since when; operators see everyone."""
        rows = self._gate.who_waits()
        return rows if caller.may_operate else [row for row in rows if row["uid"] == caller.uid]

    def shares(
        self, caller: Caller, provider: str, model: str
    ) -> dict[str, tuple[float, float, float]]:
        """Give ``{bucket: (limit, remaining, reset_s)}``, this caller's part of each bucket that
        calls to a model of a provider pass; the model's own goes before the provider's.

        A quota is shared fairly between the users who have calls under way, this one included.
        """
        users = max(1, self.hub.users_calling(caller.uid))
        shares: dict[str, tuple[float, float, float]] = {}
        for level in self._gate.levels((provider, f"{provider}/{model}")):
            for name, bucket in level["buckets"].items():
                shares[name] = _share(bucket, users)
        return shares

    def _queue_by_lane(self) -> dict[str, dict[str, float]]:
        lanes: dict[str, dict[str, float]] = {}
        for row in self._gate.who_waits():
            lane = lanes.setdefault(row["lane"], {"waiting": 0, "oldest_s": 0.0})
            lane["waiting"] += 1
            lane["oldest_s"] = max(lane["oldest_s"], row["waited_s"])
        return lanes

    def _last_reload(self) -> dict[str, Any] | None:
        return None if self.control is None else self.control.last_reload()

    def _prompts(self, caller: Caller) -> dict[str, Any]:
        registry = self.library.registry
        said = [str(problem) for problem in registry.problems]
        return {
            "templates": len(registry),
            "files": registry.files,
            "problems": said if caller.may_operate else len(said),
        }

    def _tracing(self) -> dict[str, int] | None:
        return None if self.spans is None else dict(self.spans.counts())

    def _process(self) -> dict[str, Any]:
        """Tell what is in use inside; when all is quiet, it is what it was before."""
        stalls = self.stalls
        return {
            "tasks": self._tasks.count,
            "tasks_failed": self._tasks.failed_count,
            "flights": self.hub.pipeline.open_flights,
            "request_ids_under_way": self.hub.pipeline.ids_under_way,
            "texts_under_way": self.embeddings.texts_under_way,
            "descriptors": len(os.listdir("/proc/self/fd")) - 1,
            "loop_stalls": stalls.count if stalls is not None else 0,
            "longest_stall_s": round(stalls.longest_s, 3) if stalls is not None else 0.0,
        }

    def cache_stats(self, scope: str | None) -> dict[str, Any]:
        stats: dict[str, Any] = dict(self._store.stats(scope))
        if self._second_tier is not None and scope is None:
            stats["second_tier"] = self._second_tier.stats()
        return stats

    async def flush_cache(self) -> None:
        """Wait, within a limit, until what was stored so far is counted."""
        try:
            async with asyncio.timeout(_FLUSH_LIMIT_S):
                await self._store.flush()
        except TimeoutError:
            pass

    async def clear_cache(self, scope: str | None) -> int:
        """Remove a scope's entries. Raises ``Overloaded`` where the store cannot do it now."""
        try:
            return await self._store.clear(scope)
        except StoreUnavailable as error:
            raise Overloaded(str(error), retry_after_s=5.0) from None

    def _callers(self, caller: Caller) -> list[dict[str, Any]]:
        shown: dict[tuple[int, str | None], dict[str, Any]] = {}
        for connection in self.hub.connections:
            who = connection.caller
            if who.uid != caller.uid and not caller.may_operate:
                continue
            row = shown.setdefault(
                (who.uid, who.job),
                {"uid": who.uid, "job": who.job, "connections": 0, "calls_open": 0},
            )
            row["connections"] += 1
            row["calls_open"] += len(connection.pending)
        return list(shown.values())


def _seen_by(caller: Caller, health: dict[str, Any]) -> dict[str, Any]:
    """Leave out a provider's own words, which may repeat what another user has asked."""
    if caller.may_operate:
        return health
    seen = dict(health)
    if seen.get("last_failure") is not None:
        seen["last_failure"] = {**seen["last_failure"], "message": None}
    if "endpoints" in seen:
        seen["endpoints"] = [_seen_by(caller, each) for each in seen["endpoints"]]
    return seen


def _share(bucket: dict[str, float], users: int) -> tuple[float, float, float]:
    per_s = bucket["per_minute"] / 60
    missing = bucket["capacity"] - bucket["level"]
    return (
        bucket["capacity"] / users,
        max(0.0, bucket["level"]) / users,
        missing / per_s if per_s > 0 else 0.0,
    )
