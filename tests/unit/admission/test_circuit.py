from __future__ import annotations

import math
import random

import pytest

from sutlerd.admission.circuit import EVERY_MINUTE, GROWING, HOURLY, NEVER, Circuit, Rule, State

RULE = Rule(window_s=30.0, failed_part=0.5, least_calls=10)


def circuit() -> Circuit:
    return Circuit(rule=RULE, pace=GROWING)


def opened(now_s: float = 0.0) -> Circuit:
    opening = circuit()
    assert [opening.failed(now_s, "503", probe=False) for _ in range(10)] == [False] * 9 + [True]
    return opening


@pytest.mark.fault("P28")
def test_it_opens_at_the_set_share_of_failures_of_enough_calls_in_the_window() -> None:
    half = circuit()
    for _ in range(5):
        half.succeeded(0.0, probe=False)
    assert not any(half.failed(1.0, "503", probe=False) for _ in range(4))
    assert half.state is State.CLOSED
    assert half.failed(1.0, "503", probe=False)
    assert half.state is State.OPEN
    assert half.why == "503"


def test_few_failures_and_old_ones_do_not_open_it() -> None:
    quiet = circuit()
    for second in range(0, 600, 5):
        assert not quiet.failed(float(second), "503", probe=False)
    mixed = circuit()
    for _ in range(100):
        mixed.succeeded(0.0, probe=False)
    assert not any(mixed.failed(1.0, "503", probe=False) for _ in range(50))


@pytest.mark.fault("P28")
def test_exactly_one_probe_at_a_time_and_its_success_closes_it() -> None:
    shut = opened()
    assert shut.closed_for_s(0.0) == GROWING.first_s
    assert shut.closed_for_s(1.5) == 0.5
    assert shut.closed_for_s(2.0) == 0.0
    assert shut.enter(2.0)
    assert shut.state is State.HALF_OPEN
    assert shut.closed_for_s(2.0) > 0
    assert shut.succeeded(3.0, probe=True)
    assert shut.state is State.CLOSED
    assert not shut.enter(3.0)
    assert shut.counts(3.0) == (0, 0)


def test_probes_that_fail_grow_apart_up_to_a_limit() -> None:
    shut, now_s, waits_s = opened(), 0.0, []
    for _ in range(7):
        waits_s.append(shut.closed_for_s(now_s))
        now_s += waits_s[-1]
        assert shut.enter(now_s)
        assert not shut.failed(now_s, "still", probe=True)
    assert waits_s == [2, 4, 8, 10, 10, 10, 10]


def test_a_verdict_opens_it_at_once_for_as_long_as_its_trouble_lasts() -> None:
    for pace in (EVERY_MINUTE, HOURLY, NEVER):
        shut = circuit()
        assert shut.judged(0.0, pace, "no credit", probe=False)
        assert shut.closed_for_s(0.0) == pace.first_s
        # Others of the same time bring no second alert and no longer wait.
        assert not shut.judged(5.0, pace, "no credit", probe=False)
        assert shut.closed_for_s(0.0) == pace.first_s
    assert shut.closed_for_s(1e12) == math.inf


def test_what_was_under_way_before_it_opened_neither_closes_nor_shortens_it() -> None:
    shut = circuit()
    shut.judged(0.0, HOURLY, "no credit", probe=False)
    assert not shut.succeeded(1.0, probe=False)
    assert not shut.failed(1.0, "503", probe=False)
    assert not shut.judged(1.0, GROWING, "no TLS", probe=False)
    assert shut.closed_for_s(1.0) == 3599.0
    worse = opened()
    assert worse.judged(1.0, HOURLY, "no credit", probe=False)
    assert worse.closed_for_s(1.0) == 3600.0


def test_a_probe_that_was_never_made_leaves_its_place_to_the_next_call() -> None:
    shut = opened()
    assert shut.enter(2.0)
    shut.passed_by(probe=True)
    assert shut.closed_for_s(2.0) == 0.0
    assert shut.enter(2.0)


def test_no_order_of_events_lets_two_probes_out_or_shuts_it_for_ever() -> None:
    for seed in range(300):
        chance, now_s, probes = random.Random(seed), 0.0, 0
        it = circuit()
        under_way: list[bool] = []
        for _ in range(300):
            now_s += chance.expovariate(0.5)
            if it.closed_for_s(now_s) == 0.0 and chance.random() < 0.7:
                under_way.append(it.enter(now_s))
                probes += under_way[-1]
                assert probes <= 1, f"seed {seed}"
            elif under_way:
                probe = under_way.pop(chance.randrange(len(under_way)))
                probes -= probe
                match chance.randrange(4):
                    case 0:
                        it.succeeded(now_s, probe=probe)
                    case 1:
                        it.failed(now_s, "no", probe=probe)
                    case 2:
                        pace = chance.choice([GROWING, EVERY_MINUTE, HOURLY])
                        it.judged(now_s, pace, "no", probe=probe)
                    case 3:
                        it.passed_by(probe=probe)
            assert it.closed_for_s(now_s) <= HOURLY.longest_s, f"seed {seed}"
