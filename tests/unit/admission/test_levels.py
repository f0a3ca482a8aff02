from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sutlerd.admission.learning import Habits, Learner, Seen
from sutlerd.admission.level_file import LevelFile
from sutlerd.admission.levels import NOTED_EVERY_S, Past, carried, noted, resume
from sutlerd.admission.limits import Limit
from sutlerd.admission.quota import Quota
from tests.support.event_list import EventList
from tests.support.virtual_clock import VirtualClock


def learner(now_s: float, habits: Habits | None = None, **numbers: float) -> Learner:
    limits = {
        name: Limit(name, number, own=number, now_s=now_s) for name, number in numbers.items()
    }
    quota = Quota({name: limit.bucket for name, limit in limits.items()})
    return Learner(limits, quota, habits or Habits())


def level(of: Learner, name: str, now_s: float) -> float:
    return of.quota.buckets[name].level(now_s)


def used(**numbers: float) -> dict[str, Any]:
    """Note a boundary that has used 50 of each limit, and is closed for 20 s."""
    before = learner(0.0, **numbers)
    before.quota.take(dict.fromkeys(numbers, 50.0), 0.0)
    before.quota.close_until(20.0)
    return {"b": json.loads(json.dumps(noted(before, 0.0)))}


def test_levels_go_on_after_a_clean_stop_and_have_refilled_since() -> None:
    after = learner(1000.0, requests=60.0)
    resume(after, "b", Past(boundaries=used(requests=60.0), age_s=8.0, clean=True), 1000.0)
    assert level(after, "requests", 1000.0) == pytest.approx(60 - 0.25 - 50 + 8)
    assert after.quota.closed_s(1000.0) == 12.0


def test_after_a_crash_a_bucket_begins_at_what_cannot_overrun() -> None:
    past = used(requests=60.0)
    for age_s, expected in ((0.0, 0.0), (NOTED_EVERY_S, 0.0), (NOTED_EVERY_S + 7, 7.0)):
        after = learner(1000.0, requests=60.0)
        resume(after, "b", Past(boundaries=past, age_s=age_s, clean=False), 1000.0)
        assert level(after, "requests", 1000.0) == pytest.approx(expected)
    unheard_of = learner(1000.0, requests=60.0)
    resume(unheard_of, "c", Past(boundaries=past, age_s=0.0, clean=False), 1000.0)
    assert level(unheard_of, "requests", 1000.0) == 0.0


def test_after_a_crash_a_days_limit_loses_only_what_a_minutes_can_have_let_pass() -> None:
    numbers = {"requests": 60.0, "requests_per_day": 10_000.0}
    after = learner(0.0, **numbers)
    resume(after, "b", Past(boundaries=used(**numbers), age_s=0.0, clean=False), 0.0)
    left = level(after, "requests_per_day", 0.0)
    assert 9_950 - 60 - NOTED_EVERY_S - 1 <= left <= 9_950 - 60
    alone = learner(0.0, requests_per_day=10_000.0)
    resume(alone, "b", Past(boundaries=used(**numbers), age_s=0.0, clean=False), 0.0)
    assert level(alone, "requests_per_day", 0.0) == 0.0


def test_what_was_learned_is_not_learned_again() -> None:
    auto = Habits(learns=True, careful=True)
    before = Learner({}, Quota({}), auto)
    sent = before.quota.take({"requests": 1.0}, 0.0)
    before.told({"requests": Seen(limit=600.0, remaining=400.0)}, {"requests": 1.0}, sent, 0.0)
    before.quota.take({"requests": 100.0}, 0.0)
    past = Past(boundaries={"b": noted(before, 0.0)}, age_s=1.0, clean=True)
    after = Learner({}, Quota({}), auto)
    resume(after, "b", past, 50.0)
    assert after.limits["requests"].believed == 600.0
    assert level(after, "requests", 50.0) == pytest.approx(308.5)
    assert after.quota.window is None


@pytest.mark.parametrize("clean", [True, False])
def test_a_life_that_used_no_limit_does_not_make_it_full(clean: bool) -> None:
    first = Past(boundaries=used(requests=60.0), age_s=2.0, clean=clean)
    second = Past(boundaries=json.loads(json.dumps(carried(first))), age_s=3.0, clean=True)
    after = learner(1000.0, requests=60.0)
    resume(after, "b", second, 1000.0)
    assert level(after, "requests", 1000.0) == pytest.approx(60 - 0.25 - 50 + 5 if clean else 0.0)
    assert after.quota.closed_s(1000.0) == 15.0
    late = Past(boundaries=carried(first), age_s=1e6, clean=True)
    assert carried(late) == {}


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        {"limits": 7, "closed_s": "soon"},
        {"limits": {"requests": 7, "x": {"said": -1}}, "closed_s": 1e999},
        {"limits": {"requests": {"level": "x", "said": True, "cut": None}}},
    ],
)
def test_a_note_that_makes_no_sense_harms_nothing(kept: object) -> None:
    after = learner(0.0, Habits(learns=True), requests=60.0)
    resume(after, "b", Past(boundaries={"b": kept}, age_s=1.0, clean=True), 0.0)
    assert 0 <= level(after, "requests", 0.0) <= 60.0
    assert after.quota.closed_s(0.0) == 0.0


async def lived(folder: Path, clock: VirtualClock, *, crashes: bool = False) -> Past | None:
    """Live once: give what the life before left."""
    file = LevelFile(folder, clock=clock, log=EventList())
    await file.__aenter__()
    file.noted = lambda: used(requests=60.0)
    if not crashes:
        await file.__aexit__()
    return file.past


async def test_the_first_life_has_no_past_and_a_crash_is_known_by_the_second(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    assert await lived(tmp_path, clock) is None
    clean = await lived(tmp_path, clock, crashes=True)
    assert clean is not None
    assert clean.clean
    assert clean.boundaries == used(requests=60.0)
    crashed = await lived(tmp_path, clock)
    assert crashed is not None
    assert not crashed.clean


@pytest.mark.fault("T6")
@pytest.mark.parametrize("wall_s", [-7200.0, 0.0, 7200.0])
async def test_a_wall_clock_that_jumps_between_two_lives_fills_no_bucket(
    tmp_path: Path, wall_s: float
) -> None:
    clock = VirtualClock()
    await lived(tmp_path, clock)
    clock.advance(3.0)
    clock.jump_unix(wall_s)
    past = await lived(tmp_path, clock)
    assert past is not None
    assert past.age_s == (0.0 if wall_s < 0 else pytest.approx(3.0))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', "\x00\xff", "[" * 10_000])
async def test_an_unreadable_file_counts_as_a_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "levels.json").write_text(text)
    past = await lived(tmp_path, VirtualClock())
    assert past is not None
    assert not past.clean
    assert past.boundaries == {}


async def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    log = EventList()
    async with LevelFile(tmp_path / "gone", clock=VirtualClock(), log=log):
        pass
    assert len(log.named("levels")) == 1
