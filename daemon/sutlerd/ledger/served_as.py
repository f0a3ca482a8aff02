"""Which dearer models answered in another one's name, so that their price is held, too. Pure.

Where what was asked for has no price, theirs is all that is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

#: Names come from outside, so their number has a bound.
MAX_ROUTES: Final = 4096
MAX_MODELS: Final = 8


class ServedAs:
    """Models that served, by the route that was asked. ``changed`` is called to have it kept."""

    def __init__(
        self,
        known: Mapping[str, Sequence[str]] | None = None,
        *,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._changed = changed
        self._known = {route: tuple(models) for route, models in (known or {}).items()}

    def of(self, route: str) -> tuple[str, ...]:
        return self._known.get(route, ())

    def learn(self, route: str, model: str) -> None:
        """Take one more, and have it kept if that is new and there is room."""
        known = self.of(route)
        full = len(known) >= MAX_MODELS or (not known and len(self._known) >= MAX_ROUTES)
        if model in known or full:
            return
        self._known[route] = (*known, model)
        self._changed()

    def note(self) -> dict[str, Sequence[str]]:
        return dict(self._known)
