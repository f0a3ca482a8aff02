"""Providers that want nothing but a key: no call goes there, but answers of theirs may be stored.

What was bought before the key was taken away, or was brought along in a file, is still an
answer, and is given before anybody else is asked. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

from sutlerd.domain.call import Route
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.record import record
from sutlerd.pipeline.route import Router
from sutlerd.providers.contract import Provider


@record
class Way:
    """Where a call goes: ``routes`` in order, after ``first`` were looked up in the cache.

    With a ``refusal`` both are the same: all that can be had is what is stored.
    """

    routes: tuple[Route, ...]
    first: tuple[Route, ...] = ()
    refusal: InvalidParams | None = None


class Absent:
    """``wide`` is the router with all of ``keyless`` in service."""

    def __init__(self, keyless: Mapping[str, Provider], wide: Router) -> None:
        self.keyless = keyless
        self._wide = wide

    def way(
        self,
        router: Router,
        *,
        model: str | None,
        provider: str | None,
        fallback: bool | list[str] | None,
    ) -> Way:
        """Raises ``InvalidParams`` for names that lead nowhere."""
        try:
            wide = self._wide.chain(model=model, provider=provider, fallback=fallback)
        except InvalidParams:
            wide = ()
        first = tuple(takewhile(lambda route: route.provider in self.keyless, wide))
        try:
            routes = router.chain(model=model, provider=provider, fallback=fallback)
        except InvalidParams as refusal:
            if not first:
                raise
            return Way(routes=first, first=first, refusal=refusal)
        return Way(routes=routes, first=first)

    def embed_route(
        self, router: Router, *, model: str | None, provider: str | None
    ) -> tuple[Route, InvalidParams | None]:
        """Give the route, and why nothing can be bought there, if so. Raises likewise.

        Vectors of one model do not stand for those of another: where the first choice is
        stored only, it is that or nothing.
        """
        try:
            wide = self._wide.embed_route(model=model, provider=provider)
        except InvalidParams:
            wide = None
        try:
            return router.embed_route(model=model, provider=provider), None
        except InvalidParams as refusal:
            if wide is None or wide.provider not in self.keyless:
                raise
            return wide, refusal


def absent(keyless: Mapping[str, Provider], router: Router) -> Absent | None:
    """Give what knows of them, if there are any."""
    return Absent(keyless, router.with_others(keyless)) if keyless else None
