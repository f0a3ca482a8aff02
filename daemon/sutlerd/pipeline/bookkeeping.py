"""The accounts are kept on disk: what was entered is stored every second, and at the stop.

What an attempt cost is not stored here: that is committed together with its end, by the
ledger. A disk that cannot be written keeps everything here in memory, and calls go on.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, Self

from sutlerd.domain.errors import CallError, LedgerUnavailable
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.ledger.account_store import SUMS_KEPT_DAYS, AccountStore
from sutlerd.ledger.records import Damaged
from sutlerd.ledger.rows import UsageRow
from sutlerd.ledger.store import Standing
from sutlerd.ledger.sums import AccountKey, Entry, Sums
from sutlerd.pipeline.account_views import Wanted
from sutlerd.pipeline.accounting import Accounting
from sutlerd.system.write_target import STORAGE_ERRORS, WriterStopped

#: Days that are in memory; older ones are read from the disk when they are asked for.
DAYS_IN_MEMORY: Final = 4
_DAY_S: Final = 86_400.0


class Bookkeeping:
    """One per daemon. Entered before the ledger, because that has ends to tell of at once.

    ``rows_days`` is how long single calls are kept, 0 for not at all.
    """

    def __init__(
        self,
        *,
        accounting: Accounting,
        store: AccountStore,
        rows_days: int,
        clock: Clock,
        log: EventLog,
    ) -> None:
        self._accounting = accounting
        self._store = store
        self._rows_days = rows_days
        self._clock = clock
        self._log = log
        self._pruned_day = ""
        self._told_of_failure = False

    async def __aenter__(self) -> Self:
        """Take up what is stored. Raises ``CannotStart`` for what is damaged."""
        since = self._days_ago(DAYS_IN_MEMORY - 1)
        accounting = self._accounting
        accounting.accounts.load(await self._store.load(since))
        accounting.accounts.close_days(before=since)
        accounting.stores_with(self._store.add, keeps_rows=self._rows_days > 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.store()

    def store(self) -> None:
        """Have everything that was entered so far written, soon."""
        accounting = self._accounting
        accounting.enter_hits()
        if self._store.store.standing is not Standing.OPEN:
            accounting.drop_rows()
            return
        sums, rows = accounting.unstored.take(), accounting.take_rows()
        if not sums and not rows:
            return

        def stored(_: object, error: BaseException | None) -> None:
            if error is not None:
                self._failed(sums, error)

        job = self._store.add(sums, rows)
        if not self._store.store.submit(job, size_bytes=256 * len(sums) + 256, done=stored):
            accounting.unstored.give_back(sums)

    async def entries(self, since: str, until: str) -> list[Entry]:
        """Give what is stored of days that are no longer in memory. Raises ``CallError``."""
        in_memory_since = self._accounting.accounts.open_since
        if since >= in_memory_since:
            return []
        try:
            found = await self._store.entries(since, min(until, in_memory_since))
        except (*STORAGE_ERRORS, WriterStopped, Damaged) as error:
            raise _unreadable(error) from None
        return [entry for entry in found if entry[0].day < in_memory_since]

    async def rows(self, wanted: Wanted, since: str, until: str) -> list[UsageRow]:
        """Give the single calls that are kept of these days. Raises ``CallError``."""
        self.store()

        def keep(row: UsageRow) -> bool:
            return since <= row.day <= until and wanted.fits(row.payer.uid, row.payer.job)

        # No zone is a whole day off, and no call takes a day.
        since_unix_s = _unix_s(since) - 2 * _DAY_S
        try:
            return await self._store.rows(keep, since_unix_s=since_unix_s)
        except (*STORAGE_ERRORS, WriterStopped, Damaged) as error:
            raise _unreadable(error) from None

    def _failed(self, sums: dict[AccountKey, Sums], error: BaseException) -> None:
        self._accounting.unstored.give_back(sums)
        if not self._told_of_failure:
            self._told_of_failure = True
            self._log.event("error", "accounts_not_stored", said=str(error))

    def tidy(self) -> None:
        """Drop what is too old: a part of it each second, until there is none for today."""
        today = self._days_ago(0)
        if today == self._pruned_day or self._store.store.standing is not Standing.OPEN:
            return
        self._pruned_day = today
        self._accounting.accounts.close_days(before=self._days_ago(DAYS_IN_MEMORY - 1))
        job = self._store.prune(
            sums_before=self._days_ago(SUMS_KEPT_DAYS),
            rows_before_unix_s=self._clock.unix_s() - self._rows_days * _DAY_S,
        )

        def pruned(has_more: object, error: BaseException | None) -> None:
            if error is None and has_more:
                self._pruned_day = ""

        self._store.store.submit(job, done=pruned)

    def _days_ago(self, days: int) -> str:
        today = date.fromisoformat(self._accounting.day())
        return (today - timedelta(days=days)).isoformat()


def _unix_s(day: str) -> float:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * _DAY_S


def _unreadable(error: Exception) -> CallError:
    return LedgerUnavailable(f"the accounts cannot be read: {error}")
