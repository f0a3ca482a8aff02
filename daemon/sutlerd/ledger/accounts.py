"""Who used what, added up: accounts that do not grow with calls. Pure: no clock, no disk.

An account is a day, a payer, a provider and a model. What callers may name at will (labels,
models) is bounded: who names too much in a day is added up under ``other``, and nobody's
accounts are in another uid's way. Sums are exact whatever is added up together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from sutlerd.domain.record import record
from sutlerd.ledger.rows import UsageRow
from sutlerd.ledger.sums import AccountKey, Entry, Sums, key_of

OTHER: Final = "other"
_DIGEST_BYTES: Final = 16


@record
class AccountLimits:
    """Accounts of one uid in one day: beyond ``labelled`` its labels are no longer told apart,
    beyond ``per_uid`` nothing is. ``per_day`` holds for all uids together."""

    labelled: int = 768
    per_uid: int = 1024
    per_day: int = 16_384


class _Day:
    __slots__ = ("accounts", "by_uid")

    def __init__(self) -> None:
        self.accounts: dict[AccountKey, Sums] = {}
        self.by_uid: Counter[int] = Counter()

    def open(self, key: AccountKey) -> Sums:
        sums = self.accounts[key] = Sums()
        self.by_uid[key.uid] += 1
        return sums


class Accounts:
    """The accounts of the newest days; mutable, one per daemon."""

    def __init__(self, *, limits: AccountLimits | None = None) -> None:
        self._limits = limits or AccountLimits()
        self._days: dict[str, _Day] = {}
        self._closed_before = ""

    def add(self, row: UsageRow) -> AccountKey:
        """Enter a row; give the account that it was entered in.

        What belongs to a day that is closed is not kept here: it has to be stored.
        """
        if row.day < self._closed_before:
            return key_of(row)
        day = self._days.get(row.day)
        if day is None:
            day = self._days[row.day] = _Day()
        key = key_of(row)
        sums = day.accounts.get(key)
        if sums is None:
            key = self._place(day, key)
            sums = day.accounts.get(key) or day.open(key)
        sums.add_row(row)
        return key

    def load(self, entries: Iterable[Entry]) -> None:
        """Take up what was stored before."""
        for key, sums in entries:
            day = self._days.setdefault(key.day, _Day())
            (day.accounts.get(key) or day.open(key)).add(sums)

    @property
    def open_since(self) -> str:
        """The day from which on everything is in memory; empty for all days."""
        return self._closed_before

    @property
    def count(self) -> int:
        """How many accounts are in memory."""
        return sum(len(day.accounts) for day in self._days.values())

    def entries(self, *, since: str, until: str) -> Iterator[Entry]:
        """Give the accounts of the open days from ``since`` to ``until``, both included."""
        for name, day in self._days.items():
            if since <= name <= until:
                yield from day.accounts.items()

    def close_days(self, *, before: str) -> None:
        """Keep days before this one no longer in memory, and take up none of them."""
        self._closed_before = max(self._closed_before, before)
        for name in [name for name in self._days if name < self._closed_before]:
            del self._days[name]

    def _place(self, day: _Day, key: AccountKey) -> AccountKey:
        """Give the account for a new key: its own, or as much of it as there is room for."""
        limits, held = self._limits, day.by_uid[key.uid]
        if len(day.accounts) < limits.per_day:
            if held < limits.labelled:
                return key
            key = key._replace(component=OTHER, project=OTHER)
            if key in day.accounts or held < limits.per_uid:
                return key
        return AccountKey(key.day, key.uid, OTHER, OTHER, OTHER, OTHER, OTHER)


class Unstored:
    """What was entered and is not on the disk yet, by account: to be added to what is there."""

    def __init__(self) -> None:
        self._sums: dict[AccountKey, Sums] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def note(self, key: AccountKey, row: UsageRow) -> None:
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = Sums()
        sums.add_row(row)

    def take(self) -> dict[AccountKey, Sums]:
        taken, self._sums = self._sums, {}
        return taken

    def give_back(self, taken: dict[AccountKey, Sums]) -> None:
        """Take note that what was taken could not be stored."""
        for key, sums in taken.items():
            if key in self._sums:
                self._sums[key].add(sums)
            else:
                self._sums[key] = sums


def stored_key(key: AccountKey) -> bytes:
    """Give an account's key on disk: in the order of days, and short whatever its names are."""
    digest = hashlib.blake2b(orjson.dumps(key[1:]), digest_size=_DIGEST_BYTES).digest()
    return key.day.encode() + b"/" + digest
