"""Which entries were hit, kept in memory until the writer writes it down.

A hit must not wait for a write, and writing each one would cost more than the hit. So hits
are only noted here, the newest tick for each key, and handed over now and then. Eviction
asks for the notes that are not written yet, so it is as exact as if every hit were.

Pure. One thread notes and hands over; ``tick_of`` may be asked from another.
"""

from __future__ import annotations


class Hits:
    """The ticks of hits not yet written.

    Beyond ``limit`` keys new ones go unnoted, so that writing hits down has a bounded cost
    however many there are; eviction is that much less exact then.
    """

    __slots__ = ("_limit", "_noted", "_writing")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._noted: dict[bytes, int] = {}
        self._writing: dict[bytes, int] = {}

    def note(self, key: bytes, tick: int) -> None:
        noted = self._noted
        if len(noted) < self._limit or key in noted:
            noted[key] = tick

    def tick_of(self, key: bytes) -> int | None:
        """Give the tick of a hit of ``key`` that is not written yet."""
        tick = self._noted.get(key)
        return self._writing.get(key) if tick is None else tick

    def hand_over(self) -> list[tuple[bytes, int]]:
        """Give the noted hits to be written; none while the last ones still are."""
        if self._writing:
            return []
        self._writing, self._noted = self._noted, {}
        return list(self._writing.items())

    def written(self) -> None:
        """What was handed over has been written, or given up."""
        self._writing = {}
