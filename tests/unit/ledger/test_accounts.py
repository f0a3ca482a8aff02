"""Accounts against a list of all rows, whatever comes in and however often they are stored."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.call import Labels
from sutlerd.domain.caller import Caller
from sutlerd.ledger.accounts import OTHER, AccountLimits, Accounts, Unstored, stored_key
from sutlerd.ledger.rows import (
    FIGURES,
    MAX_NAME_CHARS,
    Payer,
    UsageRow,
    bounded,
    payer_of,
)
from sutlerd.ledger.sums import GROUPS, AccountKey, Sums, grouped

DAYS = ("2026-11-22", "2026-11-23", "2026-11-24")
names = st.one_of(st.none(), st.sampled_from(["planner", "memory", OTHER]))
figures = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, 10**20) for name in FIGURES if name != "calls"}
)
rows = st.builds(
    lambda figures, **fields: UsageRow(
        request_id="r", unix_s=0.0, kind="chat", **fields, **figures
    ),
    figures=figures,
    calls=st.just(1),
    day=st.sampled_from(DAYS),
    payer=st.builds(Payer, st.integers(0, 2), names, names, names),
    provider=st.sampled_from(["anthropic", "ollama", ""]),
    model=st.sampled_from(["large", "small", ""]),
    error=st.sampled_from([None, "timeout", "rate_limited"]),
    prompt=st.sampled_from([None, "plan@1.0 abcd"]),
)


def whole(accounts: Accounts) -> dict[str, Any]:
    entries = accounts.entries(since=DAYS[0], until=DAYS[-1])
    (total,) = grouped(entries, []) or [Sums().to_wire()]
    return total


@given(st.lists(rows), st.integers(0, 4))
def test_sums_are_those_of_all_rows_however_few_accounts_there_may_be(
    given_rows: list[UsageRow], room: int
) -> None:
    limits = AccountLimits(labelled=room, per_uid=room + 2, per_day=3 * room + 5)
    accounts = Accounts(limits=limits)
    for row in given_rows:
        accounts.add(row)
    total = whole(accounts)
    assert {name: total[name] for name in FIGURES} == {
        name: sum(getattr(row, name) for row in given_rows) for name in FIGURES
    }
    failed = Counter(row.error for row in given_rows if row.error is not None)
    assert total["error_types"] == failed
    assert total["errors"] == failed.total()
    for day in DAYS:
        by_uid = Counter(key.uid for key, _ in accounts.entries(since=day, until=day))
        # One more than the limit: the account of everything else.
        assert all(count <= limits.per_uid + 1 for count in by_uid.values())
        assert by_uid.total() <= limits.per_day + len(by_uid)


@given(st.lists(rows), st.sets(st.sampled_from(GROUPS)))
def test_every_grouping_adds_up_to_the_same(given_rows: list[UsageRow], wanted: set[str]) -> None:
    by = sorted(wanted)
    accounts = Accounts()
    expected: dict[tuple[object, ...], int] = {}
    for row in given_rows:
        accounts.add(row)
        key = AccountKey(row.day, *row.payer, row.provider, row.model)
        group = tuple(getattr(key, name) for name in by)
        expected[group] = expected.get(group, 0) + row.cost_nanousd
    found = grouped(accounts.entries(since=DAYS[0], until=DAYS[-1]), by)
    assert {tuple(row[name] for name in by): row["cost_nanousd"] for row in found} == expected


@given(
    st.lists(st.tuples(rows, st.sampled_from(["wait", "store", "fail", "restart"]))),
    st.sampled_from(["", *DAYS]),
)
def test_what_is_stored_is_what_was_entered_and_a_start_takes_it_up(
    steps: list[tuple[UsageRow, str]], closed_before: str
) -> None:
    disk: dict[AccountKey, Sums] = {}

    def store(taken: dict[AccountKey, Sums]) -> None:
        for key, sums in taken.items():
            disk.setdefault(key, Sums()).add(sums)

    accounts, unstored = Accounts(), Unstored()
    accounts.close_days(before=closed_before)
    for row, then in steps:
        unstored.note(accounts.add(row), row)
        if then == "fail":
            unstored.give_back(unstored.take())
        elif then != "wait":
            store(unstored.take())
        if then == "restart":
            accounts = Accounts()
            accounts.load(Sums.decode(sums.encode(key)) for key, sums in disk.items())
            accounts.close_days(before=closed_before)
    store(unstored.take())
    for name in FIGURES:
        expected = sum(getattr(row, name) for row, _ in steps)
        assert sum(getattr(sums, name) for sums in disk.values()) == expected
        expected = sum(getattr(row, name) for row, _ in steps if row.day >= closed_before)
        assert whole(accounts)[name] == expected


def test_a_uid_that_names_too_much_keeps_its_jobs_and_models_and_takes_nobodys_place() -> None:
    accounts = Accounts(limits=AccountLimits(labelled=2, per_uid=3, per_day=100))

    def enter(uid: int, job: str, component: str) -> None:
        accounts.add(
            UsageRow(
                request_id="r",
                unix_s=0.0,
                day=DAYS[0],
                payer=Payer(uid, job, component),
                provider="anthropic",
                model="large",
                kind="chat",
                calls=1,
            )
        )

    for number in range(50):
        enter(1, "7", f"made up {number}")
    for number in range(50):
        enter(1, str(number), "planner")
    enter(2, "8", "planner")
    found = grouped(accounts.entries(since=DAYS[0], until=DAYS[0]), ["uid", "job", "component"])
    assert [(row["uid"], row["job"], row["component"], row["calls"]) for row in found] == [
        (1, "7", "made up 0", 1),
        (1, "7", "made up 1", 1),
        (1, "7", OTHER, 49),
        (1, OTHER, OTHER, 49),
        (2, "8", "planner", 1),
    ]


def test_names_are_cut_and_keys_on_disk_are_short_and_in_the_order_of_days() -> None:
    endless = "x" * 1000
    caller = Caller(uid=1, gid=1, pid=1, job=endless)
    payer = payer_of(caller, Labels(component=endless, project=""))
    assert payer == Payer(1, bounded(endless), bounded(endless), None)
    assert payer.component is not None
    assert len(payer.component) == MAX_NAME_CHARS
    assert payer.component.endswith("…")
    keys = [stored_key(AccountKey(day, *payer, "ollama", endless)) for day in DAYS]
    assert keys == sorted(keys)
    assert all(len(key) < 100 for key in keys)


@given(rows)
def test_a_row_is_read_as_it_was_written(row: UsageRow) -> None:
    assert UsageRow.decode(row.encode()) == row
