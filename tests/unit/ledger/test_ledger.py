"""The ledger on a real file: what is held, what is booked, and what a start finds."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sutlerd.domain.call import Labels
from sutlerd.domain.errors import BudgetExceeded
from sutlerd.domain.usage import Usage
from sutlerd.ledger import entries
from sutlerd.ledger.entries import Entries
from sutlerd.ledger.place import BALLAST, DATA
from sutlerd.ledger.records import Ended
from sutlerd.system.lmdb_sound import SOUND
from tests.support.event_list import EventList
from tests.support.ledgers import caller, open_ledger_in, reserved, settled, spend, waits
from tests.support.virtual_clock import VirtualClock

USD = 10**9


async def test_what_is_settled_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_ledger_in(tmp_path / "l") as ledger:
        reservation = reserved(ledger.try_reserve(spend(500)))
        await reservation.on_disk()
        reservation.settle(123, usage=Usage(tokens_in=7, tokens_out=2), served="large-2")
        assert settled(ledger) == 123
    async with open_ledger_in(tmp_path / "l") as ledger:
        assert settled(ledger) == settled(ledger, "node/month") == 123
        records = await ledger.store.read(Entries(ledger.store).records)
        assert [(each.state, each.cost_nanousd, each.served) for each in records] == [
            ("settled", 123, "large-2")
        ]
        assert records[0].usage == Usage(tokens_in=7, tokens_out=2)
        assert ledger.unknown() == []
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "l").iterdir()} == {0o600}


@pytest.mark.fault("S10")
async def test_what_was_open_is_charged_in_full_once_and_its_id_is_of_unknown_outcome(
    tmp_path: Path,
) -> None:
    told: list[Ended] = []
    log = EventList()
    async with open_ledger_in(tmp_path / "l") as ledger:
        lost = reserved(ledger.try_reserve(spend(500, "mine")))
        await lost.on_disk()
        released = reserved(ledger.try_reserve(spend(70, "released")))
        await released.on_disk()
        released.release()
        reserved(ledger.try_reserve(spend(9000, "held in memory only")))
    for _ in range(3):
        async with open_ledger_in(
            tmp_path / "l", log=log, tell=lambda ended, priced: told.append(ended)
        ) as ledger:
            assert settled(ledger) == 500
            assert [each.held.request_id for each in ledger.unknown()] == ["mine"]
            assert ledger.is_outcome_unknown(1000, "mine")
            assert not ledger.is_outcome_unknown(1001, "mine")
            assert not ledger.is_outcome_unknown(1000, "released")
    assert [(each.state, each.cost_nanousd) for each in told] == [("unknown", 500)]
    assert log.names() == ["unknown_outcomes"]


@pytest.mark.fault("S10")
async def test_what_was_paid_just_before_a_crash_is_not_bought_again_under_its_id(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        for name, cost in (("long ago", 5), ("answered", 5), ("free", 0)):
            clock.advance(50.0)
            reservation = reserved(ledger.try_reserve(spend(500, name)))
            await reservation.on_disk()
            reservation.settle(cost, usage=Usage(tokens_in=7, tokens_out=2), served="large-2")
    (tmp_path / "l" / SOUND).unlink()  # which only a clean stop leaves
    # Its answer is kept elsewhere, and perhaps was not yet.
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        assert ledger.is_outcome_unknown(1000, "answered")
        assert not ledger.is_outcome_unknown(1000, "free")
        assert not ledger.is_outcome_unknown(1000, "long ago")
        assert ledger.unknown() == []


async def test_an_operator_amends_what_is_unknown_once(tmp_path: Path) -> None:
    async with open_ledger_in(tmp_path / "l") as ledger:
        await reserved(ledger.try_reserve(spend(500))).on_disk()
    async with open_ledger_in(tmp_path / "l") as ledger:
        (unknown,) = ledger.unknown()
        await ledger.amend(unknown.held.attempt, 200, why="the provider's invoice")
        assert settled(ledger) == 200
        with pytest.raises(KeyError):
            await ledger.amend(unknown.held.attempt, 0, why="again")
    async with open_ledger_in(tmp_path / "l") as ledger:
        assert settled(ledger) == 200
        assert ledger.unknown() == []


async def test_a_call_waits_while_what_is_open_may_settle_to_less_and_is_refused_after(
    tmp_path: Path,
) -> None:
    freed: list[int] = []
    async with open_ledger_in(tmp_path / "l", daily_limit_usd=Decimal(1)) as ledger:
        ledger.on_freed = lambda accounts: freed.append(1)
        first = reserved(ledger.try_reserve(spend(700_000_000)))
        refusal = waits(ledger.try_reserve(spend(400_000_000))).refusal
        assert refusal.data["pending_nanousd"] == 700_000_000
        await first.on_disk()
        first.settle(650_000_000)
        assert freed
        refused = ledger.try_reserve(spend(400_000_000))
        assert isinstance(refused, BudgetExceeded)
        assert refused.data == {
            "budget": "daily",
            "scope": "node",
            "limit_nanousd": USD,
            "settled_nanousd": 650_000_000,
            "pending_nanousd": 0,
            "needed_nanousd": 400_000_000,
            "resets_at": "2027-01-16T00:00:00+00:00",
        }
        reserved(ledger.try_reserve(spend(350_000_000)))


async def test_what_is_free_needs_neither_budget_nor_disk(tmp_path: Path) -> None:
    told: list[tuple[Ended, bool]] = []
    async with open_ledger_in(
        tmp_path / "l",
        daily_limit_usd=Decimal(0),
        tell=lambda ended, priced: told.append((ended, priced)),
    ) as ledger:
        for worst_case in (0, None):
            free = reserved(ledger.try_reserve(spend(worst_case)))
            await free.on_disk()
            free.settle(0, usage=Usage(tokens_in=3))
        assert ledger.store.commits == 0
        assert [priced for _, priced in told] == [True, False]
        assert [ended.usage for ended, _ in told] == [Usage(tokens_in=3)] * 2


async def test_each_reservation_ends_exactly_once(tmp_path: Path) -> None:
    async with open_ledger_in(tmp_path / "l") as ledger:
        reservation = reserved(ledger.try_reserve(spend(5)))
        await reservation.on_disk()
        reservation.settle_zero()
        for end in (reservation.release, reservation.settle_zero, reservation.charge_in_full):
            with pytest.raises(ValueError):
                end()
        assert settled(ledger) == 0


@pytest.mark.fault("P31")
async def test_a_bill_above_the_worst_case_is_booked_in_full_and_more_is_held_from_then_on(
    tmp_path: Path,
) -> None:
    log = EventList()
    async with open_ledger_in(tmp_path / "l", log=log, daily_limit_usd=Decimal(1)) as ledger:
        reservation = reserved(ledger.try_reserve(spend(300_000_000)))
        await reservation.on_disk()
        reservation.settle(900_000_000)
        assert settled(ledger) == 900_000_000
        assert log.names() == ["overrun"]
        assert ledger.overruns == 1
        assert reserved(ledger.try_reserve(spend(33_000_000))).amount_nanousd == 99_000_000
    async with open_ledger_in(tmp_path / "l", daily_limit_usd=Decimal(1)) as ledger:
        assert reserved(ledger.try_reserve(spend(33_000_000))).amount_nanousd == 99_000_000
        again = reserved(ledger.try_reserve(spend(1)))
        await again.on_disk()
        again.settle(300_000_000)
        refused = ledger.try_reserve(spend(1))
        assert isinstance(refused, BudgetExceeded)
        assert refused.data["settled_nanousd"] == 1_200_000_000


async def test_labels_only_subdivide_what_a_uid_may_spend(tmp_path: Path) -> None:
    rules = [
        {"per": "project", "match": "apollo", "limit_usd": Decimal(2)},
        {"per": "uid", "limit_usd": Decimal(3)},
    ]
    async with open_ledger_in(tmp_path / "l", rules=rules) as ledger:
        apollo, gemini = Labels(project="apollo"), Labels(project="gemini")
        reserved(ledger.try_reserve(spend(2 * USD, labels=apollo)))
        waits(ledger.try_reserve(spend(1, labels=apollo)))
        reserved(ledger.try_reserve(spend(USD, labels=gemini)))
        waits(ledger.try_reserve(spend(1, labels=gemini)))
        # Another user's apollo is another account, which nobody else can empty.
        reserved(ledger.try_reserve(spend(2 * USD, labels=apollo, caller=caller(1001))))


@pytest.mark.fault("T4")
async def test_a_call_over_midnight_is_charged_to_the_day_of_its_reservation(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(unix_s=1_800_057_600.0 - 2)  # two seconds before midnight, UTC
    for recovered in (False, True):
        folder = tmp_path / str(recovered)
        async with open_ledger_in(folder, clock=clock, daily_limit_usd=Decimal(1)) as ledger:
            old = ledger.day()
            reservation = reserved(ledger.try_reserve(spend(USD)))
            await reservation.on_disk()
            clock.advance(7)
            new = ledger.day()
            assert old < new
            if not recovered:
                reservation.settle(USD)
        async with open_ledger_in(folder, clock=clock, daily_limit_usd=Decimal(1)) as ledger:
            spans = {a.span: amount for a, amount in ledger.book.settled().items()}
            assert spans[old] == USD
            assert new not in spans
            reserved(ledger.try_reserve(spend(USD)))
        clock.advance(86_400 - 7)


@pytest.mark.fault("T2")
async def test_a_clock_that_goes_back_opens_no_second_budget_also_across_a_restart(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock, daily_limit_usd=Decimal(1)) as ledger:
        day = ledger.day()
        reservation = reserved(ledger.try_reserve(spend(USD)))
        await reservation.on_disk()
        reservation.settle(USD)
        clock.jump_unix(-86_400)
        assert isinstance(ledger.try_reserve(spend(1)), BudgetExceeded)
    async with open_ledger_in(tmp_path / "l", clock=clock, daily_limit_usd=Decimal(1)) as ledger:
        assert ledger.day() == day
        assert isinstance(ledger.try_reserve(spend(1)), BudgetExceeded)
    boots_in_1970 = VirtualClock(unix_s=60.0, boottime_s=20.0)
    async with open_ledger_in(
        tmp_path / "l", clock=boots_in_1970, daily_limit_usd=Decimal(1)
    ) as ledger:
        assert ledger.day() == day
        assert isinstance(ledger.try_reserve(spend(1)), BudgetExceeded)


async def test_old_records_and_balances_are_dropped_once_a_day(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock, rows_days=40) as ledger:
        for _ in range(45):
            reservation = reserved(ledger.try_reserve(spend(10)))
            await reservation.on_disk()
            reservation.settle(10)
            await ledger.tend()
            clock.advance(86_400)
        await ledger.tend()
        records = await ledger.store.read(Entries(ledger.store).records)
        assert len(records) == 40
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        assert settled(ledger) == 0
        assert settled(ledger, "node/total") == 450


async def test_a_day_of_more_calls_than_are_dropped_at_once_is_dropped_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_PRUNED_AT_ONCE", 10)
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        for _ in range(35):
            reservation = reserved(ledger.try_reserve(spend(10)))
            await reservation.on_disk()
            reservation.settle(10)
        await ledger.tend()
        clock.advance(40 * 86_400)
        for left in (25, 15, 5, 1, 1):
            await ledger.tend()
            await ledger.store.flush()
            assert len(await ledger.store.read(Entries(ledger.store).records)) == left


async def test_the_folder_holds_what_it_should(tmp_path: Path) -> None:
    async with open_ledger_in(tmp_path / "l"):
        assert {DATA, "lock.mdb", BALLAST} <= {path.name for path in (tmp_path / "l").iterdir()}


@pytest.mark.fault("T1")
async def test_a_clock_that_jumps_forward_opens_a_new_day_only_when_it_has_stood(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock, daily_limit_usd=Decimal(1)) as ledger:
        day = ledger.day()
        reservation = reserved(ledger.try_reserve(spend(USD)))
        await reservation.on_disk()
        reservation.settle(USD)
        for jump_s in (3600.0 * 24, 86_400.0 * 366):
            clock.jump_unix(jump_s)
            assert isinstance(ledger.try_reserve(spend(1)), BudgetExceeded)
            clock.advance(60)
            assert isinstance(ledger.try_reserve(spend(1)), BudgetExceeded)
            clock.jump_unix(-jump_s)
            await ledger.tend()
            assert ledger.day() == day
        clock.jump_unix(86_400)
        for _ in range(12):
            await ledger.tend()
            clock.advance(60)
        assert ledger.day() > day
        reserved(ledger.try_reserve(spend(USD)))


@pytest.mark.fault("T1")
@pytest.mark.fault("T2")
async def test_a_clock_that_is_not_believed_is_logged_once_and_shown(tmp_path: Path) -> None:
    clock, log = VirtualClock(), EventList()
    async with open_ledger_in(tmp_path / "l", clock=clock, log=log) as ledger:

        async def through(seconds: int) -> None:
            for _ in range(seconds // 60):
                clock.advance(60)
                await ledger.tend()

        await through(60)
        clock.jump_unix(-3600)
        await through(300)
        assert ledger.time.standing() == ("jumped", pytest.approx(-3600))
        await through(600)
        state, by_s = ledger.time.standing()
        assert (state, 0 < by_s < 3600) == ("behind", True)
        await through(3600)
        assert ledger.time.standing() == ("ok", 0.0)
        assert log.names() == ["budget_clock"] * 3


@pytest.mark.fault("T3")
@pytest.mark.parametrize(
    ("now_unix_s", "resets_at"),
    [
        (1_774_700_000.0, "2026-03-29T00:00:00+01:00"),  # the day before the one of 23 hours
        (1_774_750_000.0, "2026-03-30T00:00:00+02:00"),
        (1_792_900_000.0, "2026-10-26T00:00:00+01:00"),  # the day of 25 hours
    ],
)
async def test_a_refusal_says_to_the_second_when_the_budget_starts_anew(
    tmp_path: Path, now_unix_s: float, resets_at: str
) -> None:
    async with open_ledger_in(
        tmp_path / "l",
        clock=VirtualClock(unix_s=now_unix_s),
        daily_limit_usd=Decimal(1),
        timezone="Europe/Berlin",
    ) as ledger:
        refused = ledger.try_reserve(spend(2 * USD))
        assert isinstance(refused, BudgetExceeded)
        assert refused.data["resets_at"] == resets_at
