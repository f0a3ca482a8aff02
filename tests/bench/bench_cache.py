"""What a hit and a put cost, each beside its floor in the same run.

The floor of a get is a bare LMDB read transaction around one ``get`` of the same records. The
last rows time single gets, the timer's own cost included, while 1,000 answers a second are
being stored, beside the same while none is.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import orjson

from sutlerd.cache.contract import Store
from sutlerd.cache.fingerprint import fingerprint
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.cache.memory_store import MemoryStore
from sutlerd.system.clock import SystemClock
from tests.bench.parts import Row
from tests.support.cache_entries import MIB, key_of
from tests.support.event_list import EventList

ENTRIES = 4000
PAYLOAD_BYTES = 2048
ROUNDS = 7
LATENCY_FOR_S = 3.0
PUTS_PER_S = 1000


def run(folder: Path) -> list[Row]:
    return asyncio.run(_measure(folder))


async def _measure(folder: Path) -> list[Row]:
    keys = [key_of(number) for number in range(ENTRIES)]
    clock = SystemClock()
    store = LmdbStore(folder / "cache", max_bytes=256 * MIB, clock=clock, log=EventList())
    async with store:
        rows = await _lmdb_rows(store, keys)
        bare_env = store._life.opened
        assert bare_env is not None
        floor_us = _bare_get_us(bare_env.env, bare_env.index.entries, keys)
        get_us = _best_us(store.get, keys)
        rows.insert(0, _row("get of 2 KB, checksum and time checked", get_us, floor_us, "≤ 2 µs"))
        rows += await _latency_rows(store, keys)
    async with MemoryStore(max_bytes=256 * MIB, clock=clock) as memory:
        await _fill(memory, keys)
        rows.append(_row("memory store: get", _best_us(memory.get, keys)))
    return [*rows, _fingerprint_row(keys)]


async def _lmdb_rows(store: LmdbStore, keys: Sequence[bytes]) -> list[Row]:
    on_loop_us, all_us = await _fill(store, keys)
    missing = [key[::-1] for key in keys]
    return [
        _row("get of what is not there", _best_us(store.get, missing)),
        _row("put of 2 KB, on the event loop", on_loop_us),
        _row("put of 2 KB, until committed with its indexes", all_us),
    ]


def _bare_get_us(env: lmdb.Environment, entries: object, keys: Sequence[bytes]) -> float:
    def get(key: bytes) -> object:
        with env.begin(entries) as txn:  # type: ignore[call-overload]
            return txn.get(key)

    return _best_us(get, keys)


async def _fill(store: Store, keys: Sequence[bytes]) -> tuple[float, float]:
    """Give µs a put on the event loop, and µs a put until all is committed."""
    payload, on_loop_s, start_s = os.urandom(PAYLOAD_BYTES), 0.0, time.perf_counter()
    for begin in range(0, len(keys), 500):
        before_s = time.perf_counter()
        for key in keys[begin : begin + 500]:
            store.put(key, payload, scope="uid:1000", ttl_s=3600)
        on_loop_s += time.perf_counter() - before_s
        await store.flush()
    return on_loop_s / len(keys) * 1e6, (time.perf_counter() - start_s) / len(keys) * 1e6


async def _latency_rows(store: LmdbStore, keys: Sequence[bytes]) -> list[Row]:
    quiet, busy = await _latencies(store, keys, 0), await _latencies(store, keys, PUTS_PER_S)
    return [
        _row(
            f"one get while {PUTS_PER_S} a second are stored, {name} (floor: none stored)",
            busy[int(len(busy) * share)] * 1e6,
            quiet[int(len(quiet) * share)] * 1e6,
        )
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    ]


async def _latencies(store: LmdbStore, keys: Sequence[bytes], puts_per_s: int) -> list[float]:
    """Time single gets for a while; gives their seconds in order of size."""
    payload, number, start_s = os.urandom(PAYLOAD_BYTES), 0, time.perf_counter()
    taken: list[float] = []
    while (now_s := time.perf_counter()) < start_s + LATENCY_FOR_S:
        while number < (now_s - start_s) * puts_per_s:
            store.put(key_of(10**9 + number), payload, scope="uid:1000", ttl_s=3600)
            number += 1
        for key in keys[:200]:
            before_s = time.perf_counter()
            store.get(key)
            taken.append(time.perf_counter() - before_s)
        await asyncio.sleep(0)
    return sorted(taken)


def _fingerprint_row(keys: Sequence[bytes]) -> Row:
    body = {"messages": [{"role": "user", "content": "x" * 600}], "max_tokens": 4096}
    floor_us = _best_us(lambda _: orjson.dumps(body, option=orjson.OPT_SORT_KEYS), keys)
    asked = {"tenant": "uid:1000", "kind": "chat", "provider": "p", "model": "m"}
    us = _best_us(lambda _: fingerprint(**asked, body=body, sample=0), keys)
    return _row("fingerprint of 600 bytes (floor: sorted JSON)", us, floor_us)


def _best_us(function: Callable[[bytes], object], keys: Sequence[bytes]) -> float:
    """Give the microseconds of one call, in the best of some rounds over all keys."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        for key in keys:
            function(key)
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s / len(keys) * 1e6


def _row(what: str, us: float, floor_us: float | None = None, promised: str = "") -> Row:
    if floor_us is None:
        return Row(what=what, ours=f"{us:.2f} µs", promised=promised)
    return Row(
        what=what,
        ours=f"{us:.2f} µs",
        floor=f"{floor_us:.2f} µs",
        ratio=us / floor_us,
        promised=promised,
    )
