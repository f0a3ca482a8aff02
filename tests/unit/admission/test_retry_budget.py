from __future__ import annotations

import random

import pytest

from sutlerd.admission.latency import Latencies
from sutlerd.admission.retry_budget import RetryBudget


def test_ten_in_the_hundred_may_be_tried_again_and_ten_a_minute_at_least() -> None:
    budget = RetryBudget(part=0.1, floor=10)
    assert [budget.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(200):
        budget.called(1.0)
    assert [budget.take(1.0) for _ in range(11)] == [True] * 10 + [False]


def test_what_was_spent_comes_back_after_a_minute() -> None:
    budget = RetryBudget(part=0.1, floor=10)
    assert [budget.take(0.0) for _ in range(11)][-1] is False
    assert not budget.take(59.0)
    assert budget.take(66.0)


def test_no_budget_at_all_grants_nothing() -> None:
    budget = RetryBudget(part=0.0, floor=0)
    budget.called(0.0)
    assert not budget.take(0.0)


@pytest.mark.fault("P29")
def test_over_any_long_time_retries_stay_within_their_part_of_the_calls() -> None:
    for seed in range(20):
        chance, budget, now_s = random.Random(seed), RetryBudget(part=0.1, floor=0), 0.0
        calls = retries = 0
        for _ in range(20_000):
            now_s += chance.expovariate(20.0)
            budget.called(now_s)
            calls += 1
            retries += budget.take(now_s)
        assert retries <= 0.101 * calls, f"seed {seed}"


def test_a_percentile_is_known_after_enough_answers_and_follows_the_latest() -> None:
    seen = Latencies()
    for number in range(19):
        seen.learn("a", float(number))
    assert seen.percentile_s("a", 95) is None
    seen.learn("a", 19.0)
    assert seen.percentile_s("a", 95) == 18.0
    assert seen.percentile_s("a", 100) == 19.0
    assert seen.percentile_s("b", 95) is None
    for _ in range(128):
        seen.learn("a", 1.0)
    assert seen.percentile_s("a", 95) == 1.0


def test_only_so_many_routes_are_remembered() -> None:
    seen = Latencies()
    for route in range(5000):
        for _ in range(20):
            seen.learn(route, 1.0)
    assert seen.percentile_s(0, 50) is None
    assert seen.percentile_s(4999, 50) == 1.0
