"""Dollars become nano-dollars once, exactly, and never fewer than they were."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.ledger.money import nanousd, usd_text


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0", 0),
        ("1", 10**9),
        ("0.000000001", 1),
        ("0.0000000001", 1),
        ("0.0000000010000000000000000000000000000001", 2),
        ("1e-400", 1),
        ("12.5", 12_500_000_000),
    ],
)
def test_an_amount_is_rounded_up_to_a_whole_nano_dollar(usd: str, nano: int) -> None:
    assert nanousd(Decimal(usd)) == nano


@given(st.decimals(min_value=0, max_value=10**9, places=30))
def test_what_is_rounded_is_less_than_one_nano_dollar_above_the_exact_amount(usd: Decimal) -> None:
    over = nanousd(usd) - Fraction(usd) * 10**9
    assert 0 <= over < 1


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (1_500_000_000, "1.50"), (-250_000_000, "-0.25")],
)
def test_an_amount_is_written_with_all_its_digits(nano: int, text: str) -> None:
    assert usd_text(nano) == text
