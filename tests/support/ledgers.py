"""Ledgers on a real file, for tests of any level."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sutlerd.config.schema_llm import BudgetConfig
from sutlerd.domain.call import Labels, Route
from sutlerd.domain.caller import Caller
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.ledger.budgets import Budgets
from sutlerd.ledger.ledger import Ledger, Tell, WaitForMoney
from sutlerd.ledger.place import Opener, open_ledger
from sutlerd.ledger.reservation import Reservation, Spend
from sutlerd.ledger.store import LedgerStore
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock

ROUTE = Route(provider="acme", model="large")


@asynccontextmanager
async def open_ledger_in(
    folder: Path,
    *,
    clock: Clock | None = None,
    log: EventLog | None = None,
    tell: Tell | None = None,
    opener: Opener = open_ledger,
    rows_days: int = 30,
    **budget: Any,
) -> AsyncIterator[Ledger]:
    """Open a ledger as the daemon does; ``budget`` is the configuration's group."""
    log = log if log is not None else EventList()
    async with LedgerStore(folder, log=log, opener=opener) as store:
        ledger = Ledger(
            store=store,
            budgets=Budgets(BudgetConfig.model_validate(budget)),
            rows_days=rows_days,
            clock=clock if clock is not None else VirtualClock(),
            log=log,
            tell=tell,
        )
        async with ledger:
            yield ledger


def caller(uid: int = 1000, **fields: Any) -> Caller:
    return Caller(**{"uid": uid, "gid": uid, "pid": 1, **fields})


def spend(worst_case_nanousd: int | None, request_id: str = "", **fields: Any) -> Spend:
    """Give an attempt's spend; with a ``request_id`` it is one that the caller chose."""
    return Spend(
        **{
            "request_id": request_id or "r",
            "given_id": bool(request_id),
            "caller": caller(),
            "labels": Labels(),
            "route": ROUTE,
            "kind": "chat",
            "worst_case_nanousd": worst_case_nanousd,
            **fields,
        }
    )


def reserved(answer: object) -> Reservation:
    """Insist that money was given."""
    assert isinstance(answer, Reservation), answer
    return answer


def waits(answer: object) -> WaitForMoney:
    assert isinstance(answer, WaitForMoney), answer
    return answer


def settled(ledger: Ledger, kind: str = "node/day") -> int:
    """Add up what is settled in all accounts of a kind."""
    sums = ledger.book.settled()
    return sum(amount for account, amount in sums.items() if account.budget == kind)
