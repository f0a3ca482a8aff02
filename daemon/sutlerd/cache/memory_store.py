"""The local tier in memory alone: the same promises as on disk, but for restarts.

Everything happens at once and on the caller's thread, so what is put is stored.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sutlerd.cache.contract import KEPT_SCOPES, Page, can_be_named
from sutlerd.cache.entry import FUTURE_TOLERANCE_S, Entry
from sutlerd.domain.ports import Clock

#: What an entry costs beside its key, scope and payload: objects, the table's and heap's rows.
ENTRY_OVERHEAD_BYTES = 400

#: How many expired entries one put removes at most, so that no put pays for many.
_SWEEP_STEP = 8


@dataclass(slots=True)
class _Held:
    payload: bytes
    scope: str
    stored_unix_s: float
    expires_unix_s: float
    size_bytes: int


class MemoryStore:
    """A ``contract.Store`` that holds at most ``max_bytes``, overhead included."""

    def __init__(self, *, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        #: The least recently used first.
        self._held: OrderedDict[bytes, _Held] = OrderedDict()
        #: (expiry, key), the soonest first; a row of an entry that was replaced is stale.
        self._terms: list[tuple[float, bytes]] = []
        self._totals: dict[str, list[int]] = {}
        self._size_bytes = 0
        self._hits = self._misses = self._evictions = self._expired = self._dropped = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def get(self, key: bytes) -> bytes | None:
        held = self._held.get(key)
        if held is None or not self._is_live(held):
            self._misses += 1
            return None
        self._held.move_to_end(key)
        self._hits += 1
        return held.payload

    def holds(self, key: bytes) -> bool:
        held = self._held.get(key)
        return held is not None and self._is_live(held)

    async def page(self, prefix: bytes, after: bytes, *, limit: int, limit_bytes: int) -> Page:
        below = (key for key in self._held if key.startswith(prefix) and key > after)
        keys = heapq.nsmallest(limit, below)
        entries: list[Entry] = []
        size_bytes = 0
        for key in keys:
            held = self._held[key]
            if self._is_live(held):
                entries.append(_entry_of(key, held))
                size_bytes += len(held.payload)
            if size_bytes >= limit_bytes:
                return Page(entries=tuple(entries), next_after=key)
        last = keys[-1] if len(keys) == limit else None
        return Page(entries=tuple(entries), next_after=last)

    def put(self, key: bytes, payload: bytes, *, scope: str, ttl_s: float) -> None:
        if not ttl_s > 0:
            return
        size_bytes = len(key) + len(scope) + len(payload) + ENTRY_OVERHEAD_BYTES
        if not can_be_named(key, scope) or size_bytes > self._max_bytes:
            self._dropped += 1
            return
        self._remove(key)
        now_unix_s = self._clock.unix_s()
        self._sweep(now_unix_s)
        while self._size_bytes + size_bytes > self._max_bytes:
            self._remove(next(iter(self._held)))
            self._evictions += 1
        expires_unix_s = now_unix_s + ttl_s
        self._held[key] = _Held(payload, scope, now_unix_s, expires_unix_s, size_bytes)
        self._count(scope, 1, size_bytes)
        heapq.heappush(self._terms, (expires_unix_s, key))
        if len(self._terms) > 2 * len(self._held) + 64:
            self._terms = [(held.expires_unix_s, key) for key, held in self._held.items()]
            heapq.heapify(self._terms)

    async def clear(self, scope: str | None) -> int:
        chosen = [
            key
            for key, held in self._held.items()
            if (
                held.scope == scope if scope is not None else not held.scope.startswith(KEPT_SCOPES)
            )
        ]
        for key in chosen:
            self._remove(key)
        return len(chosen)

    def stats(self, scope: str | None) -> dict[str, int | float]:
        if scope is not None:
            entries, size_bytes = self._totals.get(scope, (0, 0))
            return {"entries": entries, "size_bytes": size_bytes, "limit_bytes": self._max_bytes}
        return {
            "entries": len(self._held),
            "size_bytes": self._size_bytes,
            "limit_bytes": self._max_bytes,
            "hits": self._hits,
            "misses": self._misses,
            "evictions": self._evictions,
            "expired": self._expired,
            "errors": 0,
            "dropped_writes": self._dropped,
        }

    async def flush(self) -> None:
        return None

    def _is_live(self, held: _Held) -> bool:
        return held.stored_unix_s - FUTURE_TOLERANCE_S <= self._clock.unix_s() < held.expires_unix_s

    def _sweep(self, now_unix_s: float) -> None:
        for _ in range(_SWEEP_STEP):
            if not self._terms or self._terms[0][0] > now_unix_s:
                return
            expires_unix_s, key = heapq.heappop(self._terms)
            held = self._held.get(key)
            if held is not None and held.expires_unix_s == expires_unix_s:
                self._remove(key)
                self._expired += 1

    def _remove(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._count(held.scope, -1, -held.size_bytes)

    def _count(self, scope: str, entries: int, size_bytes: int) -> None:
        totals = self._totals.setdefault(scope, [0, 0])
        totals[0] += entries
        totals[1] += size_bytes
        self._size_bytes += size_bytes
        if not totals[0]:
            del self._totals[scope]


def _entry_of(key: bytes, held: _Held) -> Entry:
    return Entry(
        key=key,
        scope=held.scope,
        payload=held.payload,
        stored_unix_s=held.stored_unix_s,
        expires_unix_s=held.expires_unix_s,
    )
