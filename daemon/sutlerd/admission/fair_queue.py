"""Who is next: weighted max-min fairness over a tree of callers. Pure and clock-free.

Start-time fair queueing at each level of a path such as (class, uid, lane, job, connection):
every node has a virtual start time, the child with the smallest is served, and is moved on by
what it was served divided by its weight. One that comes back from idleness starts at the
present, so that nobody saves up a claim and nobody waits behind another's backlog. Within a
leaf it is first in, first out. Each step costs O(depth * log children), and what is kept is
bounded by how many wait: who has left, and who once was served, does not stay.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

#: From so many nodes on, those in which nobody waits are forgotten, connections before jobs
#: before uids: what they were served is forgiven. Each takes about 1 KB.
MAX_IDLE = 2048
#: What has left may lie so much longer than what waits before it is cleared away.
_SLACK = 8

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Step:
    """One level of a path: who it is there, and its weight among its siblings."""

    name: Hashable
    weight: float = 1.0


@dataclass(eq=False, slots=True)
class Waiting(Generic[Item]):
    """An item's place in the queue; ``cost`` is what serving it will count."""

    item: Item
    cost: float
    path: tuple[Step, ...]
    left: bool = False


@dataclass(eq=False, slots=True)
class _Node(Generic[Item]):
    weight: float = 1.0
    start: float = 0.0
    virtual_time: float = 0.0
    waiting: int = 0
    #: Heap of (start, number, name); an entry is stale unless it matches the child's start.
    heap: list[tuple[float, int, Hashable]] = field(default_factory=list)
    children: dict[Hashable, _Node[Item]] = field(default_factory=dict)
    items: deque[Waiting[Item]] = field(default_factory=deque)


class FairQueue(Generic[Item]):
    """All paths have the same meaning level by level; weights may change from item to item."""

    def __init__(self) -> None:
        self._root: _Node[Item] = _Node()
        self._numbers = itertools.count()
        self._nodes = 0
        self._forget_from = MAX_IDLE

    def __len__(self) -> int:
        return self._root.waiting

    def __iter__(self) -> Iterator[Waiting[Item]]:
        """Walk over all that wait, in no order that means anything."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            nodes.extend(node.children.values())
            yield from (place for place in node.items if not place.left)

    def push(
        self, item: Item, *, path: Sequence[Step], cost: float, first: bool = False
    ) -> Waiting[Item]:
        """Put an item at the end of its leaf; one that comes back goes ``first``."""
        place = Waiting(item, cost, tuple(path))
        self._make_room()
        node = self._root
        node.waiting += 1
        for step in place.path:
            child = node.children.get(step.name) or self._child(node, step.name)
            child.weight = step.weight
            if not child.waiting:
                child.start = max(child.start, node.virtual_time)
                self._enter(node, step.name, child)
            child.waiting += 1
            node = child
        if first:
            node.items.appendleft(place)
        else:
            node.items.append(place)
        return place

    def remove(self, place: Waiting[Item]) -> None:
        """Take out one that leaves before its turn; nothing is counted for it."""
        if place.left:
            return
        leaf = self._take_out(place)
        if len(leaf.items) > 2 * leaf.waiting + _SLACK:
            leaf.items = deque(other for other in leaf.items if not other.left)
        self._forget(place.path)

    def head(self) -> Waiting[Item] | None:
        """Give whose turn it is, or ``None`` where nobody waits."""
        if not self._root.waiting:
            return None
        node = self._root
        while node.children and not node.items:
            node = node.children[self._next_child(node)]
        while node.items[0].left:
            node.items.popleft()
        return node.items[0]

    def pop(self) -> Waiting[Item]:
        """Serve the head: count its cost at every level and take it out."""
        place = self.head()
        if place is None:
            raise IndexError("nobody waits")
        self.served(place.path, place.cost)
        self._take_out(place)
        node = self._root
        for step in place.path:
            parent, node = node, node.children[step.name]
            heapq.heappop(parent.heap)
            if node.waiting:
                self._enter(parent, step.name, node)
        node.items.popleft()
        self._forget(place.path)
        return place

    def served(self, path: Sequence[Step], cost: float) -> None:
        """Count a service, of the head or of one that did not have to wait."""
        self._make_room()
        node = self._root
        for step in path:
            child = node.children.get(step.name) or self._child(node, step.name)
            start = max(child.start, node.virtual_time) if not child.waiting else child.start
            node.virtual_time = max(node.virtual_time, start)
            child.start = start + cost / step.weight
            node = child

    def _child(self, parent: _Node[Item], name: Hashable) -> _Node[Item]:
        child = parent.children[name] = _Node(start=parent.virtual_time)
        self._nodes += 1
        return child

    def _enter(self, parent: _Node[Item], name: Hashable, child: _Node[Item]) -> None:
        if len(parent.heap) > 2 * len(parent.children) + _SLACK:
            parent.heap = [
                (child.start, next(self._numbers), name)
                for name, child in parent.children.items()
                if child.waiting
            ]
            heapq.heapify(parent.heap)
        heapq.heappush(parent.heap, (child.start, next(self._numbers), name))

    def _take_out(self, place: Waiting[Item]) -> _Node[Item]:
        """Count one down at every level; give its leaf, in which it still lies."""
        place.left = True
        node = self._root
        node.waiting -= 1
        for step in place.path:
            node = node.children[step.name]
            node.waiting -= 1
        return node

    def _next_child(self, node: _Node[Item]) -> Hashable:
        while True:
            start, _, name = node.heap[0]
            child = node.children.get(name)
            if child is not None and child.waiting and child.start == start:
                return name
            heapq.heappop(node.heap)

    def _forget(self, path: Sequence[Step]) -> None:
        """Drop nodes that nobody waits in and that have no claim or debt left."""
        nodes = [self._root]
        for step in path:
            nodes.append(nodes[-1].children[step.name])
        for parent, step in zip(reversed(nodes[:-1]), reversed(path), strict=True):
            child = parent.children[step.name]
            if child.waiting:
                return
            child.items.clear()
            if child.children or child.start > parent.virtual_time:
                return
            self._drop(parent, step.name)

    def _drop(self, parent: _Node[Item], name: Hashable) -> None:
        del parent.children[name]
        self._nodes -= 1

    def _make_room(self) -> None:
        """Drop idle nodes if there are many, those furthest from the root first."""
        if self._nodes < self._forget_from:
            return
        floors = [[self._root]]
        while floors[-1]:
            floors.append([child for node in floors[-1] for child in node.children.values()])
        for floor in reversed(floors):
            for node in floor:
                for name, child in list(node.children.items()):
                    if not child.waiting and not child.children:
                        self._drop(node, name)
            if self._nodes <= MAX_IDLE // 2:
                break
        self._forget_from = max(MAX_IDLE, 2 * self._nodes)
