"""What each scope holds, counted as it changes and never by walking.

The totals live in memory and are written with the commit that changed them, so that they
are right again after a start or an aborted transaction. Only the writer's thread changes
them; any thread may read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from struct import Struct

import lmdb

from sutlerd.system.write_target import Txn

_ROW = Struct(">IQQ")


@dataclass(slots=True)
class ScopeTotals:
    """A scope's number, by which its rows name it, and what it holds now."""

    number: int
    entries: int = 0
    size_bytes: int = 0


class Scopes:
    """The totals of all scopes that hold anything. ``name -> number, entries, bytes``."""

    def __init__(self, database: lmdb._Database) -> None:
        self.database = database
        self.totals: dict[str, ScopeTotals] = {}
        self._by_number: dict[int, str] = {}
        self._changed: set[str] = set()

    def load(self, txn: Txn) -> None:
        """Read all totals as they were last committed."""
        totals: dict[str, ScopeTotals] = {}
        for name, row in txn.cursor(self.database):
            if len(row) == _ROW.size:
                totals[name.decode(errors="replace")] = ScopeTotals(*_ROW.unpack(row))
        self._changed.clear()
        self._by_number = {each.number: scope for scope, each in totals.items()}
        self.totals = totals

    def sum_of(self, scope: str | None) -> tuple[int, int]:
        """Give entries and bytes of one scope, or of all."""
        chosen = list(self.totals.values())
        if scope is not None:
            chosen = [self.totals.get(scope, ScopeTotals(0))]
        return sum(each.entries for each in chosen), sum(each.size_bytes for each in chosen)

    def names_without(self, prefix: str) -> list[str]:
        return [scope for scope in list(self.totals) if not scope.startswith(prefix)]

    def numbers(self) -> list[int]:
        return list(self._by_number)

    def add(self, scope: str, size_bytes: int) -> int:
        """Count an entry in; gives the scope's number."""
        totals = self.totals.get(scope)
        if totals is None:
            number = next(each for each in count(1) if each not in self._by_number)
            totals = self.totals[scope] = ScopeTotals(number)
            self._by_number[number] = scope
        totals.entries += 1
        totals.size_bytes += size_bytes
        self._changed.add(scope)
        return totals.number

    def subtract(self, number: int, size_bytes: int) -> None:
        """Count an entry out; a number that nobody has is a damaged row's, and ignored."""
        scope = self._by_number.get(number)
        if scope is not None:
            self.totals[scope].entries -= 1
            self.totals[scope].size_bytes -= size_bytes
            self._changed.add(scope)

    def forget_all(self) -> None:
        self.totals = {}
        self._by_number = {}
        self._changed.clear()

    def seal(self, txn: Txn) -> None:
        """Write the totals that have changed."""
        for scope in self._changed:
            totals = self.totals[scope]
            if totals.entries > 0:
                row = _ROW.pack(totals.number, totals.entries, max(totals.size_bytes, 0))
                txn.put(scope.encode(errors="replace"), row, db=self.database)
            else:
                # No row bears its number any more, so the number may be given again.
                txn.delete(scope.encode(errors="replace"), db=self.database)
                del self.totals[scope]
                self._by_number.pop(totals.number, None)
        self._changed.clear()
