"""What stands in a ledger's file, read from outside while nobody writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from sutlerd.ledger.place import BALANCES, DATA, DATABASES, OPEN, RECORDS, UNKNOWN
from sutlerd.ledger.records import Ended, Held, decode_balance, decode_ended, decode_held


@dataclass(frozen=True)
class LedgerFile:
    """All of it, each value's checksum found right."""

    balances: dict[tuple[str, str, str], int] = field(default_factory=dict)
    open: list[Held] = field(default_factory=list)
    unknown: list[Ended] = field(default_factory=list)
    records: list[Ended] = field(default_factory=list)

    def settled(self, kind: str = "node/total") -> int:
        return sum(amount for account, amount in self.balances.items() if account[0] == kind)

    def held(self) -> int:
        return sum(each.amount_nanousd for each in self.open)

    def is_consistent(self) -> bool:
        """Tell whether the sums are the records', and nothing has ended twice."""
        numbers = [each.held.attempt for each in self.records] + [e.attempt for e in self.open]
        spent = sum(each.cost_nanousd for each in self.records)
        return len(set(numbers)) == len(numbers) and spent == self.settled()


def read_ledger(folder: Path) -> LedgerFile:
    """Read the ledger in ``folder``, which is left as it is."""
    if not (folder / DATA).exists():
        return LedgerFile()
    with lmdb.open(
        str(folder), readonly=True, lock=False, max_dbs=len(DATABASES), lib_version=0
    ) as env:
        databases = {name: env.open_db(name, create=False) for name in DATABASES}
        with env.begin() as txn:
            rows = {
                name: list(txn.cursor(db=databases[name]))
                for name in (BALANCES, OPEN, RECORDS, UNKNOWN)
            }
    balances = dict(decode_balance(*row) for row in rows[BALANCES])
    return LedgerFile(
        balances={(a.budget, a.subject, a.span): amount for a, amount in balances.items()},
        open=[decode_held(*row) for row in rows[OPEN]],
        unknown=[decode_ended(*row) for row in rows[UNKNOWN]],
        records=[decode_ended(*row) for row in rows[RECORDS]],
    )
