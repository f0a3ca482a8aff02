"""The book against a model that keeps every record and adds them up anew each time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sutlerd.ledger.book import TRANSITIONS, Account, Balance, Book, Granted, Short, State, Touched

LIMITS = {
    Account(budget="daily", subject="node", span="2026-11-23"): 1000,
    Account(budget="daily", subject="node", span="2026-11-24"): 1000,
    Account(budget="user", subject="uid:1", span="2026-11-23"): 400,
    Account(budget="user", subject="uid:2", span="2026-11-23"): 0,
    Account(budget="ever", subject="node", span="total"): 1500,
}
NODE, _, USER, NOTHING, EVER = LIMITS


def touched(*accounts: Account) -> list[Touched]:
    return [Touched(account=each, limit_nanousd=LIMITS[each]) for each in accounts]


@dataclass
class Record:
    """All that ever happened to one attempt."""

    accounts: tuple[Account, ...]
    amount: int
    state: State
    cost: int = 0


class BookMachine(RuleBasedStateMachine):
    """Reserves, ends and crashes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.records: dict[str, Record] = {}
        self.overrun = dict.fromkeys(LIMITS, 0)

    def total(self, account: Account, *states: State) -> int:
        return sum(
            record.cost if record.state is State.SETTLED else record.amount
            for record in self.records.values()
            if account in record.accounts and record.state in states
        )

    def some(self, data: st.DataObject, *states: State) -> str:
        names = [name for name, record in self.records.items() if record.state in states]
        return data.draw(st.sampled_from(names))

    def has(self, *states: State) -> bool:
        return any(record.state in states for record in self.records.values())

    @rule(accounts=st.sets(st.sampled_from(list(LIMITS))), amount=st.integers(0, 600))
    def reserve(self, accounts: set[Account], amount: int) -> None:
        name, wanted = f"a{len(self.records)}", tuple(sorted(accounts))
        settled = {a: self.total(a, State.SETTLED, State.UNKNOWN) for a in wanted}
        pending = {a: self.total(a, State.RESERVED) for a in wanted}
        fits = all(settled[a] + pending[a] + amount <= LIMITS[a] for a in wanted)
        answer = self.book.reserve(name, touched(*wanted), amount)
        assert isinstance(answer, Granted) == (fits or amount == 0)
        if isinstance(answer, Short):
            assert answer.may_help == all(settled[a] + amount <= LIMITS[a] for a in wanted)
            return
        self.records[name] = Record(wanted, amount, State.RESERVED)

    @precondition(lambda self: self.has(State.RESERVED, State.UNKNOWN))
    @rule(data=st.data(), part=st.floats(0, 1), above=st.integers(-50, 5))
    def settle(self, data: st.DataObject, part: float, above: int) -> None:
        name = self.some(data, State.RESERVED, State.UNKNOWN)
        record = self.records[name]
        record.cost = int(record.amount * part) if above <= 0 else record.amount + above
        over = max(0, above)
        assert self.book.settle(name, record.cost) == over
        record.state = State.SETTLED
        for account in record.accounts:
            self.overrun[account] += over

    @precondition(lambda self: self.has(State.RESERVED))
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        name = self.some(data, State.RESERVED)
        self.book.void(name)
        self.records[name].state = State.VOID

    @precondition(lambda self: self.has(State.RESERVED))
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        name = self.some(data, State.RESERVED)
        self.book.lose(name)
        self.records[name].state = State.UNKNOWN

    @precondition(lambda self: bool(self.records))
    @rule(data=st.data(), state=st.sampled_from([State.SETTLED, State.VOID, State.UNKNOWN]))
    def end_once_more(self, data: st.DataObject, state: State) -> None:
        name = data.draw(st.sampled_from(list(self.records)))
        if state in TRANSITIONS[self.records[name].state]:
            return
        ends = {
            State.SETTLED: lambda: self.book.settle(name, 1),
            State.VOID: lambda: self.book.void(name),
            State.UNKNOWN: lambda: self.book.lose(name),
        }
        with pytest.raises(ValueError, match=name):
            ends[state]()

    @rule(killed_again=st.booleans())
    def crash(self, killed_again: bool) -> None:
        for _ in range(1 + killed_again):
            holds = self.book.holds(State.RESERVED) + self.book.holds(State.UNKNOWN)
            self.book = Book(settled_nanousd=self.book.settled(), holds=holds)
            lost = self.book.recover()
            names = {n for n, r in self.records.items() if r.state is State.RESERVED}
            assert {hold.attempt for hold in lost} == names
            for name in names:
                self.records[name].state = State.UNKNOWN

    @invariant()
    def every_balance_is_the_sum_of_its_records(self) -> None:
        for account in LIMITS:
            assert self.book.balance(account) == Balance(
                settled_nanousd=self.total(account, State.SETTLED, State.UNKNOWN),
                pending_nanousd=self.total(account, State.RESERVED),
            )

    @invariant()
    def settled_and_pending_never_pass_a_limit_but_by_what_was_billed_above_a_hold(self) -> None:
        for account, limit in LIMITS.items():
            balance = self.book.balance(account)
            both = balance.settled_nanousd + balance.pending_nanousd
            assert both <= limit + self.overrun[account]


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_call_is_held_in_every_budget_or_in_none() -> None:
    book = Book()
    refused = book.reserve("a", touched(NODE, USER, NOTHING), 10)
    assert isinstance(refused, Short)
    assert (refused.account, refused.needed_nanousd, refused.may_help) == (NOTHING, 10, False)
    assert book.balance(NODE) == book.balance(USER) == Balance()


def test_waiting_can_help_only_where_open_holds_may_settle_to_less() -> None:
    book = Book()
    book.reserve("a", touched(USER), 300)
    short = book.reserve("b", touched(USER), 200)
    assert isinstance(short, Short)
    assert short.may_help
    book.settle("a", 300)
    short = book.reserve("b", touched(USER), 200)
    assert isinstance(short, Short)
    assert not short.may_help


def test_what_costs_nothing_passes_a_budget_that_is_spent() -> None:
    book = Book()
    book.reserve("a", touched(USER), 400)
    book.settle("a", 450)
    assert isinstance(book.reserve("b", touched(USER, NOTHING), 0), Granted)


def test_a_bill_above_its_hold_is_booked_in_full() -> None:
    book = Book()
    book.reserve("a", touched(USER), 300)
    assert book.settle("a", 900) == 600
    assert book.balance(USER).settled_nanousd == 900


def test_a_call_belongs_to_the_day_of_its_reservation() -> None:
    book = Book()
    book.reserve("first", touched(NODE), 50)
    book.settle("first", 50)
    book.reserve("a", touched(NODE, EVER), 300)
    book.forget(["2026-11-23"])
    book.settle("a", 200)
    assert book.balance(NODE).settled_nanousd == 250
    assert [account.span for account in book.settled()] == ["2026-11-23", "total"]
    book.forget(["2026-11-23"])
    assert [account.span for account in book.settled()] == ["total"]


def test_what_is_impossible_is_refused_loudly() -> None:
    book = Book()
    book.reserve("a", touched(NODE), 1)
    for attempt, accounts, amount in (("a", (NODE,), 1), ("b", (NODE, NODE), 1), ("b", (), -1)):
        with pytest.raises(ValueError):
            book.reserve(attempt, touched(*accounts), amount)
    with pytest.raises(ValueError):
        book.settle("a", -1)
    assert book.balance(NODE) == Balance(pending_nanousd=1)
