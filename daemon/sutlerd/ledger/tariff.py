"""What a model costs, and what a use of it cost. Pure: no clock, no list of prices.

Rates are dollars for a million model tokens. A step holds for the whole request as soon as its
prompt is longer than the step's bound, as all providers with such steps bill it.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any, Final

from sutlerd.domain.record import record
from sutlerd.domain.usage import Usage
from sutlerd.ledger.money import EXACT, MILLION, nanousd

_DAY_S: Final = 86_400
_ZERO: Final = Decimal(0)


@record
class Rates:
    """``None`` for input or output means that nobody says what those cost.

    Reading or writing the provider's cache costs as much as input where it has no rate of its
    own, reasoning as much as output. ``request_usd`` is dollars for the call itself.
    """

    input_usd: Decimal | None
    output_usd: Decimal | None
    cache_read_usd: Decimal | None = None
    cache_write_usd: Decimal | None = None
    cache_write_1h_usd: Decimal | None = None
    reasoning_usd: Decimal | None = None
    request_usd: Decimal = _ZERO


@record
class Step:
    """Rates of requests whose whole prompt has more than ``above_tokens_in`` tokens."""

    above_tokens_in: int
    rates: Rates


@record
class Price:
    """``base``, and ``steps`` in ascending order for longer prompts."""

    base: Rates
    steps: tuple[Step, ...] = ()

    def rates(self, tokens_in: int) -> Rates:
        for step in reversed(self.steps):
            if tokens_in > step.above_tokens_in:
                return step.rates
        return self.base


@record
class Spell:
    """When a price holds: from an instant on, or daily between two seconds of the UTC day.

    ``daily_s`` may cross midnight. A spell with neither always holds.
    """

    price: Price
    from_unix_s: float | None = None
    daily_s: tuple[int, int] | None = None

    def holds(self, unix_s: float) -> bool:
        if self.from_unix_s is not None and unix_s < self.from_unix_s:
            return False
        if self.daily_s is None:
            return True
        (begin, end), second = self.daily_s, unix_s % _DAY_S
        if end < begin:
            return second >= begin or second < end
        return begin <= second < end


@record
class Tariff:
    """All that is known of a model's price: of the spells that hold, the last one counts.

    ``spells`` is never empty; where none holds, the first one counts. ``source`` says where
    the prices were found.
    """

    spells: tuple[Spell, ...]
    source: str

    def at(self, unix_s: float) -> Price:
        for spell in reversed(self.spells):
            if spell.holds(unix_s):
                return spell.price
        return self.spells[0].price

    def between(self, since_unix_s: float, until_unix_s: float) -> list[Price]:
        """Give every price that may hold at some instant of a span; never empty."""
        found = []
        for spell in reversed(self.spells):
            if spell.from_unix_s is not None and spell.from_unix_s > until_unix_s:
                continue
            found.append(spell.price)
            if spell.daily_s is None and spell.holds(since_unix_s):
                # It holds all through: what stands before it never counts.
                return found
        # Nothing holds all through, so the first one counts whenever none holds.
        return [*found, self.spells[0].price]


def fixed(rates: Rates, source: str) -> Tariff:
    """Make a tariff of one price that always holds."""
    return Tariff(spells=(Spell(price=Price(base=rates)),), source=source)


#: The work is done by the operator's own machines.
FREE: Final = fixed(Rates(input_usd=_ZERO, output_usd=_ZERO), "local")


def cost_nanousd(price: Price, usage: Usage, *, embeds: bool = False) -> int | None:
    """Give what a use cost, or ``None`` where the counts or a rate that they need are unknown.

    Counts are those of ``Usage``: the prompt includes its cached part, the output includes
    reasoning. With ``embeds`` there is no output, whether or not the provider says so.
    """
    tokens_in = usage.tokens_in
    tokens_out = 0 if embeds and usage.tokens_out is None else usage.tokens_out
    if tokens_in is None or tokens_out is None:
        return None
    rates = price.rates(tokens_in)
    if (rates.input_usd is None and tokens_in) or (rates.output_usd is None and tokens_out):
        return None
    input_usd = rates.input_usd or _ZERO
    output_usd = rates.output_usd or _ZERO
    read, written = usage.cached_tokens_in or 0, usage.cache_write_tokens_in or 0
    reasoning = min(usage.reasoning_tokens_out or 0, tokens_out)
    # A provider whose parts are more than its whole has billed the parts.
    plain = max(0, tokens_in - read - written)
    with localcontext(EXACT):
        million_usd = (
            plain * input_usd
            + read * _or(rates.cache_read_usd, input_usd)
            + written * _or(rates.cache_write_usd, input_usd)
            + (tokens_out - reasoning) * output_usd
            + reasoning * _or(rates.reasoning_usd, output_usd)
        )
        return nanousd(million_usd / MILLION + rates.request_usd)


def shown(price: Price, source: str) -> dict[str, Any]:
    """Give a price as callers see it: dollars for a million tokens as exact decimal texts."""
    wire: dict[str, Any] = {**_shown_rates(price.base), "source": source}
    if price.steps:
        wire["long_prompts"] = [
            {"above_tokens_in": step.above_tokens_in, **_shown_rates(step.rates)}
            for step in price.steps
        ]
    return wire


def _shown_rates(rates: Rates) -> dict[str, str | None]:
    named = {
        "input_usd": rates.input_usd,
        "output_usd": rates.output_usd,
        "cache_read_usd": rates.cache_read_usd,
        "cache_write_usd": rates.cache_write_usd,
    }
    return {name: None if rate is None else f"{rate:f}" for name, rate in named.items()}


def _or(rate: Decimal | None, instead: Decimal) -> Decimal:
    return instead if rate is None else rate
