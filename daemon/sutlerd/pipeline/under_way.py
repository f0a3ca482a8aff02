"""Requests with an id whose flight is not over, by (uid, request id).

A client that lost its connection asks again under the same id, often before the daemon has
noticed that the first asker is gone: both then follow one flight, and the id is known until
the last of them has left.
"""

from __future__ import annotations

from dataclasses import dataclass

from sutlerd.pipeline.coalesce import Flight
from sutlerd.pipeline.idempotency import Asked, reused


@dataclass(slots=True)
class _Known:
    request_hash: bytes
    flight: Flight
    askers: int


class UnderWay:
    """A table as large as the number of calls under way."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def flight_of(self, asked: Asked) -> Flight | None:
        """Give the flight to follow, if any. Raises ``InvalidParams`` for another request."""
        known = self._known.get((asked.uid, asked.request_id))
        if known is None or known.flight.is_over:
            return None
        if known.request_hash != asked.request_hash:
            raise reused(asked.request_id)
        return known.flight

    def add(self, asked: Asked, flight: Flight) -> None:
        place = (asked.uid, asked.request_id)
        known = self._known.get(place)
        if known is not None and known.flight is flight:
            known.askers += 1
        else:
            self._known[place] = _Known(asked.request_hash, flight, 1)

    def leave(self, uid: int, request_id: str, flight: Flight) -> None:
        """Let one asker go, after its answer or before."""
        known = self._known.get((uid, request_id))
        if known is None or known.flight is not flight:
            return
        known.askers -= 1
        if not known.askers:
            del self._known[uid, request_id]
