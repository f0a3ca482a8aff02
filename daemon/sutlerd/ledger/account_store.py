"""The accounts on the ledger's file: what is added to them, read of them, and dropped.

All that is written is added to what is there, never put in its place: what an attempt cost is
committed together with its end, everything else a little later, and both come to the same sum.
Reading is done a piece at a time, so that no reservation waits for somebody's long list.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson

from sutlerd.ledger.accounts import stored_key
from sutlerd.ledger.alerts import Alert, decode_alert, encode_alert
from sutlerd.ledger.place import ACCOUNT, refused_as_damaged
from sutlerd.ledger.records import Damaged, seal, unseal
from sutlerd.ledger.rows import UsageRow
from sutlerd.ledger.store import LedgerStore
from sutlerd.ledger.sums import AccountKey, Entry, Sums
from sutlerd.system.write_target import Job, Txn

if TYPE_CHECKING:
    from lmdb import _Database

SUMS, ROWS, MARKS = ACCOUNT
#: Read in one transaction on the writer's thread.
PIECE: Final = 1000
#: Looked at for one list of single calls, the newest first.
MAX_ROWS_READ: Final = 50_000
#: Kept at most, whatever days were configured.
MAX_ROWS_KEPT: Final = 5_000_000
#: Accounts are kept for two years.
SUMS_KEPT_DAYS: Final = 731
MAX_MARKS_KEPT: Final = 100_000
_PRUNED_AT_ONCE: Final = 2000
_INSTANCE_BYTES: Final = 3


class AccountStore:
    """Makes jobs for one open store, and reads it."""

    def __init__(self, store: LedgerStore) -> None:
        self.store = store
        self._sums: _Database = store.database(SUMS)
        self._rows: _Database = store.database(ROWS)
        self._marks: _Database = store.database(MARKS)
        self._instance = os.urandom(_INSTANCE_BYTES)
        self._numbers = itertools.count()

    def add(self, sums: Mapping[AccountKey, Sums], rows: Iterable[UsageRow]) -> Job[None]:
        """Add to the accounts, and keep the rows."""
        kept = [(self._row_key(row), row) for row in rows]

        def job(txn: Txn) -> None:
            for key, added in sums.items():
                stored = stored_key(key)
                total = Sums()
                total.add(added)
                found = txn.get(stored, db=self._sums)
                if found is not None:
                    total.add(Sums.decode(unseal(stored, found))[1])
                txn.put(stored, seal(stored, total.encode(key)), db=self._sums)
            for name, row in kept:
                txn.put(name, seal(name, row.encode()), db=self._rows)

        return job

    async def load(self, since: str) -> list[Entry]:
        """Read at start. Raises ``CannotStart`` for what is not as it was written."""
        try:
            return await self.entries(since, "~")
        except Damaged as error:
            raise refused_as_damaged(self.store.folder, error) from None

    async def entries(self, since: str, until: str) -> list[Entry]:
        """Read the accounts of days, both included. Raises ``Damaged``, and storage errors."""
        found: list[Entry] = []
        first, last = since.encode(), until.encode() + b"~"
        while True:
            piece = await self.store.read(partial(self._piece, first, last))
            found += [Sums.decode(unseal(key, value)) for key, value in piece]
            if len(piece) < PIECE:
                return found
            first = piece[-1][0] + b"\0"

    async def rows(
        self, keep: Callable[[UsageRow], bool], *, since_unix_s: float
    ) -> list[UsageRow]:
        """Read the newest rows since a moment that are wanted, the oldest of them first."""
        found: list[UsageRow] = []
        oldest, before = _time_key(since_unix_s), b"\xff"
        for _ in range(MAX_ROWS_READ // PIECE):
            piece = await self.store.read(partial(self._newest, before))
            for key, value in piece:
                if key < oldest:
                    return found[::-1]
                row = UsageRow.decode(unseal(key, value))
                if keep(row):
                    found.append(row)
            if len(piece) < PIECE:
                break
            before = piece[-1][0]
        return found[::-1]

    def prune(self, *, sums_before: str, rows_before_unix_s: float) -> Job[bool]:
        """Drop a part of what is too old; the job tells whether there may be more."""
        oldest = _time_key(rows_before_unix_s)

        def job(txn: Txn) -> bool:
            spare = txn.stat(self._rows)["entries"] - MAX_ROWS_KEPT
            dropped = _drop(txn, self._rows, lambda key, n: key < oldest or n < spare)
            dropped += _drop(txn, self._sums, lambda key, n: key < sums_before.encode())
            # Marks stand in no order of time: of too many any are dropped, and may come again.
            spare_marks = txn.stat(self._marks)["entries"] - MAX_MARKS_KEPT
            dropped += _drop(txn, self._marks, lambda key, n: n < spare_marks)
            return dropped >= _PRUNED_AT_ONCE

        return job

    def mark(self, marks: Sequence[tuple[Alert, bool]]) -> Job[None]:
        """Remember alerts, and whether each was delivered."""
        values = [
            (alert.key, seal(alert.key, orjson.dumps([delivered, encode_alert(alert).decode()])))
            for alert, delivered in marks
        ]

        def job(txn: Txn) -> None:
            for key, value in values:
                txn.put(key, value, db=self._marks)

        return job

    async def marks(self) -> list[tuple[Alert, bool]]:
        """Read the alerts that are remembered. Raises ``CannotStart`` for damaged ones."""

        def read(txn: Txn) -> list[tuple[bytes, bytes]]:
            with txn.cursor(db=self._marks) as cursor:
                return list(cursor)

        try:
            return [_mark(key, value) for key, value in await self.store.read(read)]
        except Damaged as error:
            raise refused_as_damaged(self.store.folder, error) from None

    def _row_key(self, row: UsageRow) -> bytes:
        number = next(self._numbers) % 2**40
        return _time_key(row.unix_s) + self._instance + number.to_bytes(5, "big")

    def _piece(self, first: bytes, last: bytes, txn: Txn) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        with txn.cursor(db=self._sums) as cursor:
            is_there = cursor.set_range(first)
            while is_there and cursor.key() <= last and len(found) < PIECE:
                found.append(cursor.item())
                is_there = cursor.next()
        return found

    def _newest(self, before: bytes, txn: Txn) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        with txn.cursor(db=self._rows) as cursor:
            is_there = cursor.prev() if cursor.set_range(before) else cursor.last()
            while is_there and len(found) < PIECE:
                found.append(cursor.item())
                is_there = cursor.prev()
        return found


def _mark(key: bytes, value: bytes) -> tuple[Alert, bool]:
    delivered, alert = orjson.loads(unseal(key, value))
    return decode_alert(alert.encode()), delivered


def _time_key(unix_s: float) -> bytes:
    return max(0, round(unix_s * 1000)).to_bytes(8, "big")


def _drop(txn: Txn, database: _Database, is_old: Callable[[bytes, int], bool]) -> int:
    """Delete from the front as long as ``is_old`` holds of a key and its number."""
    with txn.cursor(db=database) as cursor:
        found, count = cursor.first(), 0
        while found and count < _PRUNED_AT_ONCE and is_old(cursor.key(), count):
            found = cursor.delete()
            count += 1
    return count
