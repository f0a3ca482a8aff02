"""Accounts kept on a ledger's file, as the daemon keeps them, for tests of any level."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sutlerd.config.schema_llm import BudgetConfig
from sutlerd.ledger.account_store import AccountStore
from sutlerd.ledger.accounts import Accounts
from sutlerd.ledger.budgets import Budgets
from sutlerd.ledger.days import Days
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.store import LedgerStore
from sutlerd.pipeline.account_views import AccountViews
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.bookkeeping import Bookkeeping
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock


@dataclass(frozen=True, kw_only=True)
class Kept:
    ledger: Ledger
    store: LedgerStore
    account_store: AccountStore
    accounting: Accounting
    bookkeeping: Bookkeeping
    views: AccountViews
    clock: VirtualClock
    log: EventList


@asynccontextmanager
async def keep_accounts_in(
    folder: Path, clock: VirtualClock, *, rows_days: int = 30, **budget: Any
) -> AsyncIterator[Kept]:
    """Open a ledger and its accounts; ``budget`` is the configuration's group."""
    log = EventList()
    async with LedgerStore(folder, log=log) as store:
        accounting = Accounting(accounts=Accounts(), day_of=Days("UTC").of, clock=clock)
        account_store = AccountStore(store)
        bookkeeping = Bookkeeping(
            accounting=accounting,
            store=account_store,
            rows_days=rows_days,
            clock=clock,
            log=log,
        )
        ledger = Ledger(
            store=store,
            budgets=Budgets(BudgetConfig.model_validate(budget)),
            rows_days=rows_days,
            clock=clock,
            log=log,
            tell=accounting.settled,
        )
        async with bookkeeping, ledger:
            yield Kept(
                ledger=ledger,
                store=store,
                account_store=account_store,
                accounting=accounting,
                bookkeeping=bookkeeping,
                views=AccountViews(accounting=accounting, archive=bookkeeping, clock=clock),
                clock=clock,
                log=log,
            )
