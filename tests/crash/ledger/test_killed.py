"""The real daemon is killed at every named point and at random, and its money stays right."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest

from tests.contract.scripted import ScriptedProvider
from tests.crash.ledger.daemon_child import POINTS
from tests.crash.ledger.kills import Forge, Kills

LONG = os.environ.get("SUTLER_LONG") == "1"
#: ``SUTLER_KILLS`` takes a share of the long mode, for a machine that is not free for hours.
KILLS = int(os.environ.get("SUTLER_KILLS", "10000" if LONG else "100"))
PARTS = 2
#: So many lives share a folder; then another one begins from nothing.
LIVES = 200
RECOVERY = ("in_recovery_commit", "after_recovery")


@pytest.mark.fault("S10")
@pytest.mark.fault("T4")
@pytest.mark.timeout(0 if KILLS > 100 else 480)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_kill_loses_or_doubles_money(part: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    left, died_at = KILLS // PARTS, dict.fromkeys(POINTS, 0)
    # Every point in each part, the ones of recovery often enough to find something open.
    points = [*POINTS, *RECOVERY]
    while left > 0:
        with (
            Forge() as forge,
            tempfile.TemporaryDirectory(prefix="sk-") as folder,
            ScriptedProvider.in_thread() as provider,
        ):
            kills = Kills(forge, Path(folder), provider, chance)
            for number in range(min(left, LIVES)):
                point = points[number % len(points)] if number < 3 * len(points) // 2 else "random"
                count = 1 if point in RECOVERY else chance.randrange(1, 30)
                if kills.live(point, count) and point in died_at:
                    died_at[point] += 1
                kills.check()
                left -= 1
            kills.daemon.point = "none"
            kills.daemon.start()
            assert kills.daemon.stop() == 0
            ledger = kills.check()
            assert not ledger.open, "a start charges what it finds open"
    print(died_at)
    assert sum(died_at.values()) >= len(POINTS) // 2, died_at
