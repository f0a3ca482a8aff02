"""Requests with an id whose flight is not over, by (uid, request id).

A client that lost its connection asks again under the same id: often before the daemon has
noticed that the first asker is gone, or while what it paid for is read to its end. It then
follows that flight, so that nothing is bought twice: an id is known until its flight is over.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from sutlerd.domain.errors import Overloaded
from sutlerd.pipeline.idempotency import Asked, reused

if TYPE_CHECKING:
    from sutlerd.pipeline.coalesce import Flight

MAX_IDS_A_FLIGHT: Final = 65_536


class UnderWay:
    """A table as large as the number of calls under way, those that were left included."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[bytes, Flight]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def flight_of(self, asked: Asked) -> Flight | None:
        """Give the flight to follow, if any. Raises ``InvalidParams`` for another request."""
        known = self._known.get((asked.uid, asked.request_id))
        if known is None:
            return None
        request_hash, flight = known
        if request_hash != asked.request_hash:
            raise reused(asked.request_id)
        return flight

    def add(self, asked: Asked, flight: Flight) -> bool:
        """Note that a flight will answer this request; tell whether that is new.

        Raises ``Overloaded``.
        """
        known = self._known.get((asked.uid, asked.request_id))
        if known is not None and known[1] is flight:
            return False
        if len(flight.asked) >= MAX_IDS_A_FLIGHT:
            raise Overloaded("too many requests share this same answer", retry_after_s=1.0)
        self._known[asked.uid, asked.request_id] = asked.request_hash, flight
        flight.known_to = self
        flight.asked.append(asked)
        return True

    def forget(self, flight: Flight) -> None:
        """Drop the ids of a flight that is over."""
        self.keep(flight, ())

    def keep(self, flight: Flight, staying: Collection[Asked | None]) -> None:
        """Drop all ids of a flight but these: it does not answer the others."""
        going = [asked for asked in flight.asked if asked not in staying]
        # Another list: who pays for attempts that have ended goes by the old one.
        flight.asked = [asked for asked in flight.asked if asked in staying]
        for asked in going:
            known = self._known.get((asked.uid, asked.request_id))
            if known is not None and known[1] is flight:
                del self._known[asked.uid, asked.request_id]
