"""What both local stores promise, on disk and in memory."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sutlerd.cache.contract import MAX_KEY_BYTES, Store
from sutlerd.cache.lmdb_store import LmdbStore
from sutlerd.cache.memory_store import MemoryStore
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

pytestmark = pytest.mark.loop("asyncio", "uvloop")

MIB = 1 << 20
HOUR_S = 3600.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture(params=["lmdb", "memory"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock
) -> AsyncIterator[Store]:
    opened: Store
    if request.param == "memory":
        opened = MemoryStore(max_bytes=MIB, clock=clock)
    else:
        opened = LmdbStore(tmp_path / "cache", max_bytes=MIB, clock=clock, log=EventList())
    async with opened:
        yield opened


def put(store: Store, key: bytes, payload: bytes = b"payload", *, scope: str = "uid:1") -> None:
    store.put(key, payload, scope=scope, ttl_s=HOUR_S)


async def test_what_was_put_is_found_at_once_and_after_it_was_written(store: Store) -> None:
    put(store, b"key", b"answer")
    assert store.get(b"key") == b"answer"
    await store.flush()
    assert store.get(b"key") == b"answer"
    assert store.get(b"other") is None
    stats = store.stats(None)
    assert (stats["entries"], stats["hits"], stats["misses"]) == (1, 2, 1)


async def test_an_empty_payload_is_a_payload(store: Store) -> None:
    put(store, b"key", b"")
    await store.flush()
    assert store.get(b"key") == b""


async def test_the_newest_payload_counts(store: Store) -> None:
    for number in range(20):
        put(store, b"key", b"%d" % number, scope=f"uid:{number % 2}")
        assert store.get(b"key") == b"%d" % number
    await store.flush()
    assert store.get(b"key") == b"19"
    assert store.stats(None)["entries"] == 1
    assert store.stats("uid:0")["entries"] == 0
    assert store.stats("uid:1")["entries"] == 1


@pytest.mark.fault("T7")
async def test_an_entry_is_found_until_its_time_is_up(store: Store, clock: VirtualClock) -> None:
    store.put(b"key", b"x", scope="uid:1", ttl_s=100)
    await store.flush()
    clock.advance(99)
    assert store.get(b"key") == b"x"
    clock.advance(1)
    assert store.get(b"key") is None
    clock.advance(HOUR_S)
    assert store.get(b"key") is None


@pytest.mark.fault("T7")
async def test_an_entry_from_over_five_minutes_ahead_is_a_miss(
    store: Store, clock: VirtualClock
) -> None:
    put(store, b"key")
    await store.flush()
    clock.jump_unix(-299)
    assert store.get(b"key") is not None
    clock.jump_unix(-2)
    assert store.get(b"key") is None
    clock.jump_unix(301)
    assert store.get(b"key") is not None


@pytest.mark.fault("T7")
@pytest.mark.parametrize("ttl_s", [0, -1, -math.inf, math.nan])
async def test_no_time_to_live_stores_nothing(store: Store, ttl_s: float) -> None:
    store.put(b"key", b"x", scope="uid:1", ttl_s=ttl_s)
    assert store.get(b"key") is None
    await store.flush()
    assert store.stats(None)["entries"] == 0


@pytest.mark.fault("T7")
@pytest.mark.parametrize("ttl_s", [1e12, 1e308, math.inf])
async def test_a_huge_time_to_live_is_long_and_harmless(
    store: Store, clock: VirtualClock, ttl_s: float
) -> None:
    store.put(b"key", b"x", scope="uid:1", ttl_s=ttl_s)
    await store.flush()
    clock.advance(10 * 365 * 86_400)
    assert store.get(b"key") == b"x"


async def test_each_scope_is_counted_and_cleared_by_itself(store: Store) -> None:
    for number in range(300):
        put(store, b"%d" % number, scope=("uid:1", "uid:2", "idem:1")[number % 3])
    assert await store.clear("uid:1") == 100
    assert store.stats("uid:1") == {"entries": 0, "size_bytes": 0, "limit_bytes": MIB}
    assert store.stats("uid:2")["entries"] == 100
    assert store.get(b"0") is None
    assert store.get(b"1") == b"payload"
    assert await store.clear("nobody") == 0
    assert store.stats(None)["size_bytes"] == sum(
        store.stats(scope)["size_bytes"] for scope in ("uid:2", "idem:1")
    )


async def test_clearing_everything_keeps_the_memory_of_request_ids(store: Store) -> None:
    for scope in ("uid:1", "gid:2", "node", "idem:1"):
        put(store, scope.encode(), scope=scope)
    assert await store.clear(None) == 3
    assert store.get(b"idem:1") == b"payload"
    assert store.get(b"node") is None
    assert await store.clear("idem:1") == 1


async def test_the_bound_holds_and_what_is_asked_for_stays(store: Store) -> None:
    put(store, b"asked for", b"x" * 900)
    for number in range(3000):
        put(store, b"%d" % number, b"x" * 900)
        if number % 50 == 0:
            assert store.get(b"asked for") is not None
            await store.flush()
    await store.flush()
    stats = store.stats(None)
    assert stats["size_bytes"] <= stats["limit_bytes"] == MIB
    assert stats["evictions"] == 3001 - stats["entries"]
    assert store.get(b"asked for") is not None
    assert store.get(b"2999") is not None
    assert store.get(b"0") is None


@pytest.mark.parametrize(
    ("key", "scope", "size_bytes"),
    [
        (b"", "uid:1", 1),
        (b"k" * (MAX_KEY_BYTES + 1), "uid:1", 1),
        (b"key", "uid:1", MIB),
        (b"key", "s" * 256, 1),
        (b"key", "\ud800", 1),
    ],
)
async def test_what_cannot_be_stored_is_dropped_and_counted(
    store: Store, key: bytes, scope: str, size_bytes: int
) -> None:
    store.put(key, b"x" * size_bytes, scope=scope, ttl_s=HOUR_S)
    await store.flush()
    assert store.get(key) is None
    assert store.stats(None)["entries"] == 0
    assert store.stats(None)["dropped_writes"] == 1
    assert store.stats(None)["errors"] == 0


async def test_expired_entries_are_swept_without_being_asked_for(
    store: Store, clock: VirtualClock
) -> None:
    for number in range(200):
        store.put(b"%d" % number, b"x", scope=f"uid:{number % 3}", ttl_s=10 + number % 2)
    await store.flush()
    clock.advance(10)
    if isinstance(store, LmdbStore):
        assert await store.sweep() == 100
    else:
        for _ in range(20):
            put(store, b"another")
        await store.clear("uid:1")  # where "another" is
    assert store.stats(None)["expired"] == 100
    assert store.get(b"1" if isinstance(store, LmdbStore) else b"3") == b"x"


async def test_memory_does_not_grow_by_overwriting(clock: VirtualClock) -> None:
    store = MemoryStore(max_bytes=MIB, clock=clock)
    for _ in range(5000):
        put(store, b"key")
    assert len(store._terms) < 200


async def pages(store: Store, prefix: bytes, *, limit: int, limit_bytes: int) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    after: bytes | None = prefix
    while after is not None:
        page = await store.page(prefix, after, limit=limit, limit_bytes=limit_bytes)
        found.append([entry.key for entry in page.entries])
        after = page.next_after
    return found


async def test_pages_give_each_live_entry_below_a_prefix_once_and_in_order(
    store: Store, clock: VirtualClock
) -> None:
    keys = [b"b%02d" % number for number in range(25)]
    for key in (*reversed(keys), b"a", b"c", b"b"):
        put(store, key, b"12345")
    for key in keys[3:9]:
        store.put(key, b"soon", scope="uid:1", ttl_s=10)
    clock.advance(11)
    live = [*keys[:3], *keys[9:]]
    for limit, limit_bytes in ((1, MIB), (4, MIB), (100, MIB), (100, 1), (100, 12)):
        found = await pages(store, b"b", limit=limit, limit_bytes=limit_bytes)
        assert [key for page in found for key in page] == live
        if limit_bytes == 12:
            assert [len(page) for page in found[:-2]] == [3] * (len(found) - 2)
    assert await pages(store, b"nothing", limit=5, limit_bytes=5) == [[]]


async def test_a_page_holds_what_was_put_just_before(store: Store) -> None:
    put(store, b"k1", b"payload")
    page = await store.page(b"k", b"", limit=5, limit_bytes=MIB)
    (entry,) = page.entries
    assert (entry.key, entry.payload, entry.scope) == (b"k1", b"payload", "uid:1")
    assert entry.expires_unix_s - entry.stored_unix_s == HOUR_S


async def test_looking_whether_a_key_is_held_counts_as_no_use(
    store: Store, clock: VirtualClock
) -> None:
    put(store, b"key")
    assert store.holds(b"key")
    await store.flush()
    assert store.holds(b"key")
    assert not store.holds(b"other")
    stats = store.stats(None)
    assert (stats["hits"], stats["misses"]) == (0, 0)
    clock.advance(HOUR_S)
    assert not store.holds(b"key")
