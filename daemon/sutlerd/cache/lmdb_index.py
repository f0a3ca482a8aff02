"""What is written in one LMDB environment, and how it stays within its bound.

Only for the writer's thread, inside its transactions. Every operation costs the same in a
large cache as in a small one: nothing here walks a whole database.

- ``entries``: key -> record (``entry.py``); all that a reader ever looks at.
- ``index``: key -> tick, expiry in unix milliseconds, scope number and size of the record.
- ``recency``: tick -> key; the first one is the least recently used.
- ``terms``: scope number, expiry, key -> nothing; a scope's keys, the soonest to expire first.
- ``scopes``: scope -> its number, entries and bytes (``lmdb_scopes.py``).

Ticks grow with every put and every noted hit. Rows of the last four carry no checksum: one
that makes no sense is dropped when it is met, and whatever lost its rows goes when its time
is up, because a wrong row can cost a miss but never give a wrong payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct

import lmdb

from sutlerd.cache.lmdb_scopes import Scopes
from sutlerd.system.write_target import Txn

#: Raised when rows of another shape are written. Another layout is made anew.
LAYOUT_VERSION = 1
DATABASES = (b"entries", b"index", b"recency", b"terms", b"scopes", b"meta")

# What of the map may hold live pages. The rest is for the copies that a commit makes of what
# it changes (and the last two commits' old ones, which LMDB does not reuse sooner), and for
# holes that are too small to be used.
_LIVE_SHARE = 0.8
_SPARE_PAGES = 96

# How many entries are evicted before the pages are counted again, and in one commit at most.
# Each costs copies of a few pages itself, and frees a page only with its last neighbour, so a
# small map gets back within its bound over several commits.
_LARGEST_STEP = 16
_PAGES_PER_STEP = 256
_MOST_PER_COMMIT = 512
_PAGES_PER_EVICTION = 64

_ROW = Struct(">QQII")
_TICK = Struct(">Q")
_TERM = Struct(">IQ")
_LATEST_MS = 2**63
_LARGEST_TICK = 2**62


class NotOurs(Exception):
    """The file is sound, but what is in it is not to be read by this program."""


class Index:
    """The rows of an open environment."""

    def __init__(self, env: lmdb.Environment, *, map_bytes: int) -> None:
        names = {name: env.open_db(name) for name in DATABASES}
        self.entries = names[b"entries"]
        self._index = names[b"index"]
        self._recency = names[b"recency"]
        self._terms = names[b"terms"]
        self._meta = names[b"meta"]
        self.scopes = Scopes(names[b"scopes"])
        self._measured = tuple(names[name] for name in DATABASES)
        self._page_bytes = env.stat()["psize"]
        self._first_tick = 0
        self.limit_bytes = min(
            int(map_bytes * _LIVE_SHARE), map_bytes - _SPARE_PAGES * self._page_bytes
        )
        pages = map_bytes // self._page_bytes
        self.eviction_step = min(_LARGEST_STEP, max(1, pages // _PAGES_PER_STEP))
        most = min(_MOST_PER_COMMIT, max(1, pages // _PAGES_PER_EVICTION))
        self._most_steps = max(1, most // self.eviction_step)
        self.used_bytes = 0
        self._evicted = 0
        self._evicting = 0

    def start(self, txn: Txn) -> None:
        """Make an empty environment ours, or take up one that is. Raises NotOurs.

        Ticks that are handed in from now on follow all that are stored.
        """
        ours = str(LAYOUT_VERSION).encode()
        found = txn.get(b"layout", db=self._meta)
        if found is None and not txn.stat(self.entries)["entries"]:
            txn.put(b"layout", ours, db=self._meta)
        elif found != ours:
            raise NotOurs("its rows have another layout")
        with txn.cursor(self._recency) as cursor:
            newest = cursor.key() if cursor.last() else bytes(_TICK.size)
        if len(newest) != _TICK.size or newest > _TICK.pack(_LARGEST_TICK):
            raise NotOurs("its newest tick makes no sense")
        self._first_tick = _TICK.unpack(newest)[0] + 1
        self.load(txn)

    @property
    def evicted(self) -> int:
        """How many entries were evicted since the environment was opened."""
        return self._evicted + self._evicting

    def begun(self) -> None:
        """Note a new transaction: the last one was committed, or ``load`` called since."""
        self._evicted, self._evicting = self.evicted, 0

    def load(self, txn: Txn) -> None:
        """Read what is kept in memory as it was last committed, after an abort."""
        self._evicting = 0
        self.scopes.load(txn)
        self.used_bytes = self._measure(txn)

    def put(
        self,
        txn: Txn,
        key: bytes,
        record: bytes,
        scope: str,
        expires_unix_s: float,
        tick: int,
    ) -> None:
        """Store a record, in the place of an older one of this key."""
        self._forget_rows(txn, key)
        number = self.scopes.add(scope, len(record))
        stored_tick = self._first_tick + tick
        expires_ms = _milliseconds(expires_unix_s)
        row = _ROW.pack(stored_tick, expires_ms, number, len(record))
        txn.put(key, record, db=self.entries)
        txn.put(key, row, db=self._index)
        txn.put(_TICK.pack(stored_tick), key, db=self._recency)
        txn.put(_TERM.pack(number, expires_ms) + key, b"", db=self._terms)

    def touch(self, txn: Txn, ticks: Iterable[tuple[bytes, int]]) -> None:
        """Make each key as recently used as its tick; those that are gone stay gone."""
        for key, tick in ticks:
            row = txn.get(key, db=self._index)
            if row is None or len(row) != _ROW.size:
                continue
            old_tick, expires_ms, number, size_bytes = _ROW.unpack(row)
            stored_tick = self._first_tick + tick
            if old_tick >= stored_tick:
                continue
            txn.delete(_TICK.pack(old_tick), db=self._recency)
            txn.put(_TICK.pack(stored_tick), key, db=self._recency)
            txn.put(key, _ROW.pack(stored_tick, expires_ms, number, size_bytes), db=self._index)

    def remove(self, txn: Txn, key: bytes) -> bool:
        """Remove an entry and all its rows. ``False``: there was none."""
        self._forget_rows(txn, key)
        return txn.delete(key, db=self.entries)

    def evict(self, txn: Txn, count: int, hit_tick: Callable[[bytes], int | None]) -> int:
        """Remove up to ``count`` of the least recently used entries; give how many went.

        ``hit_tick`` gives the tick of a hit that has not been written yet: such an entry is
        moved to where it belongs and not evicted.
        """
        removed = 0
        with txn.cursor(self._recency) as cursor:
            while removed < count and cursor.first():
                stored_tick, key = cursor.key(), cursor.value()
                tick = hit_tick(key)
                if tick is not None and _TICK.pack(self._first_tick + tick) > stored_tick:
                    self.touch(txn, ((key, tick),))
                    if cursor.first() and cursor.key() == stored_tick:
                        txn.delete(stored_tick, db=self._recency)  # a row without its entry
                    continue
                txn.delete(stored_tick, db=self._recency)
                row = txn.get(key, db=self._index)
                if row is not None and row[: _TICK.size] == stored_tick:
                    removed += self.remove(txn, key)
        self._evicting += removed
        return removed

    def keep_within_bound(self, txn: Txn, hit_tick: Callable[[bytes], int | None]) -> bool:
        """Evict until the live pages fit; where nothing is left to evict, empty it all.

        ``False``: this is as much as one commit should do, and they do not fit yet.
        """
        self.used_bytes = self._measure(txn)
        for _ in range(self._most_steps):
            if self.used_bytes <= self.limit_bytes:
                return True
            if not self.evict(txn, self.eviction_step, hit_tick):
                self.empty(txn)
            self.used_bytes = self._measure(txn)
        return self.used_bytes <= self.limit_bytes

    def empty(self, txn: Txn) -> None:
        """Remove everything."""
        for database in self._measured:
            txn.drop(database, delete=False)
        txn.put(b"layout", str(LAYOUT_VERSION).encode(), db=self._meta)
        self.scopes.forget_all()

    def sweep(self, txn: Txn, now_unix_s: float, limit: int) -> int:
        """Remove up to ``limit`` expired entries; give how many went."""
        removed = 0
        for number in self.scopes.numbers():
            before = _TERM.pack(number, _milliseconds(now_unix_s) + 1)
            removed += self._remove_terms(txn, number, limit - removed, before=before)[0]
            if removed >= limit:
                break
        return removed

    def clear(
        self, txn: Txn, scope: str, limit: int, *, before_tick: int, after: bytes
    ) -> tuple[int, bytes | None]:
        """Remove up to ``limit`` entries of a scope that are older than ``before_tick``.

        ``after`` is where the last step ended (``b""`` at first). Gives how many went and
        where this step ended, ``None`` when the scope is done.
        """
        totals = self.scopes.totals.get(scope)
        if totals is None:
            return 0, None
        tick = _TICK.pack(self._first_tick + before_tick)
        return self._remove_terms(txn, totals.number, limit, before_tick=tick, after=after)

    def _remove_terms(
        self,
        txn: Txn,
        number: int,
        limit: int,
        *,
        before: bytes = b"",
        before_tick: bytes = b"",
        after: bytes = b"",
    ) -> tuple[int, bytes | None]:
        """Walk one scope's terms from ``after`` on and remove what is due, at most ``limit``."""
        removed = looked_at = 0
        prefix = number.to_bytes(4, "big")
        position = after or prefix
        with txn.cursor(self._terms) as cursor:
            more = cursor.set_range(position)
            while more and looked_at < limit:
                term = cursor.key()
                if not term.startswith(prefix) or (before and term >= before):
                    return removed, None
                looked_at += 1
                position = term + b"\0"
                key = term[_TERM.size :]
                row = txn.get(key, db=self._index)
                if row is None or _term_of(row, key) != term:
                    txn.delete(term, db=self._terms)  # a row without its entry
                elif not before_tick or row[: _TICK.size] < before_tick:
                    removed += self.remove(txn, key)
                more = cursor.set_range(position)
        return removed, position if more else None

    def _forget_rows(self, txn: Txn, key: bytes) -> None:
        row = txn.pop(key, db=self._index)
        if row is None or len(row) != _ROW.size:
            return
        tick, expires_ms, number, size_bytes = _ROW.unpack(row)
        txn.delete(_TICK.pack(tick), db=self._recency)
        txn.delete(_TERM.pack(number, expires_ms) + key, db=self._terms)
        self.scopes.subtract(number, size_bytes)

    def _measure(self, txn: Txn) -> int:
        """Give the bytes of all pages in use; LMDB keeps the counts, nothing is walked."""
        pages = 0
        for database in self._measured:
            counts = txn.stat(database)
            pages += counts["branch_pages"] + counts["leaf_pages"] + counts["overflow_pages"]
        return pages * self._page_bytes


def _milliseconds(unix_s: float) -> int:
    return max(0, min(int(unix_s * 1000), _LATEST_MS))


def _term_of(row: bytes, key: bytes) -> bytes:
    """Give the key in ``terms`` that an index row stands for; ``b""`` for a damaged row."""
    if len(row) != _ROW.size:
        return b""
    _, expires_ms, number, _ = _ROW.unpack(row)
    return _TERM.pack(number, expires_ms) + key
