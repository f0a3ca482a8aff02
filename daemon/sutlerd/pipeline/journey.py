"""What makes its way along a chain of routes: a journey, its legs, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from sutlerd.domain.call import Route
from sutlerd.domain.errors import CallError, InvalidParams
from sutlerd.domain.ports import Clock
from sutlerd.domain.record import record
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.ledger.reservation import Reservation
from sutlerd.pipeline.circuits import RouteClosed
from sutlerd.pipeline.failing import Told, told
from sutlerd.pipeline.hedge import Race
from sutlerd.pipeline.places import Asker
from sutlerd.pipeline.retry import Effort
from sutlerd.pipeline.till import Bill
from sutlerd.pipeline.tried import Tried
from sutlerd.providers.contract import BuiltRequest, Provider

T = TypeVar("T", Reply, Embedded)
T_co = TypeVar("T_co", covariant=True)


@record
class Leg:
    """One route of a chain and its request in that route's spelling."""

    route: Route
    built: BuiltRequest


class Journey(Protocol[T_co]):
    """What is to be answered along a chain; a chat flight or a batch of texts."""

    @property
    def asker(self) -> Asker:
        """Tell for whom the journey is made: who opened it."""

    @property
    def bill(self) -> Bill:
        """Tell who pays."""

    @property
    def max_tokens_out(self) -> int: ...

    @property
    def was_heard(self) -> bool:
        """Whether a caller was given a piece: from then on nothing is tried again."""

    @property
    def is_deserted(self) -> bool:
        """Whether nobody waits any more: what is under way is ended, nothing else is begun."""

    @property
    def paid(self) -> list[Reservation]:
        """Give the money of attempts under way: those are read to their end for their usage."""

    @property
    def tried(self) -> list[Tried]:
        """Give the notes on its attempts, for who tells of them at the end."""

    @property
    def streams(self) -> bool:
        """Whether pieces are passed on as they come."""

    def time_left_s(self) -> float:
        """Give the most patient caller's time."""

    def leg(self, route: Route) -> Leg: ...

    async def known(self, leg: Leg) -> bytes | None:
        """Give what is stored of this leg's answer, if nobody has looked yet."""

    async def once(
        self, provider: Provider, leg: Leg, *, deadline_s: float, heard: Callable[[], None]
    ) -> T_co:
        """Make one attempt. Raises ``AttemptFailed``.

        ``heard`` is called before the first piece is passed on, and may forbid it by raising.
        """


@record
class Arrived(Generic[T]):
    """What the last attempt brought, who brought it, and all that were made.

    ``cost_nanousd`` is what the last one cost, ``None`` where nobody knows. ``retries_left`` is
    how often the same call may still be tried again after a failure.
    """

    brought: T
    leg: Leg
    attempts: list[dict[str, Any]]
    queued_s: float
    bucket: str | None
    cost_nanousd: int | None
    retries_left: int


@dataclass(slots=True, kw_only=True)
class Trip(Generic[T]):
    """Where a journey has come to."""

    journey: Journey[T]
    ahead: list[Route]
    effort: Effort
    told: Told = field(default_factory=list)
    closed: list[RouteClosed] = field(default_factory=list)
    ends: CallError | None = None
    failed: Leg | None = None
    queued_s: float = 0.0
    bucket: str | None = None

    def note(self, tried: Tried) -> None:
        """Note an attempt that has ended, for callers and for who tells of it."""
        passed_s = 0.0 if tried.sent_s is None else tried.ended_s - tried.sent_s
        self.told.append(told(tried.route, tried.outcome, passed_s))
        self.journey.tried.append(tried)

    def next_leg(self) -> Leg | None:
        """Give the next route's leg, passing over routes that cannot honour the request."""
        while self.ahead:
            route = self.ahead.pop(0)
            self.effort.moves_on()
            try:
                return self.journey.leg(route)
            except InvalidParams:
                self.told.append(told(route, "cannot_honour", 0.0))
        return None


@dataclass(slots=True, kw_only=True)
class Ear:
    """Hears when an attempt is sent, and when its first piece comes."""

    clock: Clock
    race: Race[Any] | None = None
    sent_s: float | None = None
    heard_s: float | None = None

    def sent(self) -> float:
        """Note that the attempt is sent, and give the moment."""
        if self.race is not None:
            self.race.sent.set()
        self.sent_s = sent_s = self.clock.monotonic_s()
        return sent_s

    def heard(self) -> None:
        if self.race is not None:
            self.race.heard()
        self.heard_s = self.clock.monotonic_s()
