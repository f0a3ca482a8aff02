"""A cache that cannot be read or written leaves calls without it, and never without an answer."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from sutlerd.cache.contract import StoreUnavailable
from sutlerd.cache.lmdb_store import UPKEEP_S, LmdbStore
from tests.support.cache_entries import MIB, found, key_of, open_store, payload_of, put
from tests.support.event_list import EventList
from tests.support.faulty_environment import Faults
from tests.support.virtual_clock import VirtualClock

ERRORS = [
    lmdb.Error("mdb_txn_commit", errno.EIO),
    lmdb.DiskError("mdb_txn_commit", errno.ENOSPC),
    lmdb.ReadonlyError("mdb_txn_begin", errno.EACCES),
    lmdb.PanicError("mdb_txn_begin"),
    OSError(errno.EROFS, "read-only file system"),
]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log() -> EventList:
    return EventList()


async def settle(store: LmdbStore) -> None:
    """Let what the writer's thread has to say reach the loop."""
    await store.flush()
    await asyncio.sleep(0)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("where", ["beginning", "committing"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_hit_is_served_while_the_store_cannot_be_written(
    tmp_path: Path, clock: VirtualClock, log: EventList, where: str, error: Exception
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        setattr(faults, where, error)
        for number in range(2, 20):
            put(store, number)
            await settle(store)
        assert found(store, range(20)) == [1]
        assert store.stats(None)["dropped_writes"] == 18
        assert store.stats(None)["entries"] == 1
        assert log.names() == ["cache_out_of_order"]
        clock.advance(4.9)
        await store.tend()
        assert store.stats(None)["open"] == 0
        clock.advance(0.1)
        await store.tend()  # opened again, and broken still
        put(store, 30)
        await settle(store)
        assert log.names() == ["cache_out_of_order"]
        setattr(faults, where, None)
        clock.advance(60)
        await store.tend()
        put(store, 40)
        await settle(store)
        assert found(store, range(50)) == [1, 40]
        assert log.names() == ["cache_out_of_order", "cache_works_again"]


@pytest.mark.fault("S3")
async def test_a_store_that_cannot_be_read_gives_misses_and_is_tried_again(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        faults.reading = lmdb.Error("mdb_get", errno.EIO)
        assert found(store, range(3)) == []
        put(store, 2)
        assert found(store, range(3)) == []
        assert len(log.named("cache_out_of_order")) == 1
        with pytest.raises(StoreUnavailable):
            await store.clear("uid:1")
        faults.reading = None
        assert found(store, range(3)) == []  # it is left alone
        clock.advance(5)
        await store.tend()
        assert found(store, range(3)) == [1]


@pytest.mark.fault("S3")
async def test_a_place_that_cannot_be_opened_at_start_is_tried_again(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()
    faults.opening = OSError(errno.EROFS, "read-only file system")
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        for _ in range(4):
            put(store, 1)
            assert found(store, range(3)) == []
            clock.advance(60)
            await store.tend()
        assert store.stats(None)["entries"] == 0
        assert log.names() == ["cache_out_of_order"]
        faults.opening = None
        clock.advance(60)
        await store.tend()
        put(store, 1)
        await settle(store)
        assert found(store, range(3)) == [1]
        assert log.names() == ["cache_out_of_order", "cache_works_again"]


@pytest.mark.fault("S7")
@pytest.mark.parametrize("where", ["reading", "beginning", "committing"])
async def test_damage_that_shows_only_in_use_has_the_cache_made_anew_at_once(
    tmp_path: Path, clock: VirtualClock, log: EventList, where: str
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        setattr(faults, where, lmdb.CorruptedError("mdb_get"))
        put(store, 2)
        found(store, range(1, 2))
        await settle(store)
        setattr(faults, where, None)
        await store.tend()
        put(store, 3)
        await settle(store)
        assert found(store, range(5)) == [3]
        assert log.names() == ["cache_made_anew", "cache_works_again"]
        assert (tmp_path / "data.mdb.unusable").exists()


@pytest.mark.fault("S1")
async def test_a_map_too_full_even_to_evict_is_made_anew(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        faults.committing = lmdb.MapFullError("mdb_txn_commit")
        put(store, 2)
        await settle(store)
        faults.committing = None
        await store.tend()
        put(store, 3)
        await settle(store)
        assert found(store, range(5)) == [3]
        assert "too full" in str(log.named("cache_made_anew")[0]["reason"])


@pytest.mark.fault("S1")
@pytest.mark.fault("S3")
async def test_a_full_map_on_a_disk_that_fails_is_left_alone(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()

    def full_and_then_failing(txn: object) -> None:
        faults.beginning = lmdb.Error("mdb_txn_begin", errno.EIO)
        raise lmdb.MapFullError("mdb_put")

    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        store._writer.submit(full_and_then_failing)
        await settle(store)
        assert found(store, range(3)) == [1]
        assert log.names() == ["cache_out_of_order"]


@pytest.mark.fault("S3")
async def test_a_disk_that_hangs_holds_up_neither_hits_nor_puts_nor_the_end(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        put(store, 1)
        await store.flush()
        faults.gate.clear()
        for number in range(2, 9000):
            put(store, number, size_bytes=100)
        # What waits to be written can be read; what found the queue full has been dropped.
        hits = found(store, range(9000))
        assert hits[:100] == list(range(1, 101))
        assert len(hits) + store.stats(None)["dropped_writes"] == 8999
        faults.gate.set()
        await store.flush()
        assert found(store, range(9000)) == hits


async def test_what_is_put_while_the_file_is_still_checked_is_found_and_kept(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    async with open_store(tmp_path, clock=clock, log=log) as store:
        put(store, 1)
    faults = Faults()
    faults.gate.clear()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        assert log.names() == ["cache_check_goes_on"]
        put(store, 2)
        assert found(store, range(4)) == [2]
        faults.gate.set()
        await store.flush()
        assert found(store, range(4)) == [1, 2]
    async with open_store(tmp_path, clock=clock, log=log) as store:
        assert found(store, range(4)) == [1, 2]


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir(mode=0o700)


def remove_data(folder: Path) -> None:
    (folder / "data.mdb").unlink()


def remove_lock(folder: Path) -> None:
    (folder / "lock.mdb").unlink()


def replace_data(folder: Path) -> None:
    (folder / "other").write_bytes(b"something else")
    (folder / "other").replace(folder / "data.mdb")


@pytest.mark.fault("S16")
@pytest.mark.fault("S3")
@pytest.mark.parametrize(
    "harm", [remove_folder, replace_folder, remove_data, remove_lock, replace_data]
)
async def test_a_place_that_was_removed_or_replaced_is_noticed_and_made_anew(
    tmp_path: Path, clock: VirtualClock, log: EventList, harm: Callable[[Path], None]
) -> None:
    folder = tmp_path / "cache"
    async with open_store(folder, clock=clock, log=log) as store:
        put(store, 1)
        await store.flush()
        assert await store.check_place()
        harm(folder)
        assert found(store, range(3)) == [1]  # the open files are still there
        assert not await store.check_place()
        assert log.names()[0] == "cache_place_replaced"
        assert await store.check_place()
        put(store, 2)
        await settle(store)
        assert 2 in found(store, range(3))
    async with open_store(folder, clock=clock, log=log) as store:
        assert 2 in found(store, range(3))


@pytest.mark.fault("S16")
async def test_the_store_looks_at_its_place_by_itself_often_enough(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    assert UPKEEP_S <= 5
    folder = tmp_path / "cache"
    store = LmdbStore(folder, max_bytes=MIB, clock=clock, log=log, upkeep_s=0.01)
    async with store:
        shutil.rmtree(folder)
        async with asyncio.timeout(30):
            while not (folder / "data.mdb").exists():  # noqa: ASYNC110  nobody tells of files
                await asyncio.sleep(0.01)


@pytest.mark.fault("S16")
async def test_a_place_that_another_took_meanwhile_is_not_used(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    folder = tmp_path / "cache"
    async with open_store(folder, clock=clock, log=log) as store:
        put(store, 1)
        await store.flush()
        shutil.rmtree(folder)
        folder.mkdir()
        os.chmod(folder, 0o777)  # anybody may put files here now
        assert not await store.check_place()
        put(store, 2)
        assert found(store, range(3)) == []
        assert os.listdir(folder) == []
        assert log.names() == ["cache_place_replaced", "cache_out_of_order"]


@pytest.mark.fault("S3")
async def test_a_fault_in_the_writer_itself_leaves_the_cache_off_and_is_said(
    tmp_path: Path, clock: VirtualClock, log: EventList
) -> None:
    faults = Faults()
    async with open_store(tmp_path, clock=clock, log=log, opener=faults.open) as store:
        faults.committing = ZeroDivisionError("a mistake of ours")
        put(store, 1)
        await store.flush()
        await store.tend()
        assert "a mistake of ours" in str(log.named("cache_out_of_order")[0]["reason"])
        put(store, 2)
        assert store.get(key_of(2)) is None
        assert payload_of(2)
        with pytest.raises(StoreUnavailable):
            await store.clear(None)
