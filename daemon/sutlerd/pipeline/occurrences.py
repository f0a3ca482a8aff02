"""Equal questions told apart: which reply belongs to which asking. Pure.

A recording numbers the askings of a question in the order in which they come, not in that of
their answers: with one connection that is the order in which its program wrote them. One that
is sent again under its caller's id is the same asking, and has one reply.

Between processes there is no such order, so who asked is kept, too. A replay gives each reply
once: whoever asks is given the earliest of his own, by component and rank, and where he has
none left, the earliest that nobody was given. A program whose processes are labelled and ask
the same as before is therefore answered as before, however they race; one that shares its work
out anew each time is given the same replies, in an order of its own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, TypeVar

from sutlerd.domain.record import record
from sutlerd.pipeline.question import Question, Voice

#: Requests with an id that are known when they are sent again.
MAX_IDS: Final = 100_000
T = TypeVar("T")


class Asking:
    """One asking of a question. ``is_kept`` once its reply is recorded."""

    __slots__ = ("is_kept", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_kept = False


class Remembered(dict[tuple[int, str, bytes], T]):
    """What came of requests with an id; the oldest are forgotten."""

    def note(self, question: Question, value: T) -> T:
        if question.again is not None:
            if len(self) >= MAX_IDS:
                del self[next(iter(self))]
            self[*question.again, question.key] = value
        return value

    def known(self, question: Question) -> T | None:
        return None if question.again is None else self.get((*question.again, question.key))


class Askings:
    """Numbers the askings of each question, for a recording that is being made."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()
        self._ids: Remembered[Asking] = Remembered()

    def of(self, question: Question) -> Asking:
        known = self._ids.known(question)
        if known is not None:
            return known
        number = self._counts[question.key]
        self._counts[question.key] += 1
        return self._ids.note(question, Asking(number))


@record
class Place:
    """Where in its file a reply is, its number, and who was given it."""

    number: int
    voice: Voice
    offset: int
    size_bytes: int


class Replies:
    """The replies to one question, each to be given once; mutable. ``places`` are not empty."""

    __slots__ = ("_given", "_next", "_own", "places")

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = sorted(places, key=lambda place: place.number)
        self._own: dict[Voice, deque[int]] = {}
        self._given: set[int] = set()
        self._next = 0
        for index, place in enumerate(self.places):
            self._own.setdefault(place.voice, deque()).append(index)

    def take(self, voice: Voice) -> Place | None:
        """Give the next reply for one who asks; ``None`` if all were given."""
        index = self._own_index(voice)
        if index is None:
            while self._next in self._given:
                self._given.discard(self._next)
                self._next += 1
            if self._next == len(self.places):
                return None
            index = self._next
        self._given.add(index)
        return self.places[index]

    def _own_index(self, voice: Voice) -> int | None:
        own = self._own.get(voice)
        while own:
            index = own.popleft()
            if index >= self._next and index not in self._given:
                return index
        return None
