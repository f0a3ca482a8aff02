"""Money as integer nano-dollars, made from exact decimals and rounded up once.

No float is ever on the way: a float has lost digits before it can be rounded.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal, localcontext
from typing import Final

NANO_PER_USD: Final = 1_000_000_000
MILLION: Final = 1_000_000

#: More digits than any price times any count of tokens has. What would have more still (a price
#: written with a hundred digits) is rounded up, never down.
EXACT: Final = Context(prec=100, rounding=ROUND_CEILING, traps=[])


def nanousd(usd: Decimal) -> int:
    """Give the least whole number of nano-dollars that is not below ``usd``."""
    with localcontext(EXACT):
        return int((usd * NANO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def usd_text(amount_nanousd: int) -> str:
    """Write an amount as dollars, with all the digits it has."""
    dollars, rest = divmod(abs(amount_nanousd), NANO_PER_USD)
    digits = f"{rest:09d}".rstrip("0")
    sign = "-" if amount_nanousd < 0 else ""
    return f"{sign}{dollars}.{digits:0<2}"
