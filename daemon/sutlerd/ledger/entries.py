"""What is written and read of the ledger's own databases, as jobs for the store. Pure but for
the transaction that each is given.

Every job that ends something first takes it out of where it is open, and does nothing more
if it is not there: whatever is written twice, is booked once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

import orjson

from sutlerd.domain.record import record
from sutlerd.ledger.book import Account
from sutlerd.ledger.guard import LATE_S, Crash, may_be_lost
from sutlerd.ledger.place import ASKERS, BALANCES, META, OPEN, RECORDS, UNKNOWN
from sutlerd.ledger.records import (
    Ended,
    Held,
    asker_key,
    attempt_key,
    decode_asker,
    decode_balance,
    decode_ended,
    decode_held,
    encode_asker,
    encode_ended,
    encode_held,
    seal,
    unseal,
)
from sutlerd.ledger.reservation import Named
from sutlerd.ledger.served_as import ServedAs
from sutlerd.ledger.store import LedgerStore, may_begin
from sutlerd.system.write_target import Job, Txn

if TYPE_CHECKING:
    from lmdb import _Database

_CLOCK_KEY: Final = b"clock"
_DEARER_KEY: Final = b"dearer"
_SERVED_KEY: Final = b"served_as"
_CRASHES_KEY: Final = b"crashes"


@record
class Kept:
    """All that a start reads: balances, what is open, what is unknown, and small notes.

    ``late`` was paid shortly before a crash just now: the answers may be lost. ``doubted`` are
    the records of which earlier ``crashes`` say the same. ``shared`` names who shares attempts.
    """

    balances: dict[Account, int] = field(default_factory=dict)
    open: list[Held] = field(default_factory=list)
    unknown: list[Ended] = field(default_factory=list)
    late: list[Ended] = field(default_factory=list)
    doubted: list[Ended] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    shared: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    next_attempt: int = 1
    clock: dict[str, Any] = field(default_factory=dict)
    dearer: dict[str, int] = field(default_factory=dict)
    served_as: dict[str, list[str]] = field(default_factory=dict)


class Entries:
    """Makes jobs for one store."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._meta = store.database(META)
        self._open = store.database(OPEN)
        self._unknown = store.database(UNKNOWN)
        self._balances = store.database(BALANCES)
        self._records = store.database(RECORDS)
        self._askers = store.database(ASKERS)

    def read_all(self, txn: Txn) -> Kept:
        """Read what a book is begun from. Raises ``Damaged``.

        Every record's checksum is looked at, too, unless a clean stop has left the file so.
        """
        late: list[Ended] = []
        if not self._store.is_as_left:
            late = _newest(decode_ended(*row) for row in _rows(txn, self._records))
        last = [
            int.from_bytes(cursor.key(), "big")
            for database in (self._open, self._unknown, self._records)
            if (cursor := txn.cursor(db=database)).last()
        ]
        balances = dict(decode_balance(*row) for row in _rows(txn, self._balances))
        crashes = [Crash.from_note(each) for each in self._note(txn, _CRASHES_KEY).get("all", ())]
        shared: dict[int, list[tuple[int, str]]] = {}
        for row in _rows(txn, self._askers):
            attempt, name = decode_asker(*row)
            shared.setdefault(attempt, []).append(name)
        return Kept(
            balances={account: settled for account, settled in balances.items() if settled},
            open=[decode_held(*row) for row in _rows(txn, self._open)],
            unknown=[decode_ended(*row) for row in _rows(txn, self._unknown)],
            late=[each for each in late if each.state == "settled" and may_be_lost(each)],
            doubted=[each for crash in crashes for each in self._doubted(txn, crash)],
            crashes=crashes,
            shared=shared,
            next_attempt=max(last, default=0) + 1,
            clock=self._note(txn, _CLOCK_KEY),
            dearer=self._note(txn, _DEARER_KEY),
            served_as=self._note(txn, _SERVED_KEY),
        )

    def begin(self, held: Held, clock: dict[str, Any], askers: Sequence[Named] = ()) -> Job[None]:
        """Write a reservation, who shares it, and the time that the budgets go by."""
        key, value = held.key, encode_held(held)
        noted = seal(_CLOCK_KEY, orjson.dumps(clock))
        share = self.share(held, askers) if askers else None

        def job(txn: Txn) -> None:
            may_begin(self._store)
            txn.put(key, value, db=self._open)
            if share is not None:
                share(txn)
            txn.put(_CLOCK_KEY, noted, db=self._meta)

        return job

    def share(self, held: Held, askers: Iterable[Named]) -> Job[None]:
        """Write who shares an attempt under an id of its own."""
        rows = []
        for each in askers:
            key = asker_key(held.attempt, each.uid, each.request_id)
            rows.append((key, encode_asker(key, each.uid, each.request_id)))

        def job(txn: Txn) -> None:
            for key, value in rows:
                txn.put(key, value, db=self._askers)

        return job

    def part(self, attempts: Iterable[int]) -> Job[None]:
        """Drop who shared these attempts."""
        firsts = [attempt_key(attempt) for attempt in attempts]

        def job(txn: Txn) -> None:
            with txn.cursor(db=self._askers) as cursor:
                for first in firsts:
                    found = cursor.set_range(first)
                    while found and cursor.key().startswith(first):
                        found = cursor.delete()

        return job

    def void(self, held: Held) -> Job[None]:
        def job(txn: Txn) -> None:
            txn.delete(held.key, db=self._open)

        return job

    def end(self, ended: Ended, also: Job[Any] | None, *, was_held: bool = True) -> Job[None]:
        """Book an end, and what the account says of it, if it is not booked already.

        ``was_held``: whether it has been begun; else it is booked unless it has ended.
        """
        key, value = ended.held.key, encode_ended(ended)

        def job(txn: Txn) -> None:
            if was_held:
                is_new = txn.delete(key, db=self._open)
            else:
                is_new = txn.get(key, db=self._records) is None
            if is_new:
                self._store.book(ended.held.accounts, ended.cost_nanousd)
                txn.put(key, value, db=self._records)
                if also is not None:
                    also(txn)

        return job

    def lose(
        self,
        lost: Sequence[tuple[Ended, Job[Any] | None]],
        *,
        crashes: Sequence[Crash] = (),
        parted: Iterable[int] = (),
    ) -> Job[None]:
        """Charge in full, in one transaction, all that was open when the daemon died.

        ``crashes`` are the notes to be kept; who shared a ``parted`` attempt is dropped.
        """
        note = seal(_CRASHES_KEY, orjson.dumps({"all": [each.to_note() for each in crashes]}))
        part = self.part(parted)

        def job(txn: Txn) -> None:
            for ended, also in lost:
                value = encode_ended(ended)
                self.end(ended, also)(txn)
                txn.put(ended.held.key, value, db=self._unknown)
            txn.put(_CRASHES_KEY, note, db=self._meta)
            part(txn)

        return job

    def amend(self, ended: Ended, was_nanousd: int, also: Job[Any] | None) -> Job[None]:
        """Book an operator's word on what was unknown."""
        key, value = ended.held.key, encode_ended(ended)

        def job(txn: Txn) -> None:
            if txn.delete(key, db=self._unknown):
                self._store.book(ended.held.accounts, ended.cost_nanousd - was_nanousd)
                txn.put(key, value, db=self._records)
                if also is not None:
                    also(txn)

        return job

    def note_dearer(self, dearer: dict[str, int]) -> Job[None]:
        noted = seal(_DEARER_KEY, orjson.dumps(dearer))

        def job(txn: Txn) -> None:
            txn.put(_DEARER_KEY, noted, db=self._meta)

        return job

    def note_served_as(self, served_as: ServedAs) -> Job[None]:
        noted = seal(_SERVED_KEY, orjson.dumps(served_as.note()))

        def job(txn: Txn) -> None:
            txn.put(_SERVED_KEY, noted, db=self._meta)

        return job

    def prune(
        self,
        *,
        before_unix_s: float,
        stands: Sequence[bytes],
        keep: Callable[[Account], bool],
    ) -> Job[bool]:
        """Drop records of an older time, a part of them at once, balances that nobody keeps, and
        what was unknown so long that it ``stands``. The job tells whether more may be old.

        The newest record stays whatever its age, since attempts are numbered on from it.
        """

        def job(txn: Txn) -> bool:
            self._store.write_balances(txn)
            has_more = self._drop_records(txn, before_unix_s)
            for key in stands:
                txn.delete(key, db=self._unknown)
            for key, stored in list(_rows(txn, self._balances)):
                if not keep(decode_balance(key, stored)[0]):
                    txn.delete(key, db=self._balances)
            return has_more

        return job

    def records(self, txn: Txn) -> list[Ended]:
        """Read every record that is kept, in the order of their attempts."""
        return [decode_ended(*row) for row in _rows(txn, self._records)]

    def _doubted(self, txn: Txn, crash: Crash) -> Iterable[Ended]:
        with txn.cursor(db=self._records) as cursor:
            found = cursor.set_range(attempt_key(crash.first))
            while found and cursor.key() <= attempt_key(crash.last):
                ended = decode_ended(cursor.key(), cursor.value())
                if crash.doubts(ended):
                    yield ended
                found = cursor.next()

    def _drop_records(self, txn: Txn, before_unix_s: float) -> bool:
        with txn.cursor(db=self._records) as cursor:
            last = cursor.key() if cursor.last() else b""
            found = cursor.first()
            for _ in range(_PRUNED_AT_ONCE):
                if not found or cursor.key() == last:
                    return False
                if decode_ended(cursor.key(), cursor.value()).ended_unix_s >= before_unix_s:
                    return False
                found = cursor.delete()
            return True

    def _note(self, txn: Txn, key: bytes) -> dict[str, Any]:
        stored = txn.get(key, db=self._meta)
        return {} if stored is None else dict(orjson.loads(unseal(key, stored)))


#: A commit with so many deletions delays nobody's reservation for long.
_PRUNED_AT_ONCE: Final = 2000


def _newest(records: Iterable[Ended]) -> list[Ended]:
    """Keep what ended less than ``LATE_S`` before the newest end of all.

    Records stand in the order of their beginnings: the end of a long attempt, or an operator's
    word on one, is newer than those of many that follow it.
    """
    newest: deque[Ended] = deque()
    newest_unix_s = 0.0
    for each in records:
        newest_unix_s = max(newest_unix_s, each.ended_unix_s)
        if each.ended_unix_s >= newest_unix_s - LATE_S:
            newest.append(each)
        while newest[0].ended_unix_s < newest_unix_s - LATE_S:
            newest.popleft()
    return [each for each in newest if each.ended_unix_s >= newest_unix_s - LATE_S]


def _rows(txn: Txn, database: _Database) -> Iterable[tuple[bytes, bytes]]:
    with txn.cursor(db=database) as cursor:
        yield from cursor
