"""A ledger's store that commits at once, on the caller's own thread: for virtual time.

The file, the entries in it and what is done to them are the real ones; only the thread and
the fsync are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from sutlerd.ledger.place import Opened, close_ledger, open_ledger
from sutlerd.ledger.store import LedgerStore, Standing, _Target
from sutlerd.system.write_target import Done, Job, Txn
from tests.support.event_list import EventList

T = TypeVar("T")


class InlineStore(LedgerStore):
    """``standing`` is what a test says. ``crash`` leaves the file as it is, for another one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, log=EventList())
        self._open: Opened | None = None
        self._stands = Standing.OPEN
        self._commits = 0

    async def __aenter__(self) -> Self:
        self._opened = self._open = open_ledger(self.folder)
        self._target = _Target(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.crash()

    def crash(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            close_ledger(opened, leave_trusted=True)

    @property
    def standing(self) -> Standing:
        return self._stands

    @property
    def why_failed(self) -> str:
        return ""

    @property
    def is_busy(self) -> bool:
        return False

    @property
    def commits(self) -> int:
        return self._commits

    def write(self, job: Job[T], *, size_bytes: int = 512) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(self._run(job))
        return future

    def submit(self, job: Job[Any], *, size_bytes: int = 512, done: Done | None = None) -> bool:
        self._run(job)
        return True

    def read(self, function: Callable[[Txn], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(self._run(function))
        return future

    async def flush(self) -> None:
        pass

    async def tend(self) -> None:
        pass

    def _run(self, job: Job[T]) -> T:
        assert self._open is not None, "the process is dead"
        with self._target.begin() as txn:
            result = job(txn)
            self._target.seal(txn)
        self._commits += 1
        return result
