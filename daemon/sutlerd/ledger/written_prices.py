"""Prices that an operator has written, in our own words. Pure."""

from __future__ import annotations

from sutlerd.config.schema_llm import LongPrompt
from sutlerd.config.schema_llm import Price as Written
from sutlerd.ledger.tariff import Price, Rates, Spell, Step, Tariff


def tariff_of(written: Written) -> Tariff:
    """Make a tariff that always holds; of two steps with one bound the last one counts."""
    steps = {each.above_tokens_in: _rates(each) for each in written.long_prompts}
    price = Price(
        base=_rates(written),
        steps=tuple(Step(above_tokens_in=bound, rates=steps[bound]) for bound in sorted(steps)),
    )
    return Tariff(spells=(Spell(price=price),), source="configuration")


def _rates(written: Written | LongPrompt) -> Rates:
    return Rates(
        input_usd=written.input_usd,
        output_usd=written.output_usd,
        cache_read_usd=written.cache_read_usd,
        cache_write_usd=written.cache_write_usd,
    )
