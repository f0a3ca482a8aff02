"""The second tier: a Redis or Valkey server that several nodes share.

It is asked after a local miss, and may only ever cost a short, bounded wait. Questions that
meet are sent as one; nobody waits for a connection, since connecting, and trying again after
a failure, happen in the background while every question is a miss. Values are entries
(``entry.py``), so that whatever else stands under a key of ours is a miss too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Self

from sutlerd.cache.contract import can_be_named
from sutlerd.cache.entry import Entry, Miss, encode, payload_of
from sutlerd.cache.outage import Outage
from sutlerd.cache.redis_link import LinkDown, LinkUnusable, RedisLink, place_of
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.system.tasks import Tasks

LARGEST_RECORD_BYTES = 8 << 20

_NAME_PREFIX = b"sutler:cache:"
_MAX_WAITING = 4096
_MAX_QUEUED = 1024
_MAX_QUEUED_BYTES = 32 << 20
_GETS_AT_ONCE = 64
_PUTS_AT_ONCE = 32

#: Connecting may take longer than an answer: a name is looked up, TLS is agreed on.
_CONNECT_LIMIT_S = 2.0
_PUT_LIMIT_S = 2.0
_LAST_PUTS_LIMIT_S = 1.0

#: So many answers in a row that come too late mean that the server is to be left alone.
_STRIKES = 3

_Put = tuple[bytes, bytes, int]


class RedisTier:
    """A ``contract.SecondTier``. ``timeout_s`` bounds every ``get``."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock, log: EventLog) -> None:
        self._place = place_of(url)
        self._link = RedisLink(url)
        self._timeout_s = timeout_s
        self._clock = clock
        self._log = log
        self._tasks = Tasks(log)
        self._outage = Outage(first_pause_s=0.5, longest_pause_s=5.0)
        self._is_up = False
        self._waiting: deque[tuple[bytes, asyncio.Future[bytes | None]]] = deque()
        self._puts: deque[_Put] = deque()
        self._queued_bytes = 0
        self._hits = self._misses = self._timeouts = self._errors = 0
        self._stored = self._dropped = 0

    async def __aenter__(self) -> Self:
        self._asked = asyncio.Event()
        self._offered = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._settled = asyncio.Event()
        self._tasks.start(self._run(), "cache-second-tier")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_PUTS_LIMIT_S):
                await self.flush()
        await self._tasks.stop()
        await self._link.close()

    async def get(self, key: bytes) -> bytes | None:
        record = await self._ask(key)
        if record is not None:
            payload = payload_of(record, key, self._clock.unix_s())
            if not isinstance(payload, Miss):
                self._hits += 1
                return payload
            self._errors += payload is not Miss.EXPIRED
        self._misses += 1
        return None

    def put(self, key: bytes, payload: bytes, *, ttl_s: float) -> None:
        if not ttl_s > 0:
            return
        now_unix_s = self._clock.unix_s()
        entry = Entry(
            key=key,
            scope="",
            payload=payload,
            stored_unix_s=now_unix_s,
            expires_unix_s=now_unix_s + ttl_s,
        )
        if not can_be_named(key, entry.scope):
            self._dropped += 1
            return
        record = encode(entry)
        if (
            not self._is_up
            or len(record) > LARGEST_RECORD_BYTES
            or len(self._puts) >= _MAX_QUEUED
            or self._queued_bytes + len(record) > _MAX_QUEUED_BYTES
        ):
            self._dropped += 1
            return
        self._puts.append((_name(key), record, max(1, int(min(ttl_s, 1e9) * 1000))))
        self._queued_bytes += len(record)
        self._all_sent.clear()
        self._offered.set()

    def stats(self) -> dict[str, int]:
        return {
            "up": int(self._is_up),
            "hits": self._hits,
            "misses": self._misses,
            "timeouts": self._timeouts,
            "errors": self._errors,
            "stored": self._stored,
            "dropped_writes": self._dropped,
        }

    async def flush(self) -> None:
        """Wait until what was put before is sent or dropped."""
        await self._all_sent.wait()

    async def first_try(self) -> bool:
        """Wait until the first try to connect has ended; says whether the server answers."""
        await self._settled.wait()
        return self._is_up

    async def _ask(self, key: bytes) -> bytes | None:
        if not self._is_up or len(self._waiting) >= _MAX_WAITING:
            return None
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        self._asked.set()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            self._timeouts += 1
            return None

    async def _run(self) -> None:
        try:
            await self._link.load()
            await self._serve()
        except LinkUnusable as unusable:
            self._log.event("error", "cache_second_tier_off", reason=str(unusable))
        finally:
            self._go_down()

    async def _serve(self) -> None:
        """Connect, serve until that fails, pause, and so on for ever."""
        while True:
            try:
                await self._connect()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._send_gets())
                    tasks.create_task(self._send_puts())
            except* (LinkDown, TimeoutError) as failures:
                self._failed(failures.exceptions[0])
            self._go_down()
            await asyncio.sleep(self._outage.pause_s)

    async def _connect(self) -> None:
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            await self._link.ping()
        self._is_up = True
        self._settled.set()

    def _worked(self) -> None:
        # Not already when it could be connected to: a server that is always too slow would
        # come back and go away again all the time, and say so each time.
        if self._outage.worked():
            self._log.event("info", "cache_second_tier_back", server=self._place)

    def _failed(self, error: BaseException) -> None:
        self._errors += 1
        if self._outage.failed(self._clock.monotonic_s()):
            self._log.event(
                "warning",
                "cache_second_tier_away",
                server=self._place,
                reason=str(error) or "no answer in time",
            )

    def _go_down(self) -> None:
        self._is_up = False
        self._settled.set()
        while self._waiting:
            _answer(self._waiting.popleft()[1], None)
        self._dropped += len(self._puts)
        self._puts.clear()
        self._queued_bytes = 0
        self._all_sent.set()

    async def _send_gets(self) -> None:
        strikes = 0
        while True:
            await self._asked.wait()
            count = min(len(self._waiting), _GETS_AT_ONCE)
            batch = [self._waiting.popleft() for _ in range(count)]
            if not self._waiting:
                self._asked.clear()
            batch = [(key, future) for key, future in batch if not future.done()]
            if not batch:
                continue
            values: list[bytes | None] = [None] * len(batch)
            try:
                async with asyncio.timeout(self._timeout_s):
                    values = await self._link.get_many([_name(key) for key, _ in batch])
                strikes = 0
                self._worked()
            except TimeoutError:
                strikes += 1
                if strikes >= _STRIKES or self._outage.is_on:
                    raise
            finally:
                for (_, future), value in zip(batch, values, strict=True):
                    _answer(future, value)

    async def _send_puts(self) -> None:
        while True:
            await self._offered.wait()
            count = min(len(self._puts), _PUTS_AT_ONCE)
            batch = [self._puts.popleft() for _ in range(count)]
            self._queued_bytes -= sum(len(record) for _, record, _ in batch)
            stored = 0
            try:
                async with asyncio.timeout(_PUT_LIMIT_S):
                    stored = await self._link.set_many(batch)
                self._worked()
            finally:
                self._stored += stored
                self._dropped += len(batch) - stored
            if not self._puts:
                self._offered.clear()
                self._all_sent.set()


def _name(key: bytes) -> bytes:
    return _NAME_PREFIX + key.hex().encode()


def _answer(future: asyncio.Future[bytes | None], value: bytes | None) -> None:
    if not future.done():
        future.set_result(value)
