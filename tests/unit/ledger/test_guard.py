"""Which ids are refused after a crash, for how long, through which restarts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sutlerd.domain.record import record
from sutlerd.domain.usage import Usage
from sutlerd.ledger.guard import MAX_CRASHES, UNKNOWN_ID_S, Crash, Guard, with_crash
from sutlerd.ledger.place import ASKERS
from sutlerd.ledger.records import Ended
from sutlerd.ledger.reservation import Reservation
from sutlerd.system.lmdb_sound import SOUND
from tests.support.ledgers import open_ledger_in, reserved, spend
from tests.support.virtual_clock import VirtualClock


@record
class Asker:
    uid: int
    request_id: str


async def paid(reservation: Reservation) -> None:
    await reservation.on_disk()
    reservation.settle(5, usage=Usage(tokens_in=7, tokens_out=2))


@pytest.mark.fault("S10")
async def test_what_a_crash_may_have_lost_is_refused_for_a_day_through_clean_restarts(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        await paid(reserved(ledger.try_reserve(spend(500, "answered"))))
        await reserved(ledger.try_reserve(spend(500, "open"))).on_disk()
    (tmp_path / "l" / SOUND).unlink()  # which only a clean stop leaves
    for number in range(4):
        async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
            assert ledger.is_outcome_unknown(1000, "answered")
            assert ledger.is_outcome_unknown(1000, "open")
            for _ in range(3):
                # Much is paid later on: none of that is in doubt.
                await paid(reserved(ledger.try_reserve(spend(500, f"later {number}"))))
            if number == 1:
                # An operator's word on the cost is none on the answer.
                (unknown,) = ledger.unknown()
                await ledger.amend(unknown.held.attempt, 0, why="the invoice")
            assert not ledger.is_outcome_unknown(1000, f"later {number}")
        clock.advance(UNKNOWN_ID_S / 5)
    clock.advance(UNKNOWN_ID_S / 5 + 1)
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        assert not ledger.is_outcome_unknown(1000, "answered")


@pytest.mark.fault("S10")
async def test_who_shares_an_attempt_is_refused_with_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    askers = [Asker(uid=1000, request_id="payer"), Asker(uid=1000, request_id="before")]
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        shared = reserved(ledger.try_reserve(spend(500, "payer", askers=askers)))
        askers.append(Asker(uid=1000, request_id="while it waits for the disk"))
        await shared.on_disk()
        askers.append(Asker(uid=1000, request_id="while it is asked"))
        shared.write_askers()
        ended = [Asker(uid=1000, request_id="of one that has ended long ago")]
        await paid(reserved(ledger.try_reserve(spend(500, "ended", askers=ended))))
        released = [Asker(uid=1000, request_id="of one that was not sent")]
        unsent = reserved(ledger.try_reserve(spend(500, "unsent", askers=released)))
        await unsent.on_disk()
        unsent.release()
        clock.advance(100.0)
        late = [Asker(uid=1000, request_id="of one that was just paid")]
        await paid(reserved(ledger.try_reserve(spend(500, "", askers=late))))
    (tmp_path / "l" / SOUND).unlink()
    for _ in range(2):
        async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
            for name in (*(each.request_id for each in askers), late[0].request_id):
                assert ledger.is_outcome_unknown(1000, name), name
            for name in (ended[0].request_id, released[0].request_id):
                assert not ledger.is_outcome_unknown(1000, name), name
            kept = await ledger.store.read(lambda txn: txn.stat(ledger.store.database(ASKERS)))
            assert kept["entries"] == 4


@pytest.mark.fault("S10")
async def test_another_users_equal_id_is_refused_with_the_attempt_that_it_shares(
    tmp_path: Path,
) -> None:
    askers = [Asker(uid=1000, request_id="same"), Asker(uid=1001, request_id="same")]
    async with open_ledger_in(tmp_path / "l") as ledger:
        await reserved(ledger.try_reserve(spend(500, "same", askers=askers))).on_disk()
        kept = await ledger.store.read(lambda txn: txn.stat(ledger.store.database(ASKERS)))
        assert kept["entries"] == 1, "who pays is not written twice"
    async with open_ledger_in(tmp_path / "l") as ledger:
        assert ledger.is_outcome_unknown(1000, "same")
        assert ledger.is_outcome_unknown(1001, "same")


@pytest.mark.fault("S10")
async def test_a_crash_doubts_nothing_that_ended_long_before_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        slow = reserved(ledger.try_reserve(spend(500, "slow")))
        await slow.on_disk()
        for number in range(3):
            await paid(reserved(ledger.try_reserve(spend(500, f"long ago {number}"))))
        clock.advance(1000.0)
        slow.settle(5, usage=Usage(tokens_in=7, tokens_out=2))
        await paid(reserved(ledger.try_reserve(spend(500, "just now"))))
        clock.advance(30.0)
        await paid(reserved(ledger.try_reserve(spend(500, "last"))))
    (tmp_path / "l" / SOUND).unlink()
    for _ in range(2):
        async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
            for name in ("slow", "just now", "last"):
                assert ledger.is_outcome_unknown(1000, name), name
            for number in range(3):
                assert not ledger.is_outcome_unknown(1000, f"long ago {number}")


async def test_who_shared_an_attempt_is_forgotten_when_its_answer_is_surely_out(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with open_ledger_in(tmp_path / "l", clock=clock) as ledger:
        names = [Asker(uid=1000, request_id=f"r{number}") for number in range(50)]
        shared = reserved(ledger.try_reserve(spend(500, askers=names)))
        open_still = reserved(ledger.try_reserve(spend(500, askers=names[:2])))
        await open_still.on_disk()
        await paid(shared)
        for passed_s, left in ((30.0, 52), (40.0, 2)):
            clock.advance(passed_s)
            await ledger.tend()
            await ledger.store.flush()
            kept = await ledger.store.read(lambda txn: txn.stat(ledger.store.database(ASKERS)))
            assert kept["entries"] == left


def test_notes_of_crashes_are_bounded_and_end_after_a_day() -> None:
    notes: list[Crash] = []
    for number in range(MAX_CRASHES + 100):
        notes = with_crash(notes, [ended(10 * number)], 1000.0 + number)
    assert len(notes) == MAX_CRASHES
    assert notes[0].first == 0
    assert all(one.last < other.first for one, other in itertools.pairwise(notes))
    again = with_crash(notes, [ended(5), ended(10**6)], 5000.0)
    assert [(each.first, each.last) for each in again] == [(0, 10**6)]
    assert Crash.from_note(again[0].to_note()) == again[0]
    assert with_crash(notes, [], 1000.0 + MAX_CRASHES + 100 + UNKNOWN_ID_S) == []


def test_an_id_is_in_doubt_for_a_day() -> None:
    guard = Guard()
    guard.doubt([ended(7)], {7: [(1, "shares")]})
    for name in ((1000, "mine"), (1, "shares")):
        assert guard.is_in_doubt(*name, UNKNOWN_ID_S - 1)
        assert not guard.is_in_doubt(*name, UNKNOWN_ID_S)
    guard.forget(UNKNOWN_ID_S - 1)
    assert guard.is_in_doubt(1000, "mine", UNKNOWN_ID_S - 1)
    guard.forget(UNKNOWN_ID_S)
    assert not guard.is_in_doubt(1000, "mine", UNKNOWN_ID_S - 1)


def ended(attempt: int) -> Ended:
    held = spend(500, "mine").held(attempt, 500, (), "2026-01-01", 0.0)
    return Ended(held=held, state="unknown", cost_nanousd=500, ended_unix_s=0.0)
