"""Where a price is found, and when the published list is read at all."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

from sutlerd.domain.call import Route
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.domain.usage import Usage
from sutlerd.ledger.price_list import read_published
from sutlerd.ledger.prices import PriceList, PriceTable, Seller
from sutlerd.ledger.served_as import ServedAs
from sutlerd.ledger.tariff import FREE, Rates, Tariff, cost_nanousd, fixed
from sutlerd.pipeline.costs import Costs
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

#: 2026-11-23 12:00 UTC.
NOON_UNIX_S = 1_795_435_200.0


def priced(usd: int, source: str = "test") -> Tariff:
    return fixed(Rates(input_usd=Decimal(usd), output_usd=Decimal(usd)), source)


class CountedList:
    """A published list of two models, and how often and where it was read."""

    version, digest = "counted 1", "d1"

    def __init__(self) -> None:
        self.read_in: list[str] = []

    def read(self) -> PriceList:
        self.read_in.append(threading.current_thread().name)
        return self

    def find(self, seller: str | None, base_url: str, model: str) -> Tariff | None:
        known = {("openai", "big"): 10, ("openai", "small"): 1, (None, "proxied"): 4}
        usd = known.get((seller, model))
        return None if usd is None else priced(usd, self.version)


SELLERS = {
    "openai": Seller(local=False, base_url="https://o/v1", price_list="openai"),
    "proxy": Seller(local=False, base_url="https://p/v1"),
    "ollama": Seller(local=True, base_url="http://l"),
}


def table(read: Any, **written: Tariff) -> tuple[PriceTable, EventList]:
    log = EventList()
    return PriceTable(written=written, sellers=SELLERS, read=read, log=log), log


async def test_a_local_model_is_free_and_never_has_the_list_read() -> None:
    counted = CountedList()
    prices, _ = table(counted.read, llama=priced(7))
    prices.prepare("ollama", "llama")
    assert await prices.tariff("ollama", "llama") is FREE
    assert counted.read_in == []
    assert not prices.is_loaded


async def test_the_configuration_wins_by_route_and_then_by_model() -> None:
    counted = CountedList()
    written = {"openai/big": priced(1), "big": priced(2), "ollama/big": priced(3)}
    prices = PriceTable(written=written, sellers=SELLERS, read=counted.read, log=EventList())
    for provider, expected in (("openai", 1), ("proxy", 2), ("ollama", 3)):
        assert await prices.tariff(provider, "big") == priced(expected)
    assert counted.read_in == []


async def test_many_who_need_the_list_at_once_have_it_read_once_in_a_thread() -> None:
    counted = CountedList()
    prices, _ = table(counted.read)
    prices.prepare("openai", "big")
    found = await asyncio.gather(*(prices.tariff("openai", "big") for _ in range(50)))
    assert set(found) == {priced(10, "counted 1")}
    assert len(counted.read_in) == 1
    assert counted.read_in != [threading.current_thread().name]


async def test_one_who_leaves_does_not_end_the_reading_for_others() -> None:
    counted, gate = CountedList(), threading.Event()

    def slow() -> PriceList:
        gate.wait(30)
        return counted.read()

    prices, _ = table(slow)
    leaving = asyncio.create_task(prices.tariff("openai", "big"))
    staying = asyncio.create_task(prices.tariff("openai", "small"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await staying == priced(1, "counted 1")
    assert leaving.cancelled()


async def test_a_list_that_cannot_be_read_leaves_prices_unknown_and_says_so_once() -> None:
    def broken() -> PriceList:
        raise ImportError("no module named genai_prices")

    prices, log = table(broken, small=priced(5))
    found = await asyncio.gather(*(prices.tariff("openai", "big") for _ in range(3)))
    assert found == [None, None, None]
    assert await prices.tariff("openai", "small") == priced(5)
    assert log.names() == ["price_list"]


async def test_the_tables_hash_changes_with_what_is_written_and_with_the_list() -> None:
    plain, other = table(CountedList().read)[0], table(CountedList().read, m=priced(1))[0]
    same = table(CountedList().read, m=priced(1))[0]
    before = plain.hash
    assert other.hash == same.hash != before
    await plain.tariff("openai", "big")
    assert plain.hash != before


def reply(model: str, usage: Usage | None = None) -> Reply:
    used = Usage(tokens_in=10, tokens_out=5) if usage is None else usage
    return Reply(content="", finish_reason="stop", model=model, provider="openai", usage=used)


@pytest.mark.parametrize(
    ("asked", "served", "nano"),
    [
        ("openai/big", "big", 150_000),
        ("openai/big", "small", 150_000),
        ("openai/small", "big", 150_000),
        ("openai/alias", "small", 15_000),
        ("openai/big", "nobody-knows", None),
        ("openai/nobody-knows", "nobody-knows", None),
        ("proxy/proxied", "proxied", 60_000),
        ("ollama/llama", "llama-of-today", 0),
    ],
)
async def test_an_answer_is_priced_by_the_dearer_of_who_was_asked_and_who_served(
    asked: str, served: str, nano: int | None
) -> None:
    prices, log = table(CountedList().read)
    costs = Costs(prices=prices, clock=VirtualClock(), log=log, served_as=ServedAs())
    provider, _, model = asked.partition("/")
    route = Route(provider=provider, model=model)
    for _ in range(2):
        assert await costs.of(route, reply(served), asked_unix_s=NOON_UNIX_S) == nano
    assert len(log.named("price_unknown")) == (nano is None)


async def test_an_answer_whose_tokens_nobody_counted_has_an_unknown_cost() -> None:
    prices, log = table(CountedList().read)
    costs = Costs(prices=prices, clock=VirtualClock(), log=log, served_as=ServedAs())
    route = Route(provider="openai", model="big")
    assert await costs.of(route, reply("big", Usage()), asked_unix_s=NOON_UNIX_S) is None
    embedded = Embedded(
        vectors=(), dimension=1, model="small", provider="openai", usage=Usage(tokens_in=3)
    )
    route = Route(provider="openai", model="small")
    assert await costs.of_embedding(route, embedded, asked_unix_s=NOON_UNIX_S) == 3000


async def test_models_are_shown_with_their_price_or_with_none() -> None:
    prices, log = table(CountedList().read)
    costs = Costs(prices=prices, clock=VirtualClock(), log=log, served_as=ServedAs())
    shown = await costs.shown(Route(provider="openai", model="big"))
    assert shown is not None
    assert (shown["input_usd"], shown["source"]) == ("10", "counted 1")
    assert await costs.shown(Route(provider="openai", model="?")) is None


class TestThePublishedList:
    published = read_published()

    @pytest.mark.parametrize(
        ("seller", "url", "model"),
        [
            ("openai", "", "nobody-knows"),
            (None, "http://127.0.0.1:8000/v1", "gpt-4o"),
            ("mine", "", "gpt-4o"),
        ],
    )
    def test_what_it_does_not_know_is_unknown(
        self, seller: str | None, url: str, model: str
    ) -> None:
        assert self.published.find(seller, url, model) is None

    def test_an_address_tells_the_seller(self) -> None:
        url = "https://api.fireworks.ai/inference/v1"
        by_name = self.published.find("openai", "", "gpt-4o")
        assert self.published.find(None, "https://api.openai.com/v1", "gpt-4o") == by_name
        assert self.published.find(None, url, "gpt-4o") is None

    def test_its_version_and_digest_name_it(self) -> None:
        assert self.published.version.startswith("genai-prices ")
        assert len(self.published.digest) == 64

    def test_every_chat_price_agrees_with_the_lists_own_arithmetic(self) -> None:
        """For every model of the sellers that our kinds name, at the edges of its steps."""
        from datetime import UTC, datetime

        from genai_prices import Usage as TheirUsage
        from genai_prices import data

        asked = datetime.fromtimestamp(NOON_UNIX_S, UTC)
        compared = 0
        for seller in data.providers:
            if seller.id not in {"anthropic", "openai", "groq", "deepseek", "google", "mistral"}:
                continue
            for model in seller.models:
                tariff = self.published.find(seller.id, "", model.id)
                if (
                    tariff is None
                    or self.published._snapshot.find_provider_model(
                        model.id, None, seller.id, None
                    )[1]
                    is not model
                ):
                    continue
                price = tariff.at(NOON_UNIX_S)
                if price.base.input_usd is None or price.base.output_usd is None:
                    continue
                bounds = [step.above_tokens_in for step in price.steps]
                for tokens_in in (1000, *bounds, *(bound + 1 for bound in bounds)):
                    theirs = model.calc_price(
                        TheirUsage(
                            input_tokens=tokens_in,
                            output_tokens=77,
                            cache_read_tokens=500,
                            cache_write_tokens=300,
                        ),
                        seller,
                        genai_request_timestamp=asked,
                    ).total_price
                    ours = cost_nanousd(
                        price,
                        Usage(
                            tokens_in=tokens_in,
                            tokens_out=77,
                            cached_tokens_in=500,
                            cache_write_tokens_in=300,
                        ),
                    )
                    exact = theirs * 10**9
                    assert ours is not None
                    assert exact <= ours < exact + 1, model.id
                    compared += 1
        assert compared > 200
