"""Ledger, accounts and alerts on a file, as the daemon opens them, for tests of any level."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sutlerd.config.schema_llm import LlmConfig
from sutlerd.ledger.ledger import Ledger
from sutlerd.ledger.store import LedgerStore
from sutlerd.pipeline.account_views import AccountViews
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.bookkeeping import Bookkeeping
from sutlerd.treasury import Treasury, open_treasury
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock


@dataclass(frozen=True, kw_only=True)
class Kept:
    treasury: Treasury
    ledger: Ledger
    store: LedgerStore
    accounting: Accounting
    bookkeeping: Bookkeeping
    views: AccountViews
    clock: VirtualClock
    log: EventList


def llm_config(*, rows_days: int = 30, **budget: Any) -> LlmConfig:
    """Give a configuration's ``llm`` group with this ``budget``."""
    return LlmConfig.model_validate(
        {
            "default_provider": "p",
            "providers": {"p": {"kind": "llama_cpp", "default_model": "m"}},
            "budget": budget,
            "ledger": {"rows_days": rows_days},
        }
    )


@asynccontextmanager
async def keep_accounts_in(
    folder: Path, clock: VirtualClock, *, rows_days: int = 30, **budget: Any
) -> AsyncIterator[Kept]:
    """Open everything in a folder; ``budget`` is the configuration's group."""
    log = EventList()
    async with AsyncExitStack() as stack:
        store = LedgerStore(folder, log=log)
        llm = llm_config(rows_days=rows_days, **budget)
        treasury = await open_treasury(stack, llm, store, clock, log)
        accounting, bookkeeping = treasury.accounting, treasury.bookkeeping
        yield Kept(
            treasury=treasury,
            ledger=treasury.ledger,
            store=store,
            accounting=accounting,
            bookkeeping=bookkeeping,
            views=AccountViews(accounting=accounting, archive=bookkeeping),
            clock=clock,
            log=log,
        )
