"""Single-flight: identical cacheable calls under way at once share one flight.

The daemon owns a flight, not any of its followers: it ends when it has an outcome, and is
cancelled only when its last follower has left, a paid one some time later. Late joiners get
what was already sent, then follow. Nothing here awaits; who runs the flight is told to stop by
``cancel``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from sutlerd.domain.errors import CallError, Overloaded
from sutlerd.ledger.reservation import Reservation
from sutlerd.pipeline.idempotency import Asked
from sutlerd.pipeline.occurrences import Asking
from sutlerd.pipeline.question import Question
from sutlerd.pipeline.result import Answer
from sutlerd.pipeline.tried import Tried
from sutlerd.pipeline.under_way import UnderWay

MAX_FOLLOWERS = 65_536

#: The account that a follower asks on, the id that it gave, and what it asks.
Asks = tuple[Hashable, Asked | None, Any]


class Follower(Protocol):
    """One call that waits for a flight's outcome. Called back at most once with an outcome."""

    deadline_s: float
    wants_pieces: bool

    def on_pieces(self, pieces: Sequence[bytes]) -> None: ...

    def on_answer(self, answer: Answer, *, coalesced: bool) -> None: ...

    def on_error(self, error: CallError) -> None: ...


class Flight:
    """One shared call under way. ``key`` is ``None`` for one that nobody may join.

    ``asked`` lists the requests with an id that this flight will answer, ``known_to`` the table
    that finds them, ``tried`` the attempts so far. ``first_piece_s`` is how long the provider
    took to begin a stream. ``paid`` has the money of the attempts under way that cost some, two
    where one is hedged: a flight that everybody has left is then read to its end for a while, so
    that its true cost is known, and may be joined again. ``left_for`` is why the last of them
    left: ``None`` for one that was gone.
    """

    __slots__ = (
        "_cancel",
        "_done",
        "_drain_s",
        "_flights",
        "_followers",
        "asked",
        "first_piece_s",
        "key",
        "known_to",
        "left_for",
        "opener",
        "paid",
        "pieces",
        "stores",
        "taped",
        "tried",
    )

    def __init__(self, flights: Flights, key: Hashable | None) -> None:
        self._flights = flights
        #: What each asks, on whose account; ``None`` for one that cannot go on by itself.
        self._followers: dict[Follower, Asks | None] = {}
        self._cancel: Callable[[], object] | None = None
        self._done = False
        self._drain_s = 0.0
        self.key = key
        self.opener: Follower | None = None
        self.paid: list[Reservation] = []
        self.pieces: list[bytes] = []
        self.asked: list[Asked] = []
        self.known_to: UnderWay | None = None
        self.left_for: CallError | None = None
        self.stores = False
        self.taped: list[tuple[Follower, Question, Asking]] = []
        self.first_piece_s: float | None = None
        self.tried: list[Tried] = []

    @property
    def followers(self) -> int:
        return len(self._followers)

    @property
    def is_over(self) -> bool:
        return self._done

    @property
    def was_heard(self) -> bool:
        """Whether a follower was given a piece: from then on nothing is tried again."""
        return bool(self.pieces)

    def runs_with(self, cancel: Callable[[], object], *, drain_s: float = 0.0) -> None:
        """Tell how to stop whoever runs this flight, and for how long it may go on for nobody
        while it is paid for."""
        self._cancel, self._drain_s = cancel, drain_s

    def latest_deadline_s(self) -> float:
        """Give the end of the most patient follower's time."""
        return max((follower.deadline_s for follower in self._followers), default=0.0)

    def has_room(self) -> None:
        """Raise ``Overloaded`` if nobody may join any more."""
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Overloaded("too many calls wait for this same answer", retry_after_s=1.0)

    def join(self, follower: Follower, *, stores: bool, asks: Asks | None = None) -> None:
        self.has_room()
        if self.opener is None:
            self.opener = follower
        self._followers[follower] = asks
        self.stores = self.stores or stores
        if follower.wants_pieces and self.pieces:
            follower.on_pieces(self.pieces)

    def leave(self, follower: Follower, why: CallError | None = None) -> None:
        """Let one go, for whatever reason; the last one to leave ends the flight."""
        self._followers.pop(follower, None)
        if self._followers or self._done:
            return
        self.left_for = why
        if self.paid and self._drain_s:
            asyncio.get_running_loop().call_later(self._drain_s, self._abandon)
        else:
            self._abandon()

    def _abandon(self) -> None:
        if not self._followers and not self._done:
            self._close()
            if self._cancel is not None:
                self._cancel()

    def asked_of_followers(self) -> list[tuple[Question, Asking]]:
        """Give what those asked who wait still, for a recording."""
        return [(asked, asking) for who, asked, asking in self.taped if who in self._followers]

    def publish(self, pieces: Sequence[bytes]) -> None:
        """Pass on what one read of the provider brought."""
        self.pieces.extend(pieces)
        for follower in list(self._followers):
            if follower.wants_pieces:
                follower.on_pieces(pieces)

    def finish(self, answer: Answer) -> None:
        for follower in self._close():
            if follower.wants_pieces and not self.pieces:
                follower.on_pieces(answer.pieces())
            follower.on_answer(answer, coalesced=follower is not self.opener)

    def heir(self, account: Hashable, error: CallError) -> Any:
        """Refuse all of one account, and give what the first of another asks.

        From then on that one opened the flight, which answers the ids of those who stay and no
        others. ``None``: there is no such one, and nobody was told.
        """
        others = [
            (who, asks)
            for who, asks in self._followers.items()
            if asks is not None and asks[0] != account
        ]
        if not others or self.was_heard:
            return None
        self.opener, (_, _, asked) = others[0]
        self.tried = []
        if self.known_to is not None:
            self.known_to.keep(self, {asks[1] for _, asks in others})
        staying = {who for who, _ in others}
        for follower in [who for who in self._followers if who not in staying]:
            del self._followers[follower]
            follower.on_error(error)
        return asked

    def fail(self, error: CallError) -> None:
        for follower in self._close():
            follower.on_error(error)

    def _close(self) -> list[Follower]:
        self._done = True
        self._flights.forget(self)
        if self.known_to is not None:
            self.known_to.forget(self)
        followers = list(self._followers)
        self._followers.clear()
        return followers


class Flights:
    """All flights under way, by the key under which others may join them."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Flight] = {}
        self.joined_count = 0
        self.open_count = 0

    def open(self, key: Hashable | None) -> Flight:
        flight = Flight(self, key)
        if key is not None:
            self._by_key[key] = flight
        self.open_count += 1
        return flight

    def under_way(self, key: Hashable) -> Flight | None:
        return self._by_key.get(key)

    def forget(self, flight: Flight) -> None:
        self.open_count -= 1
        if flight.key is not None and self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]
