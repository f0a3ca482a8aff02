"""What an answer cost: local models nothing; of the others nobody can say until they are priced."""

from __future__ import annotations

from sutlerd.domain.call import Route
from sutlerd.domain.reply import Embedded, Reply


class Costs:
    """``free`` names the providers whose models run on the operator's own machines."""

    def __init__(self, *, free: frozenset[str]) -> None:
        self._free = free

    def of(self, route: Route, reply: Reply) -> int | None:
        """Give nano-dollars, or ``None`` for unknown, never a guess."""
        return 0 if route.provider in self._free else None

    def of_embedding(self, route: Route, embedded: Embedded) -> int | None:
        return 0 if route.provider in self._free else None
