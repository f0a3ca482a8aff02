"""One thread that owns every write to one LMDB environment.

LMDB binds a write transaction to its thread and a commit may wait for the disk, so writes
are jobs: callables that are given the transaction. What is queued when the thread gets to it
shares one transaction and one commit. A job is settled only after its commit.

Whoever waits for a job waits on a future of the event loop; whoever does not submits it and
goes on. All public methods of ``Writer`` are for the event loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from sutlerd.system.write_target import (
    STORAGE_ERRORS,
    Done,
    Job,
    Remedy,
    Target,
    WriterFull,
    WriterLimits,
    WriterStopped,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Item:
    job: Job[Any] | None
    call: Callable[[], Any] | None
    size_bytes: int
    done: Done | None


_Outcome = tuple[Done, Any, BaseException | None]


class Writer:
    """The queue, the thread, and the way back to the event loop."""

    def __init__(self, target: Target, *, name: str, limits: WriterLimits) -> None:
        self._target = target
        self._name = name
        self._limits = limits
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        # Each of these has one writing thread, so none needs a lock: what went in is counted
        # on the loop, what came out on the writer's thread.
        self._jobs_in = self._bytes_in = 0
        self._jobs_out = self._bytes_out = 0
        self._commits = 0
        self._unsettled: deque[_Item] = deque()
        self._hurry = threading.Event()
        self._stopping = False
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        # A daemon thread, because one that waits for a dead disk must not keep the process.
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def failure(self) -> BaseException | None:
        """What stopped the writer before it was asked to, if anything did."""
        return self._failure

    @property
    def queued_jobs(self) -> int:
        return self._jobs_in - self._jobs_out

    @property
    def commits(self) -> int:
        """Transactions committed so far."""
        return self._commits

    def submit(self, job: Job[Any], *, size_bytes: int = 0, done: Done | None = None) -> bool:
        """Queue a job that nobody waits for. ``False``: the queue is full, nothing happens."""
        limits = self._limits
        if (
            self._stopping
            or self._jobs_in - self._jobs_out >= limits.queue_jobs
            or self._bytes_in - self._bytes_out + size_bytes > limits.queue_bytes
        ):
            return False
        self._jobs_in += 1
        self._bytes_in += size_bytes
        self._queue.put(_Item(job, None, size_bytes, done))
        return True

    def write(self, job: Job[T], *, size_bytes: int = 0) -> asyncio.Future[T]:
        """Queue a job; the future has its result once it is committed.

        The future fails with the storage error, or with WriterStopped. A cancelled future
        does not take the job back. Raises WriterFull and WriterStopped at once.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if not self.submit(job, size_bytes=size_bytes, done=partial(_settle, future)):
            raise self._stopped() if self._stopping else WriterFull(f"{self._name}: queue is full")
        if not self._hurry.is_set():
            # Else whoever clears it looks into the queue after that, where the job is already.
            self._hurry.set()
        return future

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` on the writer's thread, after all that was queued before it.

        It runs between transactions, so it may begin its own, open and close. Storage errors
        and other exceptions of it go into the future. Not counted against the limits.
        """
        if self._stopping:
            raise self._stopped()
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs_in += 1
        self._queue.put(_Item(None, function, 0, partial(_settle, future)))
        self._hurry.set()
        return future

    async def flush(self) -> None:
        """Wait until everything queued so far is settled."""
        await self.call(_nothing)

    async def stop(self, timeout_s: float | None = None) -> bool:
        """Write what is queued, then end the thread. ``False``: it has not ended in time."""
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    def _stopped(self) -> WriterStopped:
        why = f": {self._failure}" if self._failure is not None else ""
        stopped = WriterStopped(f"{self._name} has stopped{why}")
        stopped.__cause__ = self._failure
        return stopped

    def _finish(self) -> None:
        """Fail what the thread has left. It has ended, so nothing can slip in behind this."""
        self._stopping = True
        left = list(self._unsettled)
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is not None:
                left.append(item)
        error = self._stopped()
        self._jobs_out, self._bytes_out = self._jobs_in, self._bytes_in
        for item in left:
            if item.done is not None:
                item.done(None, error)
        self._ended.set()

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        try:
            is_open = True
            while is_open and self._failure is None:
                is_open = self._collect()
                self._carry_out(tuple(self._unsettled))
        except BaseException as error:  # noqa: BLE001  a thread's last line: kept for all to see
            self._failure = error
        finally:
            self._tell_loop(self._finish)

    def _collect(self) -> bool:
        """Wait for a first job; take with it what else is there, up to one commit's worth.

        ``False``: the last one of all is among them.
        """
        item = self._queue.get()
        limits = self._limits
        if limits.linger_s and item is not None and not self._hurry.is_set():
            self._hurry.wait(limits.linger_s)
        self._hurry.clear()
        size_bytes = 0
        while item is not None:
            self._unsettled.append(item)
            size_bytes += item.size_bytes
            if len(self._unsettled) >= limits.commit_jobs or size_bytes >= limits.commit_bytes:
                self._hurry.set()  # more may be waiting, and some of it hurried
                return True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return True
        return False

    def _carry_out(self, batch: Sequence[_Item]) -> None:
        """Commit runs of jobs together, and make calls where they stand between them."""
        together: list[_Item] = []
        for item in batch:
            if item.job is not None:
                together.append(item)
            else:
                self._commit(together)
                together = []
                self._make_call(item)
        self._commit(together)

    def _commit(self, items: list[_Item], *, tries: int = 2) -> None:
        if not items:
            return
        if self._failure is not None:
            self._deliver(items, [None] * len(items), self._stopped())
            return
        try:
            with self._target.begin() as txn:
                results = [item.job(txn) for item in items if item.job is not None]
                self._target.seal(txn)
        except STORAGE_ERRORS as error:
            self._mend(items, error, tries)
            return
        self._commits += 1
        self._deliver(items, results, None)

    def _mend(self, items: list[_Item], error: Exception, tries: int) -> None:
        remedy = self._target.remedy(error)
        if remedy is Remedy.AGAIN and tries > 1:
            self._commit(items, tries=tries - 1)
        elif remedy is Remedy.AGAIN and len(items) > 1:
            for item in items:
                self._commit([item])
        else:
            if remedy is Remedy.STOP:
                self._failure = error
            self._deliver(items, [None] * len(items), error)

    def _make_call(self, item: _Item) -> None:
        assert item.call is not None
        result: Any = None
        failure: BaseException | None = None
        if self._failure is not None:
            failure = self._stopped()
        else:
            try:
                result = item.call()
            except Exception as error:  # noqa: BLE001  it is the awaiting caller's to handle
                failure = error
        self._deliver([item], [result], failure)

    def _deliver(
        self, items: Sequence[_Item], results: Sequence[Any], error: BaseException | None
    ) -> None:
        for item in items:
            self._unsettled.popleft()  # a batch is settled in its order
            self._jobs_out += 1
            self._bytes_out += item.size_bytes
        outcomes: list[_Outcome] = [
            (item.done, result, error)
            for item, result in zip(items, results, strict=True)
            if item.done is not None
        ]
        if outcomes:
            self._tell_loop(partial(_report, outcomes))

    def _tell_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return  # the loop has been closed: nobody is there to be told


def _nothing() -> None:
    return None


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # the one who waited has gone
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _report(outcomes: Sequence[_Outcome]) -> None:
    for done, result, error in outcomes:
        done(result, error)
