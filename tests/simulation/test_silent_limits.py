"""A provider that tells no limits: its pace is found from its refusals, and from few of them.

The bounds are those of many seeds with a little room; what they promise on the average stands
beside them.
"""

from __future__ import annotations

import statistics

import pytest

from tests.support.silent_provider import Silent
from tests.support.untraced import untraced

SEEDS = 3
SLOW = Silent(requests=600.0, burst_s=60.0, calls=1500, answer_s=1.0, travel_s=0.1)
LOADS = {
    "sixteen processes": (Silent(), 1.05, 0.011),
    "hints of whole seconds": (Silent(hint="whole"), 1.15, 0.011),
    "no hints": (Silent(hint="no"), 1.15, 0.011),
    "seconds an answer, a minute's burst": (SLOW, 1.05, 0.022),
}


@pytest.mark.fault("P2")
@pytest.mark.parametrize("name", LOADS)
def test_a_pace_that_nobody_tells_is_found_by_few_refusals_and_used_to_the_full(name: str) -> None:
    load, slowest, part = LOADS[name]
    with untraced():
        played = [load.played(seed) for seed in range(SEEDS)]
    print(played)
    assert statistics.median(ratio for ratio, _ in played) <= slowest
    assert statistics.median(refused for _, refused in played) <= part * load.calls
    assert max(ratio for ratio, _ in played) <= 1.3 * slowest
    assert max(refused for _, refused in played) <= 3 * part * load.calls
