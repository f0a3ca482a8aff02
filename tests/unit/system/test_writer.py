"""The writer thread: what is grouped, when it is settled, and what a failure does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from sutlerd.system.write_target import Job, Remedy, Txn, WriterFull, WriterLimits, WriterStopped
from sutlerd.system.writer import Writer

LIMITS = WriterLimits(queue_jobs=100, queue_bytes=1000, commit_jobs=64, commit_bytes=10_000)


class Shelf:
    """A target on a real environment, which fails when it is told to."""

    def __init__(self, env: lmdb.Environment) -> None:
        self.env = env
        self.remedies: list[Remedy] = []
        self.seals = 0
        self.asked: list[Exception] = []

    def begin(self) -> Txn:
        return self.env.begin(write=True)

    def seal(self, txn: Txn) -> None:
        self.seals += 1

    def remedy(self, error: Exception) -> Remedy:
        self.asked.append(error)
        return self.remedies.pop(0)

    def committed(self) -> dict[bytes, bytes]:
        with self.env.begin() as txn:
            return dict(txn.cursor())


class Gate:
    """A job that holds the writer's thread until it is opened, so that others queue up."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, txn: Txn) -> None:
        self.reached.set()
        assert self.opened.wait(30)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with lmdb.open(str(tmp_path), sync=False) as env:
        yield Shelf(env)


def put(key: bytes, value: bytes = b"1") -> Job[bool]:
    return lambda txn: txn.put(key, value)


def fail_if_together(shelf: Shelf, key: bytes) -> Job[None]:
    """Put, and fail unless this job has the transaction for itself."""

    def job(txn: Txn) -> None:
        others = txn.stat()["entries"] - len(shelf.committed())
        txn.put(key, b"1")
        if others:
            raise OSError("too much at once")

    return job


def raise_map_full(txn: Txn) -> None:
    txn.put(b"partly", b"written")
    raise lmdb.MapFullError("mdb_put")


async def held(writer: Writer) -> Gate:
    gate = Gate()
    writer.submit(gate)
    await asyncio.to_thread(gate.reached.wait, 30)
    return gate


