"""What an answer cost, at the prices of the time when it was asked for."""

from __future__ import annotations

from typing import Any

from sutlerd.domain.call import Route
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.domain.usage import Usage
from sutlerd.ledger.prices import PriceTable
from sutlerd.ledger.served_as import ServedAs
from sutlerd.ledger.tariff import FREE, Tariff, cost_nanousd, shown

_MAX_TOLD = 256


class Costs:
    """Gives nano-dollars, or ``None`` for unknown, never a guess."""

    def __init__(
        self, *, prices: PriceTable, clock: Clock, log: EventLog, served_as: ServedAs
    ) -> None:
        self._prices = prices
        self._served_as = served_as
        self._clock = clock
        self._log = log
        self._told: set[tuple[str, str]] = set()

    def prepare(self, route: Route) -> None:
        """Begin what pricing an answer of this route will need, while the provider works."""
        self._prices.prepare(route.provider, route.model)

    @property
    def price_hash(self) -> str:
        """Name the price table as it is now."""
        return self._prices.hash

    def is_free(self, route: Route) -> bool:
        """Whether a model is known already to cost nothing, however much it answers."""
        return self._prices.is_free(route.provider, route.model)

    async def tariff(self, route: Route) -> Tariff | None:
        """Give all that is known of a model's price. May wait for the published list."""
        return await self._prices.tariff(route.provider, route.model)

    async def served_as(self, route: Route) -> list[Tariff]:
        """Give the prices of models that have answered in this one's name: dearer ones, and any
        where this one has no price."""
        models = self._served_as.of(str(route))
        found = [await self._prices.tariff(route.provider, model) for model in models]
        return [tariff for tariff in found if tariff is not None]

    async def of(self, route: Route, reply: Reply, *, asked_unix_s: float) -> int | None:
        return await self._cost(route, reply.model, reply.usage, asked_unix_s, embeds=False)

    async def of_embedding(
        self, route: Route, embedded: Embedded, *, asked_unix_s: float
    ) -> int | None:
        return await self._cost(route, embedded.model, embedded.usage, asked_unix_s, embeds=True)

    async def _cost(
        self, route: Route, served_model: str, usage: Usage, asked_unix_s: float, *, embeds: bool
    ) -> int | None:
        """Price by the model that served, and no lower than by the one that was asked for."""
        asked = await self._prices.tariff(route.provider, route.model)
        if asked is FREE:
            return 0  # whatever it served and however much: it is the operator's own machine
        served = asked
        if served_model != route.model:
            served = await self._prices.tariff(route.provider, served_model)
        if served is None:
            self._tell(route.provider, served_model)
            return None
        cost = cost_nanousd(served.at(asked_unix_s), usage, embeds=embeds)
        if asked is served or cost is None:
            return cost
        if asked is None:
            # Nobody has priced what was asked for: who served it is all there is to go by.
            self._served_as.learn(str(route), served_model)
            return cost
        cost_as_asked = cost_nanousd(asked.at(asked_unix_s), usage, embeds=embeds)
        if cost_as_asked is None:
            return None
        if cost > cost_as_asked:
            self._served_as.learn(str(route), served_model)
        return max(cost, cost_as_asked)

    async def shown(self, route: Route) -> dict[str, Any] | None:
        """Give what a model costs now, as callers see it; ``None`` for unknown."""
        tariff = await self._prices.tariff(route.provider, route.model)
        return None if tariff is None else shown(tariff.at(self._clock.unix_s()), tariff.source)

    def _tell(self, provider: str, model: str) -> None:
        if (provider, model) not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add((provider, model))
            self._log.event(
                "warning",
                "price_unknown",
                provider=provider,
                model=model,
                hint=f"set llm.prices: {{{provider}/{model}: {{input_usd: …, output_usd: …}}}}",
            )
