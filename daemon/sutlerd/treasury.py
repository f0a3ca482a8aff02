"""Ledger, accounts and alerts, built around the ledger's one file in the order they need.

The accounts are taken up before the ledger begins, because it may have ends to tell of at
once; they are stored after it has ended the last attempt.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from sutlerd.config.schema_llm import LlmConfig
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.domain.record import record
from sutlerd.ledger.account_store import AccountStore
from sutlerd.ledger.accounts import Accounts
from sutlerd.ledger.alarm import Alarm, AlarmSettings
from sutlerd.ledger.budgets import Budgets
from sutlerd.ledger.days import Days
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.store import LedgerStore
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.bookkeeping import Bookkeeping

_TENDED_EVERY_S: Final = 1.0


@record
class Treasury:
    """What outlives a reload; ``adopt`` makes it go by another configuration."""

    ledger: Ledger
    accounting: Accounting
    bookkeeping: Bookkeeping
    alarm: Alarm

    def adopt(self, budgets: Budgets, llm: LlmConfig) -> None:
        self.ledger.budgets = budgets
        self.alarm.settings = alarm_settings(llm)

    async def tend(self) -> None:
        """Look after it every second, as long as the daemon lives."""
        while True:
            await asyncio.sleep(_TENDED_EVERY_S)
            await self.ledger.tend()
            self.bookkeeping.store()
            self.bookkeeping.tidy()
            self.alarm.look()


async def open_treasury(
    stack: AsyncExitStack, llm: LlmConfig, store: LedgerStore, clock: Clock, log: EventLog
) -> Treasury:
    """Open the ledger's file and take up what is in it. Raises ``CannotStart``."""
    await stack.enter_async_context(store)
    account_store = AccountStore(store)
    days = Days(llm.budget.timezone)
    accounting = Accounting(accounts=Accounts(), day=lambda: days.of(clock.unix_s()), clock=clock)
    bookkeeping = Bookkeeping(
        accounting=accounting,
        store=account_store,
        rows_days=llm.ledger.rows_days,
        clock=clock,
        log=log,
    )
    await stack.enter_async_context(bookkeeping)
    ledger = Ledger(
        store=store,
        budgets=Budgets(llm.budget),
        rows_days=llm.ledger.rows_days,
        clock=clock,
        log=log,
        tell=accounting.settled,
    )
    await stack.enter_async_context(ledger)
    accounting.day = ledger.day
    alarm = Alarm(ledger=ledger, store=account_store, settings=alarm_settings(llm), log=log)
    await alarm.take_up()
    stack.callback(alarm.remember)
    return Treasury(ledger=ledger, accounting=accounting, bookkeeping=bookkeeping, alarm=alarm)


def alarm_settings(llm: LlmConfig) -> AlarmSettings:
    webhook = llm.budget.alert_webhook
    return AlarmSettings(
        threshold_pct=llm.budget.alert_threshold_pct,
        webhook=webhook.reveal() if webhook is not None and webhook.is_set else None,
    )