async def test_a_job_is_settled_after_its_commit_with_its_result(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        assert await writer.write(put(b"a")) is True
        assert shelf.committed() == {b"a": b"1"}


async def test_what_is_queued_meanwhile_shares_one_commit(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        futures = [writer.write(put(b"%d" % number)) for number in range(50)]
        before = writer.commits
        gate.opened.set()
        await asyncio.gather(*futures)
        assert writer.commits == before + 2  # the gate's own, and one for all fifty
        assert shelf.seals == 2
        assert len(shelf.committed()) == 50


async def test_a_commit_takes_no_more_than_its_limits(shelf: Shelf) -> None:
    limits = WriterLimits(queue_jobs=100, queue_bytes=1000, commit_jobs=4, commit_bytes=30)
    async with Writer(shelf, name="w", limits=limits) as writer:
        gate = await held(writer)
        futures = [writer.write(put(b"%d" % number)) for number in range(8)]
        futures += [writer.write(put(b"big%d" % number), size_bytes=30) for number in range(2)]
        gate.opened.set()
        await asyncio.gather(*futures)
        assert writer.commits == 1 + 2 + 2


async def test_the_queue_is_bounded_in_jobs_and_in_bytes(shelf: Shelf) -> None:
    limits = WriterLimits(queue_jobs=4, queue_bytes=100, commit_jobs=64, commit_bytes=10_000)
    async with Writer(shelf, name="w", limits=limits) as writer:
        gate = await held(writer)
        assert writer.submit(put(b"a"), size_bytes=60)
        assert not writer.submit(put(b"b"), size_bytes=60)
        assert writer.submit(put(b"c"))
        assert writer.submit(put(b"d"))
        assert not writer.submit(put(b"e"))
        with pytest.raises(WriterFull):
            writer.write(put(b"e"))
        assert writer.queued_jobs == 4
        gate.opened.set()
        await writer.flush()
        assert writer.queued_jobs == 0
        assert writer.submit(put(b"b"), size_bytes=60)
    assert set(shelf.committed()) == {b"a", b"b", b"c", b"d"}


async def test_a_call_runs_between_commits_in_its_turn(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        writer.submit(put(b"before"))
        seen = writer.call(shelf.committed)
        writer.submit(put(b"after"))
        gate.opened.set()
        assert set(await seen) == {b"before"}
        with pytest.raises(ZeroDivisionError):
            await writer.call(lambda: 1 // 0)
        await writer.write(put(b"still"))
    assert set(shelf.committed()) == {b"before", b"after", b"still"}


async def test_stopping_writes_what_is_queued_and_takes_nothing_more(shelf: Shelf) -> None:
    writer = Writer(shelf, name="w", limits=LIMITS)
    async with writer:
        gate = await held(writer)
        futures = [writer.write(put(b"%d" % number)) for number in range(10)]
        gate.opened.set()
        assert await writer.stop(30)
        assert all(future.done() for future in futures)
        assert not writer.submit(put(b"late"))
        with pytest.raises(WriterStopped):
            writer.write(put(b"late"))
        with pytest.raises(WriterStopped):
            writer.call(shelf.committed)
    assert len(shelf.committed()) == 10


async def test_a_stop_waits_no_longer_than_it_is_told(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        assert not await writer.stop(0.01)
        gate.opened.set()
        assert await writer.stop(30)


async def test_one_who_stopped_waiting_does_not_stop_the_job(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        gone, stays = writer.write(put(b"gone")), writer.write(put(b"stays"))
        gone.cancel()
        gate.opened.set()
        await stays
    assert set(shelf.committed()) == {b"gone", b"stays"}


async def test_jobs_of_a_mended_failure_are_tried_together_and_then_alone(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        shelf.remedies = [Remedy.AGAIN, Remedy.AGAIN]
        futures = [writer.write(fail_if_together(shelf, key)) for key in (b"a", b"b")]
        gate.opened.set()
        await asyncio.gather(*futures)
        assert set(shelf.committed()) == {b"a", b"b"}
        assert [str(error) for error in shelf.asked] == ["too much at once"] * 2


async def test_a_job_that_fails_by_itself_fails_alone_and_leaves_nothing(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        shelf.remedies = [Remedy.AGAIN] * 4
        good, bad = writer.write(put(b"good")), writer.write(raise_map_full)
        gate.opened.set()
        assert await good
        with pytest.raises(lmdb.MapFullError):
            await bad
        assert await writer.write(put(b"next"))
        assert set(shelf.committed()) == {b"good", b"next"}
        assert shelf.remedies == []


async def test_failed_jobs_are_given_up_and_later_ones_are_tried(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        shelf.remedies = [Remedy.FAIL]
        with pytest.raises(lmdb.MapFullError):
            await writer.write(raise_map_full)
        assert await writer.write(put(b"next"))
        assert set(shelf.committed()) == {b"next"}


async def test_a_writer_told_to_stop_never_writes_again(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        shelf.remedies = [Remedy.STOP]
        failing = writer.write(raise_map_full)
        behind = writer.call(shelf.committed)
        gate.opened.set()
        with pytest.raises(lmdb.MapFullError):
            await failing
        with pytest.raises(WriterStopped):
            await behind
        await writer.stop()
        assert isinstance(writer.failure, lmdb.MapFullError)
        with pytest.raises(WriterStopped, match="mdb_put") as stopped:
            writer.write(put(b"late"))
        assert stopped.value.__cause__ is writer.failure
        assert shelf.committed() == {}


async def test_a_fault_in_a_job_stops_the_writer_and_leaves_nobody_waiting(shelf: Shelf) -> None:
    async with Writer(shelf, name="w", limits=LIMITS) as writer:
        gate = await held(writer)
        futures = [
            writer.write(put(b"a")),
            writer.write(lambda txn: {}["missing"]),
            writer.write(put(b"c")),
        ]
        called = writer.call(shelf.committed)
        gate.opened.set()
        outcomes = await asyncio.gather(*futures, called, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [WriterStopped] * 4
        assert isinstance(writer.failure, KeyError)
        assert shelf.committed() == {}


async def test_an_unhurried_job_waits_for_company_and_a_hurried_one_brings_it_along(
    shelf: Shelf,
) -> None:
    limits = WriterLimits(
        queue_jobs=100, queue_bytes=1000, commit_jobs=64, commit_bytes=10_000, linger_s=600.0
    )
    async with Writer(shelf, name="w", limits=limits) as writer:
        for number in range(5):
            writer.submit(put(b"%d" % number))
        assert await writer.write(put(b"hurried"))
        assert writer.commits == 1
        assert len(shelf.committed()) == 6


def test_a_loop_that_is_gone_does_not_trouble_the_thread(shelf: Shelf) -> None:
    gate = Gate()
    thread = asyncio.run(_leave_behind(shelf, gate))
    gate.opened.set()
    thread.join(30)
    assert not thread.is_alive()


async def _leave_behind(shelf: Shelf, gate: Gate) -> threading.Thread:
    writer = Writer(shelf, name="left-behind", limits=LIMITS)
    await writer.__aenter__()
    writer.submit(gate)
    await asyncio.to_thread(gate.reached.wait, 30)
    writer.submit(put(b"a"), done=lambda result, error: None)
    await writer.stop(0)
    return next(each for each in threading.enumerate() if each.name == "left-behind")
