"""The most that one attempt can cost: what is reserved before a provider may be contacted.

The dearest rate that could apply, whatever the provider then does: no part of the prompt read
from its cache, all of it written there at the dearest rate, the price of a long prompt, every
price of the attempt's time, all of the output used, and all of it as reasoning.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext

from sutlerd.ledger.money import EXACT, MILLION, nanousd
from sutlerd.ledger.tariff import Price, Rates, Tariff


def worst_case_nanousd(
    tariff: Tariff,
    *,
    tokens_in: int,
    max_tokens_out: int,
    since_unix_s: float,
    until_unix_s: float,
) -> int | None:
    """Bound an attempt's cost; ``None`` where a rate that it needs is unknown.

    ``tokens_in`` is counted upward. ``until_unix_s`` is the latest instant at which the
    provider may take the request.
    """
    most_nanousd = 0
    for price in tariff.between(since_unix_s, until_unix_s):
        for rates in _reachable(price, tokens_in):
            cost = _bound(rates, tokens_in, max_tokens_out)
            if cost is None:
                return None
            most_nanousd = max(most_nanousd, cost)
    return most_nanousd


def dearest_nanousd(
    tariffs: Iterable[Tariff],
    *,
    tokens_in: int,
    max_tokens_out: int,
    since_unix_s: float,
    until_unix_s: float,
) -> int | None:
    """Bound the cost of an attempt that any of these may price; ``None`` if one cannot, or
    where there is none."""
    costs = [
        worst_case_nanousd(
            tariff,
            tokens_in=tokens_in,
            max_tokens_out=max_tokens_out,
            since_unix_s=since_unix_s,
            until_unix_s=until_unix_s,
        )
        for tariff in tariffs
    ]
    known = [cost for cost in costs if cost is not None]
    return max(known, default=None) if len(known) == len(costs) else None


def _reachable(price: Price, tokens_in: int) -> list[Rates]:
    """Give the rates of every step up to the longest prompt that it may be."""
    steps = [step.rates for step in price.steps if step.above_tokens_in < tokens_in]
    return [price.base, *steps]


def _bound(rates: Rates, tokens_in: int, max_tokens_out: int) -> int | None:
    if (rates.input_usd is None and tokens_in) or (rates.output_usd is None and max_tokens_out):
        return None
    dearest_in = _most(
        (
            rates.input_usd,
            rates.cache_read_usd,
            rates.cache_write_usd,
            rates.cache_write_1h_usd,
        )
    )
    dearest_out = _most((rates.output_usd, rates.reasoning_usd))
    with localcontext(EXACT):
        million_usd = tokens_in * dearest_in + max_tokens_out * dearest_out
        return nanousd(million_usd / MILLION + rates.request_usd)


def _most(rates: Iterable[Decimal | None]) -> Decimal:
    return max((rate for rate in rates if rate is not None), default=Decimal(0))
