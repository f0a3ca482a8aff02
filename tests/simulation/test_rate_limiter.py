"""Seeded worlds at the daemon's turnstile: see ``support.quota_world``."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.quota_world import Plan, QuotaWorld
from tests.support.untraced import untraced

LONG = os.environ.get("SUTLER_LONG") == "1"
SEEDS = 100_000 if LONG else 1_000
RANGES = 20
#: Of each range, for the measure of coverage.
TRACED = 3
ROOT = Path(__file__).parents[2]
#: The part of all attempts that the provider may refuse, and a number on top of it: where the
#: limits are known, where they have to be found out, and where nothing tells them. Among very
#: many seeds there are odder worlds.
TOLERANCE = {
    "known": (0.02, 0) if LONG else (0.0, 2),
    "shared": (0.0, 0),
    "too_high": (0.01, 0) if LONG else (0.0, 2),
    "auto": (0.01, 5) if LONG else (0.0, 3),
    "others": (0.05, 5),
    "silent": (0.03, 12),
}
#: In times of what the provider itself needs; who shares a key with somebody greedy gets less.
SLOWEST = {"others": 10.0}
SLOW = 3.0 if LONG else 1.0


def lived(plan: Plan) -> QuotaWorld:
    """Let a world live; a broken invariant names the seed."""
    world = QuotaWorld(plan)
    try:
        world.live()
        _check(world)
    except BaseException:
        print(f"seed {plan.seed}: {plan}")
        raise
    return world


def _check(world: QuotaWorld) -> None:
    plan, provider = world.plan, world.provider
    part, more = TOLERANCE.get(plan.knowledge, (1.0, 0))
    # What refusals taught is lost by a crash, and taught again.
    lives = 1 + sum(not clean for _, clean in plan.stops)
    assert provider.refused <= part * provider.accepted + more * lives, provider.refused
    assert (
        world.loop.time() <= plan.span_s + SLOWEST.get(plan.knowledge, SLOW) * world.work_s + 120.0
    )


@pytest.mark.fault("P1")
@pytest.mark.fault("R6")
@pytest.mark.timeout(24 * 3600 if LONG else 300)
@pytest.mark.parametrize("number", range(RANGES))
def test_rate_limiter(number: int) -> None:
    """A provider hardly ever has to refuse, and every call ends once, whatever happens."""
    first = number * SEEDS // RANGES
    for seed in range(first, first + TRACED):
        lived(Plan.drawn(seed))
    with untraced():
        for seed in range(first + TRACED, first + SEEDS // RANGES):
            lived(Plan.drawn(seed))


def test_one_day_of_steady_and_sudden_calls() -> None:
    plan = Plan(seed=1, calls=15_000, knowledge="known", requests=20.0, span_s=86_400.0)
    plan.stops = [(30_000.0, True), (60_000.0, False)]
    world = lived(plan)
    assert world.loop.time() >= 86_000.0


def test_a_known_service_without_settings_is_heeded_from_its_first_reply() -> None:
    plan = Plan(seed=2, calls=2_000, knowledge="unset", dialect="openai", span_s=30.0)
    world = lived(plan)
    assert world.provider.refused == 0
    assert world.provider.accepted > 1_000, "more than twice what a full bucket holds"


def digest(seed: int) -> str:
    world = lived(Plan.drawn(seed))
    return hashlib.sha256("\n".join(world.trace).encode()).hexdigest()


def test_a_seed_replays_byte_for_byte_in_another_process_too() -> None:
    seeds = (0, 4, 57)
    here = [digest(seed) for seed in seeds]
    assert here == [digest(seed) for seed in seeds]
    code = f"from {__name__} import digest; print(*map(digest, {seeds}))"
    code = code.replace(__name__, "tests.simulation.test_rate_limiter")
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert there == here


def test_a_failing_seed_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCE, "known", (-1.0, 0))
    plan = Plan.drawn(1)
    assert plan.knowledge == "known"
    with pytest.raises(AssertionError):
        lived(plan)
    assert "seed 1:" in capsys.readouterr().out
