"""How much more than their worst case models have billed, and so what is held for them. Pure.

A bill above the worst case should not happen, and does: hidden reasoning, a tier that nobody
announced. It is booked in full, and from then on as much more is held for that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Models come from outside, so their number has a bound.
MAX_MODELS: Final = 4096
_WHOLE: Final = 1000


class Dearer:
    """Factors in thousandths by ``provider/model``; a model that is not named has 1."""

    def __init__(self, factors: Mapping[str, int] | None = None) -> None:
        self._factors = dict(factors or {})

    def held_for(self, model: str, worst_case_nanousd: int) -> int:
        """Give what to hold, rounded up."""
        return _part_up(worst_case_nanousd * self._factors.get(model, _WHOLE), _WHOLE)

    def learn(self, model: str, *, held_nanousd: int, billed_nanousd: int) -> None:
        """Take a bill above what was held, which was raised by what was known already.

        Nothing held is no worst case to be raised: what served is then held for.
        """
        if not held_nanousd:
            return
        known = self._factors.get(model, _WHOLE)
        if model in self._factors or len(self._factors) < MAX_MODELS:
            self._factors[model] = max(known, _part_up(known * billed_nanousd, held_nanousd))

    def factors(self) -> dict[str, int]:
        return dict(self._factors)


def _part_up(amount: int, of: int) -> int:
    return -(-amount // of)
