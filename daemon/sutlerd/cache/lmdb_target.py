"""The writer's side of the LMDB store: the open environment, and what its failures mean.

All of it runs on the writer's thread, but for the constructor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import lmdb

from sutlerd.cache.contract import Page
from sutlerd.cache.entry import Entry, decode
from sutlerd.cache.lmdb_index import Index
from sutlerd.cache.lmdb_place import (
    DAMAGE,
    Opened,
    Opener,
    PlaceRefused,
    close_place,
    identity_of,
)
from sutlerd.system.write_target import STORAGE_ERRORS, Remedy, Txn

#: A reader that lost the processor in mid-read keeps all pages freed since from being used
#: again, which in a small map is soon all there is; it leaves as soon as it runs.
_ROOM_TRIES = 5
_READER_LEAVES_S = 0.01

#: Told of a failure, and why the file had better be discarded, if it had.
OnTrouble = Callable[[Exception, str | None], None]


class LmdbTarget:
    """A ``system.write_target.Target`` whose environment may be closed and opened again."""

    def __init__(
        self,
        folder: Path,
        map_bytes: int,
        *,
        opener: Opener,
        hit_tick: Callable[[bytes], int | None],
        on_trouble: OnTrouble,
    ) -> None:
        self._folder = folder
        self._map_bytes = map_bytes
        self._opener = opener
        self._hit_tick = hit_tick
        self._on_trouble = on_trouble
        self._opened: Opened | None = None

    def open(self, discard: str | None) -> Opened:
        """Open the place, closed before if it was open. Nobody may be reading meanwhile."""
        self.close(leave_sound=False)
        self._opened = self._opener(self._folder, self._map_bytes, discard)
        return self._opened

    def close(self, *, leave_sound: bool) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            close_place(opened, self._folder, leave_sound=leave_sound)

    def is_in_place(self) -> bool:
        """Say whether the files at the path are still the ones that are open."""
        return self._opened is not None and identity_of(self._folder) == self._opened.identity

    def begin(self) -> Txn:
        opened = self._require()
        opened.index.begun()
        return opened.env.begin(write=True)

    def seal(self, txn: Txn) -> None:
        index = self._index()
        index.keep_within_bound(txn, self._hit_tick)
        index.scopes.seal(txn)

    def remedy(self, error: Exception) -> Remedy:
        if self._opened is None:
            return Remedy.FAIL
        if isinstance(error, lmdb.MapFullError):
            return self._remedy_full(error)
        try:
            self._load()
        except STORAGE_ERRORS:
            pass  # what it has in memory does not matter: it will be opened again
        self._on_trouble(error, str(error) if isinstance(error, DAMAGE) else None)
        return Remedy.FAIL

    def _remedy_full(self, error: Exception) -> Remedy:
        """Make room. A job that does not fit into an empty cache either is given up."""
        for _ in range(_ROOM_TRIES):
            try:
                return Remedy.AGAIN if self._make_room() else Remedy.FAIL
            except lmdb.MapFullError:
                time.sleep(_READER_LEAVES_S)
            except STORAGE_ERRORS as worse:
                self._on_trouble(worse, None)
                return Remedy.FAIL
        self._on_trouble(error, "it is too full even to evict")
        return Remedy.FAIL

    def put(
        self,
        txn: Txn,
        *,
        key: bytes,
        record: bytes,
        scope: str,
        expires_unix_s: float,
        tick: int,
    ) -> None:
        self._index().put(txn, key, record, scope, expires_unix_s, tick)

    def touch(self, txn: Txn, *, ticks: Iterable[tuple[bytes, int]]) -> None:
        self._index().touch(txn, ticks)

    def sweep(self, txn: Txn, *, now_unix_s: float, limit: int) -> int:
        return self._index().sweep(txn, now_unix_s, limit)

    def clear(
        self, txn: Txn, *, scope: str, limit: int, before_tick: int, after: bytes
    ) -> tuple[int, bytes | None]:
        return self._index().clear(txn, scope, limit, before_tick=before_tick, after=after)

    def page(
        self, *, prefix: bytes, after: bytes, limit: int, limit_bytes: int, now_unix_s: float
    ) -> Page:
        """Read some entries in the order of their keys, in a transaction of its own."""
        entries: list[Entry] = []
        size_bytes = 0
        opened = self._require()
        with opened.env.begin(db=opened.index.entries) as txn, txn.cursor() as cursor:
            more = cursor.set_range(max(prefix, after + b"\0"))
            for _ in range(limit):
                key = cursor.key() if more else b""
                if not key.startswith(prefix) or not key:
                    return Page(entries=tuple(entries), next_after=None)
                entry = decode(cursor.value(), key, now_unix_s)
                if isinstance(entry, Entry):
                    entries.append(entry)
                    size_bytes += len(entry.payload)
                if size_bytes >= limit_bytes:
                    break
                more = cursor.next()
        return Page(entries=tuple(entries), next_after=key)

    def _make_room(self) -> int:
        """Evict a few entries; give how many.

        In two commits, because LMDB gives the pages that one commit frees to the commit
        after the next.
        """
        self._load()
        evicted = 0
        for _ in range(2):
            with self.begin() as txn:
                index = self._index()
                evicted += index.evict(txn, 4 * index.eviction_step, self._hit_tick)
                index.scopes.seal(txn)
        return evicted

    def _load(self) -> None:
        with self._require().env.begin() as txn:
            self._index().load(txn)

    def _index(self) -> Index:
        return self._require().index

    def _require(self) -> Opened:
        if self._opened is None:
            raise PlaceRefused("the cache is not open")
        return self._opened
