"""The local tier on disk: answers at memory's speed, kept through restarts.

Reads are made here, on the event loop, in a short transaction of their own; they wait for
no write and no lock. Everything else (opening, writing, looking at the folder) runs on the
writer's thread. Whatever fails there leaves calls without a cache for a while, never
without an answer: a failed store rests, is opened again, and is made anew where its file is
of no use.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import lmdb

from sutlerd.cache.contract import KEPT_SCOPES, Page, StoreUnavailable, can_be_named
from sutlerd.cache.entry import Entry, Miss, encode, payload_of
from sutlerd.cache.lmdb_lifecycle import Lifecycle, NotOpen, State
from sutlerd.cache.lmdb_place import Opener, open_place
from sutlerd.cache.recency import Hits
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.system.write_target import STORAGE_ERRORS, Job, T, WriterFull, WriterStopped

SMALLEST_BYTES = 1 << 20

#: How often the place is looked at, hits are written down and expired entries swept.
UPKEEP_S = 5.0

_MAX_NOTED_HITS = 8192

#: A page of each of the two rows that a written hit changes.
_TOUCH_BYTES = 2 * 4096
_LONGEST_TTL_S = 100 * 365 * 86_400.0


class LmdbStore:
    """A ``contract.Store`` in an LMDB environment of at most ``max_bytes`` (1 MiB at least)."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        clock: Clock,
        log: EventLog,
        opener: Opener = open_place,
        upkeep_s: float = UPKEEP_S,
    ) -> None:
        self._upkeep_s = upkeep_s
        self._map_bytes = max(max_bytes, SMALLEST_BYTES)
        self._largest_payload_bytes = self._map_bytes // 64
        self._unix_s = clock.unix_s
        self._pending: dict[bytes, bytes] = {}
        self._noted = Hits(limit=_MAX_NOTED_HITS)
        self._note = self._noted.note
        self._life = Lifecycle(
            folder,
            self._map_bytes,
            clock=clock,
            log=log,
            opener=opener,
            hit_tick=self._noted.tick_of,
        )
        #: How many entries one job of sweeping or clearing takes, so that puts get in between.
        self._step = self._life.step
        self._writer = self._life.writer
        self._target = self._life.target
        self._tick = 0
        self._hits = self._misses = self._expired = self._errors = self._dropped = 0

    async def __aenter__(self) -> Self:
        self._upkeep = asyncio.Lock()
        opening = await self._life.start()
        self._life.tasks.start(self._keep(opening), "cache-upkeep")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._life.tasks.stop()
        self._hand_over_hits()
        await self._life.stop()

    def get(self, key: bytes) -> bytes | None:
        # The hot path: written out in one piece, because each call it would make is 3 % of it.
        record = self._pending.get(key)
        if record is None:
            try:
                with self._life.begin(self._life.entries) as txn:
                    record = txn.get(key)
            except STORAGE_ERRORS as error:
                self._failed_to_read(error)
            if record is None:
                self._misses += 1
                return None
        payload = payload_of(record, key, self._unix_s())
        if type(payload) is bytes:
            self._hits += 1
            self._tick = tick = self._tick + 1
            self._note(key, tick)
            return payload
        self._misses += 1
        if payload is not Miss.EXPIRED:
            self._errors += 1
        return None

    def holds(self, key: bytes) -> bool:
        record = self._pending.get(key)
        if record is None:
            try:
                with self._life.begin(self._life.entries) as txn:
                    record = txn.get(key)
            except STORAGE_ERRORS as error:
                self._failed_to_read(error)
        return record is not None and type(payload_of(record, key, self._unix_s())) is bytes

    async def page(self, prefix: bytes, after: bytes, *, limit: int, limit_bytes: int) -> Page:
        read = partial(
            self._target.page,
            prefix=prefix,
            after=after,
            limit=limit,
            limit_bytes=limit_bytes,
            now_unix_s=self._unix_s(),
        )
        try:
            return await self._writer.call(read)
        except (*STORAGE_ERRORS, WriterStopped) as error:
            raise StoreUnavailable(f"the cache cannot be read now: {error}") from error

    def put(self, key: bytes, payload: bytes, *, scope: str, ttl_s: float) -> None:
        if not ttl_s > 0:
            return  # nor is NaN greater than 0
        now_unix_s = self._unix_s()
        entry = Entry(
            key=key,
            scope=scope,
            payload=payload,
            stored_unix_s=now_unix_s,
            expires_unix_s=now_unix_s + min(ttl_s, _LONGEST_TTL_S),
        )
        if not self._submit(entry):
            self._dropped += 1

    async def clear(self, scope: str | None) -> int:
        before_tick = self._tick + 1
        try:
            await self._writer.flush()
            opened = self._life.opened
            if opened is None or self._life.state is not State.OPEN:
                raise StoreUnavailable("the cache is out of order, so nothing can be removed now")
            scopes = (
                [scope] if scope is not None else opened.index.scopes.names_without(KEPT_SCOPES)
            )
            return sum([await self._clear_scope(each, before_tick) for each in scopes])
        except (*STORAGE_ERRORS, WriterStopped) as error:
            raise StoreUnavailable(f"the cache could not be cleared: {error}") from error

    def stats(self, scope: str | None) -> dict[str, int | float]:
        opened = self._life.opened
        held = opened.index.scopes.sum_of(scope) if opened is not None else (0, 0)
        common = {"entries": held[0], "size_bytes": held[1], "limit_bytes": self._map_bytes}
        if scope is not None:
            return {**common}
        return {
            **common,
            "pages_bytes": opened.index.used_bytes if opened is not None else 0,
            "hits": self._hits,
            "misses": self._misses,
            "evictions": self._life.evicted(),
            "expired": self._expired,
            "errors": self._errors + self._life.errors,
            "dropped_writes": self._dropped,
            "queued_writes": self._writer.queued_jobs,
            "open": int(self._life.state is State.OPEN),
        }

    async def flush(self) -> None:
        with suppress(WriterStopped):
            await self._writer.flush()

    async def check_place(self) -> bool:
        """Say whether the files are still in their place; if not, they are made anew."""
        async with self._upkeep:
            return await self._life.check_place()

    async def sweep(self) -> int:
        """Remove what has expired, a few entries at a time; gives how many went."""
        swept = 0
        while self._life.state is State.OPEN:
            job = partial(self._target.sweep, now_unix_s=self._unix_s(), limit=self._step)
            try:
                removed = await self._write(job)
            except (*STORAGE_ERRORS, WriterStopped):
                break  # counted and said where it was met
            swept += removed
            self._expired += removed
            if removed < self._step:
                break
        return swept

    async def tend(self) -> None:
        """Do one round of upkeep. The store does this by itself every ``UPKEEP_S``."""
        async with self._upkeep:
            await self._life.tend()
            self._hand_over_hits()
            await self.sweep()

    async def _keep(self, opening: asyncio.Task[None]) -> None:
        await opening
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._upkeep_s):
                    await self._life.wake.wait()
            self._life.wake.clear()
            await self.tend()

    def _failed_to_read(self, error: Exception) -> None:
        # There is no entry with a key of this size, and no reading while the store is closed.
        if not isinstance(error, lmdb.BadValsizeError | NotOpen):
            self._life.met(error, reading=True)

    def _submit(self, entry: Entry) -> bool:
        """Queue an entry to be written; it can be read from now on. ``False``: it cannot be."""
        if self._life.state not in (State.OPEN, State.OPENING):
            return False
        key = entry.key
        if len(entry.payload) > self._largest_payload_bytes or not can_be_named(key, entry.scope):
            return False
        record = encode(entry)
        self._tick += 1
        job = partial(
            self._target.put,
            key=key,
            record=record,
            scope=entry.scope,
            expires_unix_s=entry.expires_unix_s,
            tick=self._tick,
        )
        done = partial(self._settled, key, record)
        if not self._writer.submit(job, size_bytes=len(record), done=done):
            return False
        self._pending[key] = record
        return True

    def _settled(
        self, key: bytes, record: bytes, result: None, error: BaseException | None
    ) -> None:
        if self._pending.get(key) is record:
            del self._pending[key]
        if error is None:
            self._life.worked()
        else:
            self._dropped += 1

    def _hand_over_hits(self) -> None:
        """Have the noted hits written, in jobs that dirty no more pages than puts do."""
        if self._life.state is not State.OPEN:
            return
        hits = self._noted.hand_over()
        for start in range(0, len(hits), self._step):
            ticks = hits[start : start + self._step]
            is_last = start + self._step >= len(hits)
            submitted = self._writer.submit(
                partial(self._target.touch, ticks=ticks),
                size_bytes=len(ticks) * _TOUCH_BYTES,
                done=self._hits_written if is_last else None,
            )
            if not submitted:
                self._noted.written()
                return

    def _hits_written(self, result: None, error: BaseException | None) -> None:
        self._noted.written()

    async def _clear_scope(self, scope: str, before_tick: int) -> int:
        removed, after = 0, b""
        while True:
            job = partial(
                self._target.clear,
                scope=scope,
                limit=self._step,
                before_tick=before_tick,
                after=after,
            )
            count, ended = await self._write(job)
            removed += count
            if ended is None:
                return removed
            after = ended

    async def _write(self, job: Job[T]) -> T:
        """Have a job committed, even if that means to wait until the queue has room."""
        while True:
            try:
                return await self._writer.write(job)
            except WriterFull:
                await self._writer.flush()
