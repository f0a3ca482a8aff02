from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.admission.bucket import Bucket
from sutlerd.admission.quota import IN_FLIGHT, Quota

AMOUNT = st.floats(0, 1000)


def test_rate_limiter() -> None:
    bucket = Bucket(per_s=2.0, capacity=10.0, now_s=0.0)
    bucket.take(10.0, 0.0)
    assert bucket.wait_s(4.0, 0.0) == 2.0
    assert bucket.wait_s(4.0, 2.0) == 0.0
    bucket.take(4.0, 2.0)
    assert bucket.level(2.0) == 0.0
    assert bucket.level(100.0) == 10.0


@given(st.lists(st.tuples(st.floats(0, 10), AMOUNT), max_size=40))
def test_never_more_is_granted_than_capacity_and_refill(steps: list[tuple[float, float]]) -> None:
    bucket, now_s, granted = Bucket(per_s=5.0, capacity=50.0, now_s=0.0), 0.0, 0.0
    for passed_s, amount in steps:
        now_s += passed_s
        if bucket.wait_s(amount, now_s) == 0.0:
            bucket.take(amount, now_s)
            granted += amount
        assert granted <= 50.0 + 5.0 * now_s + 1e-6


@given(AMOUNT, st.floats(0, 100))
def test_what_is_waited_for_is_there_when_the_wait_is_over(need: float, taken: float) -> None:
    bucket = Bucket(per_s=3.0, capacity=100.0, now_s=0.0)
    bucket.take(taken, 0.0)
    wait_s = bucket.wait_s(need, 0.0)
    if need > 100.0:
        assert wait_s == math.inf
    else:
        assert bucket.wait_s(need, wait_s) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.fault("T6")
def test_a_clock_that_goes_back_refills_nothing() -> None:
    bucket = Bucket(per_s=1.0, capacity=10.0, now_s=100.0, level=0.0)
    assert bucket.level(50.0) == 0.0
    assert bucket.level(100.0) == 0.0
    assert bucket.level(101.0) == 1.0


def test_more_used_than_foreseen_is_owed() -> None:
    quota = Quota({"tokens": Bucket(per_s=1.0, capacity=10.0, now_s=0.0)})
    quota.take({"tokens": 5.0}, 0.0)
    quota.end({"tokens": 5.0}, {"tokens": 25.0}, 0.0)
    assert quota.buckets["tokens"].level(0.0) == -15.0
    shortage = quota.shortage({"tokens": 5.0}, 0.0)
    assert shortage is not None
    assert shortage.wait_s == 20.0


def test_all_buckets_admit_a_call_or_none_is_touched() -> None:
    quota = Quota(
        {
            "requests": Bucket(per_s=1.0, capacity=5.0, now_s=0.0),
            "tokens": Bucket(per_s=10.0, capacity=100.0, now_s=0.0, level=20.0),
        }
    )
    shortage = quota.shortage({"requests": 1.0, "tokens": 50.0}, 0.0)
    assert shortage is not None
    assert (shortage.bucket, shortage.wait_s) == ("tokens", 3.0)
    assert quota.buckets["requests"].level(0.0) == 5.0


@pytest.mark.fault("P5")
def test_a_call_that_can_never_fit_is_known_at_once() -> None:
    quota = Quota({"tokens": Bucket(per_s=10.0, capacity=100.0, now_s=0.0)})
    never = quota.never_fits({"tokens": 101.0})
    assert never is not None
    assert (never.need, never.capacity) == (101.0, 100.0)
    assert quota.never_fits({"tokens": 100.0}) is None


def test_calls_in_flight_have_a_limit_of_their_own() -> None:
    quota = Quota({}, max_in_flight=1)
    quota.take({}, 0.0)
    shortage = quota.shortage({}, 0.0)
    assert shortage is not None
    assert shortage.bucket == IN_FLIGHT
    quota.end({}, {}, 0.0)
    assert quota.shortage({}, 0.0) is None


@pytest.mark.fault("P1")
@pytest.mark.parametrize("buckets", [{}, {"tokens": Bucket(per_s=9.0, capacity=9.0, now_s=0.0)}])
def test_a_closed_quota_grants_nothing_until_the_time_it_was_told(
    buckets: dict[str, Bucket],
) -> None:
    quota = Quota(buckets)
    quota.close_until(107.0)
    quota.close_until(9.0)
    shortage = quota.shortage({"tokens": 1.0}, 0.0)
    assert shortage is not None
    assert shortage.wait_s == 107.0
    assert quota.shortage({"tokens": 1.0}, 107.0) is None


@pytest.mark.fault("O4")
@given(st.floats(-50, 100), st.floats(1, 1000))
def test_a_new_limit_keeps_the_level_in_proportion(level: float, capacity: float) -> None:
    bucket = Bucket(per_s=1.0, capacity=100.0, now_s=0.0, level=level)
    bucket.resize(per_s=2.0, capacity=capacity, now_s=0.0)
    assert bucket.level(0.0) <= capacity
    if level > 0:
        assert bucket.level(0.0) / capacity == pytest.approx(level / 100.0)
    else:
        assert bucket.level(0.0) == level
