"""Who used what, added up: accounts that do not grow with calls. Pure: no clock, no disk.

An account is a day, a payer, a provider and a model. What callers may name at will (labels,
models) is bounded: who names too much in a day is added up under ``other``, and nobody's
accounts are in another uid's way. Sums are exact whatever is added up together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
    __slots__ = ("accounts", "by_uid", "changed")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.accounts = dict(entries)
        self.by_uid = Counter(key.uid for key in self.accounts)
        self.changed: dict[AccountKey, None] = {}


class Accounts:
    """The accounts of the days that are open; mutable, one per daemon.

    ``read_day`` gives what is stored of a day; it is asked once, before the day's first entry.
    """

    def __init__(
        self,
        *,
        read_day: Callable[[str], Iterable[Entry]] = lambda day: (),
        limits: AccountLimits | None = None,
    ) -> None:
        self._read_day = read_day
        self._limits = limits or AccountLimits()
        self._days: dict[str, _Day] = {}

    def add(self, row: UsageRow) -> None:
        """Enter a row in the account that it belongs to."""
        day = self._day(row.day)
        key = self._place(day, key_of(row))
        sums = day.accounts.get(key)
        if sums is None:
            sums = day.accounts[key] = Sums()
            day.by_uid[key.uid] += 1
        sums.add_row(row)
        day.changed[key] = None

    @property
    def open_days(self) -> list[str]:
        return sorted(self._days)

    @property
    def count(self) -> int:
        """How many accounts are in memory."""
        return sum(len(day.accounts) for day in self._days.values())

    def entries(self, *, since: str, until: str) -> Iterator[Entry]:
        """Give the accounts of the open days from ``since`` to ``until``, both included."""
        for name, day in self._days.items():
            if since <= name <= until:
                yield from day.accounts.items()

    def changed(self) -> list[Entry]:
        """Give the accounts that were changed since they were last taken, in their whole."""
        taken = [(key, day.accounts[key]) for day in self._days.values() for key in day.changed]
        for day in self._days.values():
            day.changed.clear()
        return taken

    def not_stored(self, keys: Iterable[AccountKey]) -> None:
        """Take note that what was taken could not be stored."""
        for key in keys:
            self._day(key.day).changed[key] = None

    def close_days(self, *, before: str) -> None:
        """Let go of days before this one whose accounts have all been taken."""
        for name in [name for name in self._days if name < before]:
            if not self._days[name].changed:
                del self._days[name]

    def _day(self, name: str) -> _Day:
        day = self._days.get(name)
        if day is None:
            day = self._days[name] = _Day(self._read_day(name))
        return day

    def _place(self, day: _Day, key: AccountKey) -> AccountKey:
        """Give the account for a key: its own, or as much of its own as there is room for."""
        if key in day.accounts:
            return key
        limits, held = self._limits, day.by_uid[key.uid]
        if len(day.accounts) < limits.per_day:
            if held < limits.labelled:
                return key
            key = key._replace(component=OTHER, project=OTHER)
            if key in day.accounts or held < limits.per_uid:
                return key
        return AccountKey(key.day, key.uid, OTHER, OTHER, OTHER, OTHER, OTHER)


def stored_key(key: AccountKey) -> bytes:
    """Give an account's key on disk: in the order of days, and short whatever its names are."""
    digest = hashlib.blake2b(orjson.dumps(key[1:]), digest_size=_DIGEST_BYTES).digest()
    return key.day.encode() + b"/" + digest
