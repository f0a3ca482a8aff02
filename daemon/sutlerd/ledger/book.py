"""The book: what is settled and what is held of every budget. Pure: no clock, no disk.

Money is reserved in every budget that a call touches, or in none, before a provider may be
contacted, and each reservation ends exactly once:

    reserved -> settled   the provider answered: booked at the true cost, even above the hold
    reserved -> void      the provider was surely not contacted: booked at nothing
    reserved -> unknown   nobody can say: booked in full, until an operator knows better
    unknown  -> settled   an operator's word, once

As long as no settlement is above its hold, settled and held together never pass a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from sutlerd.domain.record import record


class Account(NamedTuple):
    """One budget's money of one subject in one period, e.g. ``uid/day``, ``uid:1000``, a day.

    A tuple, since each call looks accounts up some thirty times, and a tuple is hashed and
    compared in C.
    """

    budget: str
    subject: str
    span: str


@record
class Touched:
    """An account that a call touches, and the limit that holds for it now."""

    account: Account
    limit_nanousd: int


class State(Enum):
    RESERVED = "reserved"
    SETTLED = "settled"
    VOID = "void"
    UNKNOWN = "unknown"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.RESERVED: frozenset({State.SETTLED, State.VOID, State.UNKNOWN}),
        State.UNKNOWN: frozenset({State.SETTLED}),
        State.SETTLED: frozenset(),
        State.VOID: frozenset(),
    }
)


@record
class Hold:
    """Money held for one attempt. ``state`` is ``RESERVED`` or ``UNKNOWN``: what has ended for
    good is no longer kept here."""

    attempt: str
    accounts: tuple[Account, ...]
    amount_nanousd: int
    state: State


@record
class Balance:
    """``settled_nanousd`` includes what is unknown, at its full amount."""

    settled_nanousd: int = 0
    pending_nanousd: int = 0


@record
class Granted:
    hold: Hold


@record
class Short:
    """A budget that does not admit a call. ``may_help`` says that it would if all that is held
    there were settled at nothing, so that waiting can help."""

    account: Account
    limit_nanousd: int
    balance: Balance
    needed_nanousd: int
    may_help: bool


class Book:
    """The balances of all accounts and the holds that are open; mutable, one per daemon."""

    def __init__(
        self, *, settled_nanousd: Mapping[Account, int] | None = None, holds: Iterable[Hold] = ()
    ) -> None:
        self._settled = dict(settled_nanousd or {})
        self._pending: dict[Account, int] = {}
        self._holds: dict[str, Hold] = {}
        for hold in holds:
            self._holds[hold.attempt] = hold
            if hold.state is State.RESERVED:
                self._add(self._pending, hold.accounts, hold.amount_nanousd)

    def reserve(
        self, attempt: str, touched: Sequence[Touched], amount_nanousd: int
    ) -> Granted | Short:
        """Hold an amount in every account, or in none.

        What costs nothing is always granted. Of several budgets that are short, the one for
        which waiting cannot help is told first. Raises ``ValueError`` for an attempt that is
        held already, a negative amount, or an account named twice.
        """
        accounts = tuple(each.account for each in touched)
        if attempt in self._holds or amount_nanousd < 0 or len(set(accounts)) < len(accounts):
            raise ValueError(f"attempt {attempt!r} cannot reserve {amount_nanousd}")
        if amount_nanousd:
            short = [found for each in touched if (found := self._short(each, amount_nanousd))]
            if short:
                return min(short, key=lambda each: each.may_help)
        hold = Hold(
            attempt=attempt,
            accounts=accounts,
            amount_nanousd=amount_nanousd,
            state=State.RESERVED,
        )
        self._holds[attempt] = hold
        self._add(self._pending, accounts, amount_nanousd)
        return Granted(hold=hold)

    def settle(self, attempt: str, cost_nanousd: int) -> int:
        """Book the true cost; give how much of it was above the hold, usually nothing.

        Also an operator's word on what was unknown. Raises ``ValueError`` for a negative cost,
        and for an attempt that is not open.
        """
        if cost_nanousd < 0:
            raise ValueError(f"attempt {attempt!r} cannot cost {cost_nanousd}")
        hold = self._leave(attempt, State.SETTLED)
        del self._holds[attempt]
        self._add(self._settled, hold.accounts, cost_nanousd)
        return max(0, cost_nanousd - hold.amount_nanousd)

    def void(self, attempt: str) -> None:
        """Give everything back: the provider was surely not contacted."""
        self._leave(attempt, State.VOID)
        del self._holds[attempt]

    def lose(self, attempt: str) -> None:
        """Book the whole amount: nobody can say what the attempt cost."""
        hold = self._leave(attempt, State.UNKNOWN)
        self._add(self._settled, hold.accounts, hold.amount_nanousd)
        self._holds[attempt] = Hold(
            attempt=attempt,
            accounts=hold.accounts,
            amount_nanousd=hold.amount_nanousd,
            state=State.UNKNOWN,
        )

    def recover(self) -> list[Hold]:
        """Lose all that was under way when the daemon died; give it. Harmless when repeated."""
        lost = [hold for hold in self._holds.values() if hold.state is State.RESERVED]
        for hold in lost:
            self.lose(hold.attempt)
        return lost

    def balance(self, account: Account) -> Balance:
        return Balance(
            settled_nanousd=self._settled.get(account, 0),
            pending_nanousd=self._pending.get(account, 0),
        )

    @property
    def open_count(self) -> int:
        """How many holds are kept, those that are unknown included."""
        return len(self._holds)

    def holds(self, state: State) -> list[Hold]:
        return [hold for hold in self._holds.values() if hold.state is state]

    def accounts(self) -> set[Account]:
        """Give every account in which anything is booked or held."""
        return {*self._settled, *self._pending}

    def settled(self) -> dict[Account, int]:
        """Give what is settled in every account, as a book can be begun from."""
        return dict(self._settled)

    def forget(self, spans: Iterable[str]) -> None:
        """Drop the accounts of periods that are over and in which nothing is open."""
        over = set(spans)
        busy = {account for hold in self._holds.values() for account in hold.accounts}
        for account in [a for a in self._settled if a.span in over and a not in busy]:
            del self._settled[account]

    def _short(self, touched: Touched, amount_nanousd: int) -> Short | None:
        balance = self.balance(touched.account)
        after_nanousd = balance.settled_nanousd + amount_nanousd
        if after_nanousd + balance.pending_nanousd <= touched.limit_nanousd:
            return None
        return Short(
            account=touched.account,
            limit_nanousd=touched.limit_nanousd,
            balance=balance,
            needed_nanousd=amount_nanousd,
            may_help=after_nanousd <= touched.limit_nanousd,
        )

    def _leave(self, attempt: str, state: State) -> Hold:
        """Take an attempt's amount back from where it is booked now."""
        hold = self._holds.get(attempt)
        if hold is None or state not in TRANSITIONS[hold.state]:
            known = "not open" if hold is None else hold.state.value
            raise ValueError(f"attempt {attempt!r} is {known}: it cannot become {state.value}")
        booked = self._pending if hold.state is State.RESERVED else self._settled
        self._add(booked, hold.accounts, -hold.amount_nanousd)
        return hold

    @staticmethod
    def _add(booked: dict[Account, int], accounts: Iterable[Account], by_nanousd: int) -> None:
        for account in accounts:
            left = booked.get(account, 0) + by_nanousd
            if left:
                booked[account] = left
            else:
                booked.pop(account, None)
