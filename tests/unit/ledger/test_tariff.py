"""What a use cost, and that nothing it can turn out to cost is above its worst case."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.usage import Usage
from sutlerd.ledger.tariff import FREE, Price, Rates, Spell, Step, Tariff, cost_nanousd, shown
from sutlerd.ledger.worst_case import worst_case_nanousd

HOUR_S = 3600
USD = Decimal

SONNET = Rates(
    input_usd=USD(3),
    output_usd=USD(15),
    cache_read_usd=USD("0.3"),
    cache_write_usd=USD("3.75"),
    cache_write_1h_usd=USD(6),
)
LONG = Rates(input_usd=USD(6), output_usd=USD("22.5"), cache_read_usd=USD("0.6"))
TIERED = Price(base=SONNET, steps=(Step(above_tokens_in=200_000, rates=LONG),))


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(tokens_in=0, tokens_out=0), 0),
        (Usage(tokens_in=1, tokens_out=0), 3000),
        (Usage(tokens_in=1000, tokens_out=100), 3_000_000 + 1_500_000),
        (Usage(tokens_in=1000, tokens_out=0, cached_tokens_in=900), 300_000 + 270_000),
        (Usage(tokens_in=1000, tokens_out=0, cache_write_tokens_in=900), 300_000 + 3_375_000),
        (Usage(tokens_in=0, tokens_out=100, reasoning_tokens_out=90), 1_500_000),
        (Usage(tokens_in=200_000, tokens_out=0), 600_000_000),
        (Usage(tokens_in=200_001, tokens_out=2), 200_001 * 6000 + 45_000),
        (Usage(tokens_in=200_001, tokens_out=0, cached_tokens_in=200_001), 200_001 * 600),
    ],
)
def test_a_use_costs_its_parts_at_the_rates_of_the_whole_prompt(usage: Usage, nano: int) -> None:
    assert cost_nanousd(TIERED, usage) == nano


def test_a_cost_is_rounded_up_once_for_the_whole_call() -> None:
    tiny = Price(base=Rates(input_usd=USD("0.0001"), output_usd=USD("0.0001")))
    assert cost_nanousd(tiny, Usage(tokens_in=4, tokens_out=4)) == 1
    assert cost_nanousd(tiny, Usage(tokens_in=10, tokens_out=1)) == 2


@pytest.mark.parametrize(
    "usage",
    [Usage(), Usage(tokens_in=1), Usage(tokens_out=1)],
)
def test_a_use_that_nobody_counted_costs_an_unknown_amount(usage: Usage) -> None:
    assert cost_nanousd(TIERED, usage) is None


def test_a_rate_that_nobody_says_is_unknown_and_never_nothing() -> None:
    embedding = Price(base=Rates(input_usd=USD("0.02"), output_usd=None))
    assert cost_nanousd(embedding, Usage(tokens_in=50, tokens_out=0)) == 1000
    assert cost_nanousd(embedding, Usage(tokens_in=50, tokens_out=1)) is None
    assert cost_nanousd(embedding, Usage(tokens_in=50), embeds=True) == 1000
    assert cost_nanousd(embedding, Usage(tokens_in=50)) is None
    nothing = Price(base=Rates(input_usd=None, output_usd=None))
    assert cost_nanousd(nothing, Usage(tokens_in=1, tokens_out=0)) is None


def test_parts_that_are_more_than_their_whole_are_all_paid() -> None:
    usage = Usage(tokens_in=10, tokens_out=0, cached_tokens_in=8, cache_write_tokens_in=8)
    assert cost_nanousd(TIERED, usage) == 8 * 300 + 8 * 3750


def test_local_models_cost_nothing() -> None:
    price = FREE.at(0.0)
    assert cost_nanousd(price, Usage(tokens_in=10**6, tokens_out=10**6)) == 0


def _rates(usd: str) -> Price:
    return Price(base=Rates(input_usd=USD(usd), output_usd=USD(usd)))


CHANGING = Tariff(
    source="test",
    spells=(
        Spell(price=_rates("1")),
        Spell(price=_rates("5"), from_unix_s=1_000 * 86_400.0),
        Spell(price=_rates("2"), from_unix_s=2_000 * 86_400.0),
        Spell(price=_rates("9"), daily_s=(22 * HOUR_S, 2 * HOUR_S)),
    ),
)


@pytest.mark.parametrize(
    ("day", "hour", "usd"),
    [
        (999, 12, "1"),
        (1000, 12, "5"),
        (2000, 12, "2"),
        (2000, 23, "9"),
        (2000, 2, "2"),
        (1, 1, "9"),
    ],
)
def test_a_price_is_the_one_of_the_time_when_it_was_asked(day: int, hour: int, usd: str) -> None:
    price = CHANGING.at(day * 86_400.0 + hour * HOUR_S)
    assert price.base.input_usd == USD(usd)


def test_the_prices_of_a_span_are_all_that_may_hold_in_it() -> None:
    def within(since_day: float, until_day: float) -> set[Decimal | None]:
        prices = CHANGING.between(since_day * 86_400, until_day * 86_400)
        return {price.base.input_usd for price in prices}

    assert within(10.5, 11) == {USD(9), USD(1)}
    assert within(999.5, 1000.5) == {USD(9), USD(5), USD(1)}
    assert within(2100, 2101) == {USD(9), USD(2)}


def test_a_price_is_shown_in_exact_texts_with_its_steps() -> None:
    told = shown(TIERED, "test")
    assert (told["input_usd"], told["cache_read_usd"], told["source"]) == ("3", "0.3", "test")
    assert told["long_prompts"][0]["above_tokens_in"] == 200_000
    assert told["long_prompts"][0]["output_usd"] == "22.5"
    assert "long_prompts" not in shown(FREE.at(0.0), FREE.source)


money = st.decimals(min_value=0, max_value=100, places=4)
some_money = st.none() | money
rates = st.builds(
    Rates,
    input_usd=money,
    output_usd=money,
    cache_read_usd=some_money,
    cache_write_usd=some_money,
    cache_write_1h_usd=some_money,
    reasoning_usd=some_money,
    request_usd=money,
)
spells = st.builds(
    Spell,
    price=st.builds(
        Price,
        base=rates,
        steps=st.lists(st.integers(0, 3000), unique=True, max_size=2).flatmap(
            lambda bounds: st.tuples(
                *(st.builds(Step, above_tokens_in=st.just(b), rates=rates) for b in sorted(bounds))
            )
        ),
    ),
    from_unix_s=st.none() | st.floats(0, 3 * 86_400),
    daily_s=st.none() | st.tuples(st.integers(0, 86_399), st.integers(0, 86_399)),
)


@given(
    tariff=st.builds(
        Tariff, spells=st.lists(spells, min_size=1, max_size=4).map(tuple), source=st.just("t")
    ),
    counts=st.tuples(*(st.integers(0, 4000) for _ in range(5))),
    when=st.tuples(st.floats(0, 3 * 86_400), st.floats(0, 86_400), st.floats(0, 1)),
)
def test_no_use_within_its_bounds_costs_more_than_the_worst_case(
    tariff: Tariff, counts: tuple[int, ...], when: tuple[float, float, float]
) -> None:
    tokens_in, tokens_out, read, written, reasoning = counts
    read = min(read, tokens_in)
    written = min(written, tokens_in - read)
    usage = Usage(
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cached_tokens_in=read,
        cache_write_tokens_in=written,
        reasoning_tokens_out=min(reasoning, tokens_out),
    )
    since, lasts, part = when
    worst = worst_case_nanousd(
        tariff,
        tokens_in=tokens_in,
        max_tokens_out=tokens_out,
        since_unix_s=since,
        until_unix_s=since + lasts,
    )
    asked = tariff.at(since + lasts * part)
    cost = cost_nanousd(asked, usage)
    assert worst is not None
    assert cost is not None
    assert cost <= worst


def test_the_worst_case_of_a_prompt_is_all_of_it_written_to_the_dearest_cache() -> None:
    tariff = Tariff(source="t", spells=(Spell(price=TIERED),))
    span = {"since_unix_s": 0.0, "until_unix_s": 1.0}
    worst = worst_case_nanousd(tariff, tokens_in=1000, max_tokens_out=10, **span)
    assert worst == 1000 * 6000 + 10 * 15_000
    worst = worst_case_nanousd(tariff, tokens_in=200_001, max_tokens_out=10, **span)
    assert worst == 200_001 * 6000 + 10 * 22_500


def test_the_worst_case_of_an_unknown_rate_is_unknown() -> None:
    chat = Tariff(
        source="t", spells=(Spell(price=Price(base=Rates(input_usd=USD(1), output_usd=None))),)
    )
    span = {"since_unix_s": 0.0, "until_unix_s": 1.0}
    assert worst_case_nanousd(chat, tokens_in=5, max_tokens_out=1, **span) is None
    assert worst_case_nanousd(chat, tokens_in=5, max_tokens_out=0, **span) == 5000
