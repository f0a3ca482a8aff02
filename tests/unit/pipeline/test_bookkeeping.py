"""Accounts on the ledger's file: the same money to the nano-dollar, whatever is killed when."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from sutlerd.domain.call import Labels, Route
from sutlerd.domain.usage import Usage
from sutlerd.ledger.reservation import Reservation
from sutlerd.ledger.rows import Payer
from sutlerd.pipeline.account_views import Wanted
from sutlerd.system.exits import CannotStart, Exit
from tests.support.kept_accounts import Kept, keep_accounts_in
from tests.support.ledgers import caller, reserved, spend
from tests.support.virtual_clock import VirtualClock

DAY_S = 86_400.0
COMPONENTS = ("planner", "memory", None)


def some_spend(chance: random.Random) -> Any:
    worst_case = chance.choice([0, None, chance.randrange(1, 10**9)])
    return spend(
        worst_case,
        caller=caller(chance.choice([1000, 1001]), job=chance.choice([None, "77"])),
        labels=Labels(component=chance.choice(COMPONENTS)),
        route=Route(provider=chance.choice(["acme", "local"]), model=chance.choice(["a", "b"])),
    )


def ended_somehow(chance: random.Random, reservation: Reservation) -> None:
    usage = Usage(tokens_in=chance.randrange(1000), tokens_out=chance.randrange(1000))
    match chance.randrange(4):
        case 0:
            reservation.settle_zero()
        case 1:
            reservation.charge_in_full(usage=usage)
        case _:
            cost = chance.randrange(reservation.amount_nanousd + 1)
            reservation.settle(cost, usage=usage, served="served")


async def money(kept: Kept) -> tuple[dict[str, int], dict[str, int]]:
    """Give what the accounts say that each day cost, and what the ledger has settled."""
    result = await kept.views.usage(Wanted(since="1970-01-01", until="9999-12-31"), ["day"])
    told = {row["day"]: row["cost_nanousd"] for row in result["rows"]}
    settled = {
        account.span: amount
        for account, amount in kept.ledger.book.settled().items()
        if account.budget == "node/day" and amount
    }
    return {day: cost for day, cost in told.items() if cost}, settled


@pytest.mark.parametrize("seed", range(6))
async def test_accounts_and_ledger_agree_to_the_nano_dollar_through_kills(
    tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    clock = VirtualClock()
    for life in range(4):
        folder = tmp_path / str(life)
        async with keep_accounts_in(folder, clock) as kept:
            assert (await money(kept))[0] == (await money(kept))[1]
            underway: list[Reservation] = []
            for _ in range(60):
                clock.advance(chance.choice([1.0, 60.0, DAY_S / 8]))
                if underway and chance.random() < 0.45:
                    ended_somehow(chance, underway.pop(chance.randrange(len(underway))))
                else:
                    reservation = reserved(kept.ledger.try_reserve(some_spend(chance)))
                    await reservation.on_disk()
                    underway.append(reservation)
                if chance.random() < 0.2:
                    kept.bookkeeping.store()
                if chance.random() < 0.05:
                    told, settled = await money(kept)
                    assert told == settled
            # As kill -9 leaves it: what is written so far, and nothing of what is not.
            if chance.random() < 0.5:
                await kept.store.flush()
            shutil.copytree(folder, tmp_path / str(life + 1))
        async with keep_accounts_in(folder, clock) as kept:
            told, settled = await money(kept)
            assert told == settled


async def test_an_amended_attempt_is_amended_in_the_accounts(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with keep_accounts_in(tmp_path / "a", clock) as kept:
        await reserved(kept.ledger.try_reserve(spend(500, "lost"))).on_disk()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with keep_accounts_in(tmp_path / "b", clock) as kept:
        (row,) = (await kept.views.usage(Wanted(), ["uid"]))["rows"]
        assert (row["attempts"], row["unknown"], row["cost_nanousd"]) == (1, 1, 500)
        (unknown,) = kept.ledger.unknown()
        await kept.ledger.amend(unknown.held.attempt, 120, why="the provider's bill")
        (row,) = (await kept.views.usage(Wanted(), ["uid"]))["rows"]
        assert (row["attempts"], row["unknown"], row["cost_nanousd"]) == (1, 0, 120)
    async with keep_accounts_in(tmp_path / "b", clock) as kept:
        assert (await money(kept))[0] == (await money(kept))[1]
        (row,) = (await kept.views.usage(Wanted(), ["uid"]))["rows"]
        assert (row["attempts"], row["unknown"], row["cost_nanousd"]) == (1, 0, 120)


def asked(kept: Kept, name: str, **fields: Any) -> None:
    """Enter a request that was refused, as the shortest of all calls."""
    kept.accounting.refused(caller(**fields), {"component": "x"}, name, "chat", "overloaded")


def free(kept: Kept, name: str, uid: int) -> None:
    reserved(kept.ledger.try_reserve(spend(0, name, caller=caller(uid)))).settle(0)


async def bought(kept: Kept, name: str, cost_nanousd: int) -> None:
    reservation = reserved(kept.ledger.try_reserve(spend(cost_nanousd, name)))
    await reservation.on_disk()
    reservation.settle(cost_nanousd, served="served")


async def test_days_that_are_over_are_read_from_the_disk(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with keep_accounts_in(tmp_path, clock) as kept:
        for _ in range(12):
            asked(kept, "r")
            await bought(kept, "r", 7)
            kept.bookkeeping.store()
            kept.bookkeeping.tidy()
            clock.advance(DAY_S)
        assert kept.accounting.accounts.count < 12
        result = await kept.views.usage(Wanted(), ["day"])
        assert [(row["calls"], row["cost_nanousd"]) for row in result["rows"]] == [(1, 7)] * 12
        first = result["rows"][0]["day"]
        result = await kept.views.usage(Wanted(since=first, until=first), [])
        assert result["total"]["calls"] == 1


async def test_what_was_entered_is_there_after_a_stop(tmp_path: Path) -> None:
    clock = VirtualClock()
    for times in range(1, 4):
        async with keep_accounts_in(tmp_path, clock) as kept:
            asked(kept, "r")
            tally = kept.accounting.hit_tallies.of(Payer(5, None, "planner"), "acme", "large")
            tally.hits += 10
            tally.saved_nanousd += 1000
            (mine,) = (await kept.views.usage(Wanted(uid=5), ["component"]))["rows"]
            assert (mine["cached"], mine["saved_nanousd"]) == (10 * times, 1000 * times)
            assert (await kept.views.usage(Wanted(), []))["total"]["errors"] == times


async def test_single_calls_are_kept_for_their_days_with_all_of_their_attempts(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with keep_accounts_in(tmp_path, clock, rows_days=2) as kept:
        await bought(kept, "old", 1)
        clock.advance(3 * DAY_S)
        await bought(kept, "new", 5)
        await bought(kept, "new", 6)
        kept.bookkeeping.tidy()
        result = await kept.views.calls(Wanted())
        (call,) = result["rows"]
        assert (call["request_id"], call["attempts"], call["cost_nanousd"]) == ("new", 2, 11)
        assert (await kept.views.calls(Wanted(uid=4)))["rows"] == []
        assert (await kept.views.usage(Wanted(), []))["total"]["cost_nanousd"] == 12


async def test_no_single_call_is_kept_where_none_shall_be(tmp_path: Path) -> None:
    async with keep_accounts_in(tmp_path, VirtualClock(), rows_days=0) as kept:
        await bought(kept, "r", 5)
        free(kept, "r", 1)
        assert (await kept.views.calls(Wanted()))["rows"] == []
        total = (await kept.views.usage(Wanted(), []))["total"]
        assert (total["attempts"], total["cost_nanousd"]) == (2, 5)


async def test_a_list_of_single_calls_is_read_a_piece_at_a_time_from_its_end(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with keep_accounts_in(tmp_path, clock) as kept:
        for number in range(2500):
            clock.advance(0.5)
            free(kept, f"r{number}", number % 2)
            if number % 500 == 499:
                kept.bookkeeping.store()
        rows = (await kept.views.calls(Wanted(uid=1)))["rows"]
        assert [row["request_id"] for row in rows] == [f"r{n}" for n in range(1, 2500, 2)]


async def test_a_sum_that_is_not_as_it_was_written_is_found(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with keep_accounts_in(tmp_path, clock) as kept:
        await bought(kept, "r", 5)
    path = tmp_path / "data.mdb"
    data = path.read_bytes()
    place = data.index(b'"served"]')
    path.write_bytes(data[:place] + b'"Served"]' + data[place + 9 :])
    with pytest.raises(CannotStart, match="ledger check") as refused:
        async with keep_accounts_in(tmp_path, clock):
            pass
    assert refused.value.exit_code is Exit.STORAGE
