"""The ledger's file and its one writer: every commit is on the disk when it is told of.

A job is a callable that is given the transaction; many share one commit and one fsync.
``write`` is for who waits for the commit, ``submit`` for who does not. All reading is done on
the writer's thread, too, so nobody reads while the map grows. Jobs may be run again after a
transaction that failed, so they change nothing but the transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import lmdb

from sutlerd.domain.ports import EventLog
from sutlerd.ledger.book import Account
from sutlerd.ledger.place import (
    BALANCES,
    Opened,
    Opener,
    close_ledger,
    drop_ballast,
    grow,
    is_full,
    is_in_place,
    open_ledger,
    take_ballast,
)
from sutlerd.ledger.records import account_key, decode_balance, encode_balance
from sutlerd.system.lmdb_sound import DATA
from sutlerd.system.write_target import Done, Job, Remedy, Txn, WriterLimits
from sutlerd.system.writer import Writer

if TYPE_CHECKING:
    from lmdb import _Database

T = TypeVar("T")

LIMITS: Final = WriterLimits(
    queue_jobs=200_000,
    queue_bytes=256 * 1024 * 1024,
    commit_jobs=1024,
    commit_bytes=8 * 1024 * 1024,
    linger_s=0.02,
)
#: More writes than this waiting means a disk that does not follow: nothing new is begun.
BUSY_JOBS: Final = 8192
_STOP_LIMIT_S: Final = 10.0


class Standing(Enum):
    """What the ledger's disk lets us do."""

    OPEN = "open"
    #: The disk is full: what is open can end, nothing new is begun until there is room.
    FULL = "full"
    #: A write or its fsync failed, or the file is gone: nothing more until a restart.
    FAILED = "failed"


class NoRoom(OSError):
    """Raised by a job that must not be written to a disk that is full."""


class LedgerStore:
    """One per daemon. Entering opens the file and may raise ``CannotStart``."""

    def __init__(self, folder: Path, *, log: EventLog, opener: Opener = open_ledger) -> None:
        self.folder = folder
        self._log = log
        self._opener = opener
        self._opened: Opened | None = None
        self._target: _Target
        self._writer: Writer
        self._lost: str | None = None

    async def __aenter__(self) -> Self:
        opened = self._opened = self._opener(self.folder)
        self._target = _Target(opened)
        self._target.is_full = not take_ballast(self.folder)
        self._writer = Writer(self._target, name="ledger", limits=LIMITS)
        await self._writer.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        ended = await self._writer.stop(_STOP_LIMIT_S)
        opened = self._opened
        # A thread that still waits for its disk uses the environment: it goes with the process.
        if ended and opened is not None:
            close_ledger(opened, leave_trusted=self.standing is not Standing.FAILED)

    @property
    def standing(self) -> Standing:
        if self._lost is not None or self._writer.failure is not None:
            return Standing.FAILED
        return Standing.FULL if self._target.is_full else Standing.OPEN

    @property
    def is_as_left(self) -> bool:
        """Whether a clean stop has left the file just as it was opened."""
        assert self._opened is not None, "the ledger is open"
        return self._opened.is_as_left

    @property
    def why_failed(self) -> str:
        return self._lost or str(self._writer.failure or "")

    @property
    def is_busy(self) -> bool:
        return self._writer.queued_jobs >= BUSY_JOBS

    @property
    def commits(self) -> int:
        return self._writer.commits

    def size_bytes(self) -> int:
        """Give how long the file is; 0 for one that is gone."""
        try:
            return os.stat(self.folder / DATA).st_size
        except OSError:
            return 0

    def database(self, name: bytes) -> _Database:
        """Give a named database's handle, for jobs and reads."""
        assert self._opened is not None, "the ledger is open"
        return self._opened.databases[name]

    def write(self, job: Job[T], *, size_bytes: int = 512) -> asyncio.Future[T]:
        """Queue a job; the future has its result once it is on the disk.

        Raises ``WriterFull`` and ``WriterStopped`` at once; the future may fail with those of
        ``STORAGE_ERRORS`` and with ``WriterStopped``.
        """
        return self._writer.write(job, size_bytes=size_bytes)

    def submit(self, job: Job[Any], *, size_bytes: int = 512, done: Done | None = None) -> bool:
        """Queue a job that nobody waits for. ``False``: it will never be run."""
        return self._writer.submit(job, size_bytes=size_bytes, done=done)

    def book(self, accounts: Iterable[Account], by_nanousd: int) -> None:
        """Within a job: add to these accounts' balances, which are written once a commit."""
        booked = self._target.booked
        for account in accounts:
            booked[account] = booked.get(account, 0) + by_nanousd

    def write_balances(self, txn: Txn) -> None:
        """Within a job: write now what was booked in this commit so far."""
        self._target.seal(txn)

    def read(self, function: Callable[[Txn], T]) -> asyncio.Future[T]:
        """Read in one transaction, after all that was queued before it."""
        return self._writer.call(partial(self._target.read, function))

    async def flush(self) -> None:
        """Wait until everything queued so far is on the disk, or has failed."""
        await self._writer.flush()

    async def tend(self) -> None:
        """Look whether the disk has room again, and whether the file is still in its place.

        To be called every second or so; what it finds is seen in ``standing``.
        """
        assert self._opened is not None, "the ledger is open"
        if self.standing is Standing.FULL:
            with contextlib.suppress(OSError, lmdb.Error):
                await self._writer.call(self._target.take_room)
        if self._lost is None and not is_in_place(self._opened):
            self._lost = f"{self.folder} was removed or replaced while in use"


class _Target:
    """The writer's side. All of it runs on the writer's thread."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self.is_full = False
        #: What the jobs of the transaction that is open have added to balances.
        self.booked: dict[Account, int] = {}

    def begin(self) -> Txn:
        self.booked.clear()
        return self._opened.env.begin(write=True)

    def seal(self, txn: Txn) -> None:
        database = self._opened.databases[BALANCES]
        for account, by_nanousd in self.booked.items():
            key = account_key(account)
            stored = txn.get(key, db=database)
            settled = decode_balance(key, stored)[1] if stored is not None else 0
            txn.put(key, encode_balance(key, account, settled + by_nanousd), db=database)
        self.booked.clear()

    def read(self, function: Callable[[Txn], T]) -> T:
        with self._opened.env.begin() as txn:
            return function(txn)

    def take_room(self) -> None:
        self.is_full = not take_ballast(self._opened.folder)

    def remedy(self, error: Exception) -> Remedy:
        if isinstance(error, NoRoom):
            return Remedy.AGAIN  # each by itself: ends still go through
        if isinstance(error, lmdb.MapFullError):
            return Remedy.AGAIN if grow(self._opened) else Remedy.FAIL
        if is_full(self._opened.folder, error):
            self.is_full = True
            return Remedy.AGAIN if drop_ballast(self._opened.folder) else Remedy.FAIL
        # An fsync that failed has lost what it should have kept, and says so only once.
        return Remedy.STOP


def may_begin(store: LedgerStore) -> None:
    """Refuse, within a job, to begin anything new on a disk without room. Raises ``NoRoom``."""
    if store.standing is not Standing.OPEN:
        raise NoRoom("there is no room for anything new")
