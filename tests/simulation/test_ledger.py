"""Seeded days of a ledger on a real file: many payers, clocks that jump, crashes at any step.

After each crash the file alone is there; what is begun from it must be the book as it was,
with all that was under way charged in full.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from sutlerd.config.schema_llm import BudgetConfig
from sutlerd.domain.call import Labels, Route
from sutlerd.domain.errors import BudgetExceeded
from sutlerd.ledger.book import Account, State
from sutlerd.ledger.budgets import UNLIMITED_NANOUSD, Budgets, Spender
from sutlerd.ledger.ledger import Ledger, WaitForMoney
from sutlerd.ledger.reservation import Reservation, Spend, Stage
from tests.support.event_list import EventList
from tests.support.inline_store import InlineStore
from tests.support.ledger_file import read_ledger
from tests.support.ledgers import caller
from tests.support.virtual_clock import VirtualClock

USD = 10**9
STEPS = 400
BUDGET = BudgetConfig.model_validate(
    {
        "daily_limit_usd": Decimal(10),
        "monthly_limit_usd": Decimal(60),
        "rules": (
            {"per": "uid", "limit_usd": Decimal(4)},
            {"per": "provider", "match": "acme", "limit_usd": Decimal(7)},
            {"per": "project", "limit_usd": Decimal(2)},
            {"per": "job", "period": "total", "limit_usd": Decimal(20)},
        ),
    }
)


class Days:
    """One ledger's life, told by ``chance``; checked at every step."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.clock = VirtualClock()
        self.folder = folder
        self.open: list[Reservation] = []
        self.limits: dict[Account, int] = {}
        self.overrun: dict[Account, int] = {}
        self.crashes = self.refused = self.waited = 0

    async def live(self) -> None:
        while True:
            async with AsyncExitStack() as stack:
                store = await stack.enter_async_context(InlineStore(self.folder))
                ledger = Ledger(
                    store=store,
                    budgets=Budgets(BUDGET),
                    rows_days=30,
                    clock=self.clock,
                    log=EventList(),
                )
                await stack.enter_async_context(ledger)
                for _ in range(STEPS // 8):
                    await self.step(ledger)
                    self.check(ledger)
                if self.crashes == 8:
                    return
                before = self.expected_after_a_crash(ledger)
                self.crashes += 1
                store.crash()
                stack.pop_all()
            await self.begin_again(before)

    def expected_after_a_crash(self, ledger: Ledger) -> dict[Account, int]:
        """Give what is settled, and all at its worst that is on the disk and has not ended."""
        sums = ledger.book.settled()
        for each in self.open:
            if each.stage is Stage.WRITTEN:
                for account in each.held.accounts:
                    sums[account] = sums.get(account, 0) + each.amount_nanousd
        self.open.clear()
        return sums

    async def begin_again(self, expected: dict[Account, int]) -> None:
        async with InlineStore(self.folder) as store:
            ledger = Ledger(
                store=store,
                budgets=Budgets(BUDGET),
                rows_days=30,
                clock=self.clock,
                log=EventList(),
            )
            async with ledger:
                assert ledger.book.settled() == expected
                assert ledger.book.holds(State.RESERVED) == []
        assert read_ledger(self.folder).is_consistent()

    async def step(self, ledger: Ledger) -> None:
        what = self.chance.random()
        if what < 0.5:
            await self.reserve(ledger)
        elif what < 0.9 and self.open:
            self.end(self.open.pop(self.chance.randrange(len(self.open))))
        elif what < 0.95:
            self.clock.advance(self.chance.choice((1.0, 600.0, 7200.0)))
            await ledger.tend()
        else:
            self.clock.jump_unix(self.chance.choice((-86_400.0, -3600.0, 3600.0, 86_400.0)))

    async def reserve(self, ledger: Ledger) -> None:
        chance = self.chance
        who = caller(1000 + chance.randrange(3), job=chance.choice((None, "7", "8")))
        labels = Labels(project=chance.choice((None, "apollo", "gemini")))
        route = Route(provider=chance.choice(("acme", "other")), model="m")
        spender = Spender(caller=who, labels=labels, route=route)
        for touched in ledger.budgets.touched(spender, ledger.now_unix_s()):
            self.limits[touched.account] = touched.limit_nanousd
        answer = ledger.try_reserve(
            Spend(
                request_id=f"r{chance.random()}",
                given_id=chance.random() < 0.5,
                caller=who,
                labels=labels,
                route=route,
                kind="chat",
                worst_case_nanousd=chance.randrange(1, USD),
            )
        )
        if isinstance(answer, Reservation):
            if chance.random() < 0.9:
                await answer.on_disk()
            self.open.append(answer)
        elif isinstance(answer, WaitForMoney):
            self.waited += 1
        else:
            assert isinstance(answer, BudgetExceeded)
            self.refused += 1

    def end(self, reservation: Reservation) -> None:
        kind = self.chance.random()
        held = reservation.held
        if kind < 0.1 or reservation.stage is Stage.HELD:
            reservation.release()
        elif kind < 0.2:
            reservation.settle_zero()
        elif kind < 0.3:
            reservation.charge_in_full()
        elif kind < 0.33:
            over = self.chance.randrange(1, USD // 10)
            reservation.settle(held.amount_nanousd + over)
            for account in held.accounts:
                self.overrun[account] = self.overrun.get(account, 0) + over
        else:
            reservation.settle(self.chance.randrange(0, held.amount_nanousd + 1))

    def check(self, ledger: Ledger) -> None:
        for account, limit in self.limits.items():
            balance = ledger.book.balance(account)
            both = balance.settled_nanousd + balance.pending_nanousd
            assert both <= limit + self.overrun.get(account, 0) or limit == UNLIMITED_NANOUSD


@pytest.mark.fault("P31")
@pytest.mark.fault("T2")
@pytest.mark.parametrize("number", range(4))
async def test_days_of_spending_and_crashing_keep_every_sum(tmp_path: Path, number: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    days = Days(tmp_path / "l", random.Random(seed))
    async with asyncio.timeout(50):
        await days.live()
    assert days.refused + days.waited > 0
