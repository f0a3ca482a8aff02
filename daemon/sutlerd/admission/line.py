"""All who wait at one boundary: the fair queue, and aside of it those with a want of their own.

A head that lacks something that others do not want, money of an account or a slot of its own
user, is set aside under that want's key, so that it blocks nobody behind it. When there is news
of a key, one of its group at a time comes back to the queue, where it was in its leaf, and tries
again in fair order; the next follows as soon as it got through. So news cost O(log n), however
many stand aside. Pure.

Keys are tuples that begin with a rank: who tries and fails for a want of a higher rank moves to
that group, and the next of its old group tries; for one of a lower rank it goes back, and its
group hears the news of that want, too. So nobody moves more often than there are ranks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sutlerd.admission.fair_queue import FairQueue, Step, Waiting

Item = TypeVar("Item")
#: The first part is the rank, an integer; what follows tells the wants of a rank apart.
Key = tuple[Any, ...]


@dataclass(eq=False, slots=True)
class Spot(Generic[Item]):
    """One item's place in the line. ``aside`` is the key of its group, ``trying`` whether it
    came back from there to try."""

    item: Item
    cost: float
    path: tuple[Step, ...]
    place: Waiting[Spot[Item]] | None = None
    aside: Key | None = None
    trying: bool = False


@dataclass(eq=False, slots=True)
class _Group(Generic[Item]):
    queue: FairQueue[Spot[Item]] = field(default_factory=FairQueue)
    trial: Spot[Item] | None = None


class Line(Generic[Item]):
    def __init__(self) -> None:
        self._queue: FairQueue[Spot[Item]] = FairQueue()
        self._groups: dict[Key, _Group[Item]] = {}
        self._keys: dict[int, dict[Key, None]] = {}
        #: Groups that hear the news of another key, too.
        self._listeners: dict[Key, dict[Key, None]] = {}
        self._aside_count = 0

    def __len__(self) -> int:
        return len(self._queue) + self._aside_count

    def __iter__(self) -> Iterator[Spot[Item]]:
        """Walk over all that wait, in no order that means anything."""
        yield from (place.item for place in self._queue)
        for group in self._groups.values():
            yield from (place.item for place in group.queue)

    @property
    def in_turn(self) -> int:
        """How many stand in the queue itself."""
        return len(self._queue)

    def push(self, item: Item, *, path: Sequence[Step], cost: float) -> Spot[Item]:
        spot = Spot(item, cost, tuple(path))
        spot.place = self._queue.push(spot, path=path, cost=cost)
        return spot

    def head(self) -> Spot[Item] | None:
        place = self._queue.head()
        return None if place is None else place.item

    def pop(self) -> Spot[Item]:
        """Serve the head; if it came from aside, the next of its group comes to try."""
        spot = self._queue.pop().item
        self._gone(spot)
        return spot

    def leave(self, spot: Spot[Item]) -> None:
        """Take out one that leaves before its turn, wherever it stands."""
        place = spot.place
        if place is None:
            return
        if spot.aside is not None and not spot.trying:
            group = self._groups[spot.aside]
            group.queue.remove(place)
            self._aside_count -= 1
            if not len(group.queue) and group.trial is None:
                self._drop(spot.aside)
        else:
            self._queue.remove(place)
        self._gone(spot)

    def served(self, path: Sequence[Step], cost: float) -> None:
        """Count one that did not have to wait."""
        self._queue.served(path, cost)

    def holds(self, key: Key) -> bool:
        """Tell whether anybody stands aside, or tries, for this want."""
        return key in self._groups or key in self._listeners

    def set_aside(self, spot: Spot[Item], key: Key) -> None:
        """Let the head out of the way until there is news of ``key``."""
        assert spot.place is not None
        self._queue.remove(spot.place)
        home, came_back = spot.aside, spot.trying
        spot.trying = False
        if home is not None and came_back:
            group = self._groups[home]
            group.trial = None
            if key[0] <= home[0]:
                # It wants both; when there is news of either it tries again.
                if key != home:
                    self._listeners.setdefault(key, {})[home] = None
                self._stand(spot, home, first=True)
                return
            self._try_next(home)
        self._stand(spot, key, first=False)

    def wake(self, key: Key) -> bool:
        """Let one of those who want ``key`` try. Tells whether there is anybody."""
        woken = self._try_next(key)
        for listening in self._listeners.pop(key, ()):
            woken = self._try_next(listening) or woken
        return woken

    def wake_all(self, rank: int, names: Collection[object] | None = None) -> bool:
        """The same for every want of a rank, or those of it whose second part is named."""
        woken = False
        for key in list(self._keys.get(rank, ())):
            if names is None or key[1] in names:
                woken = self.wake(key) or woken
        return woken

    def _stand(self, spot: Spot[Item], key: Key, *, first: bool) -> None:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
            self._keys.setdefault(key[0], {})[key] = None
        spot.aside = key
        spot.place = group.queue.push(spot, path=spot.path, cost=spot.cost, first=first)
        self._aside_count += 1

    def _try_next(self, key: Key) -> bool:
        group = self._groups.get(key)
        if group is None or group.trial is not None:
            return False
        if not len(group.queue):
            self._drop(key)
            return False
        spot = group.queue.pop().item
        self._aside_count -= 1
        group.trial, spot.trying = spot, True
        spot.place = self._queue.push(spot, path=spot.path, cost=spot.cost, first=True)
        return True

    def _gone(self, spot: Spot[Item]) -> None:
        spot.place = None
        if spot.trying and spot.aside is not None:
            self._groups[spot.aside].trial = None
            self._try_next(spot.aside)

    def _drop(self, key: Key) -> None:
        del self._groups[key]
        del self._keys[key[0]][key]
