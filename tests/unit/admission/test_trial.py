from __future__ import annotations

import pytest

from sutlerd.admission.learning import Habits, Learner, Seen
from sutlerd.admission.levels import Past, noted, resume
from sutlerd.admission.limits import Limit
from sutlerd.admission.quota import Quota
from sutlerd.admission.trial import begin

ONE = {"requests": 1.0, "tokens": 100.0}


def written(now_s: float = 0.0, **numbers: float) -> Learner:
    """Give a boundary whose limits are written and not confirmed."""
    limits = {
        name: Limit(name, number, own=number, now_s=now_s) for name, number in numbers.items()
    }
    quota = Quota({name: limit.bucket for name, limit in limits.items()})
    quota.untried = begin(limits.values(), now_s)
    return Learner(limits, quota, Habits())


def passing(learner: Learner, now_s: float) -> int:
    """Send what can go now; give how many."""
    sent = 0
    while learner.quota.shortage(ONE, now_s) is None:
        learner.quota.take(ONE, now_s)
        sent += 1
    return sent


def answer(learner: Learner, count: int, now_s: float) -> None:
    for _ in range(count):
        learner.answered(now_s, ONE)
        learner.quota.end(ONE, {}, now_s)


def test_a_written_limit_begins_with_a_part_of_its_burst_and_grows_with_the_answers() -> None:
    learner = written(requests=600.0)
    first = passing(learner, 0.0)
    sent = [first]
    while learner.quota.untried:
        answer(learner, sent[-1], 0.0)
        sent.append(passing(learner, 0.0))
    assert sent[:3] == [37, 55, 83], "half as many again each time"
    assert sum(sent) == int(learner.limits["requests"].bucket.most)


def test_who_wrote_the_truth_loses_no_time_while_nothing_is_answered() -> None:
    learner = written(requests=600.0)
    sent = passing(learner, 0.0)
    for tenth in range(1, 101):
        sent += passing(learner, tenth / 10)
    assert sent == pytest.approx(37 + 100, abs=1), "as fast as it refills"
    answer(learner, 1, 10.0)
    learner.told({"requests": Seen(limit=600.0)}, ONE, learner.quota.take(ONE, 10.0), 10.0)
    most = learner.quota.buckets["requests"].most
    assert sent + passing(learner, 10.0) == pytest.approx(most + 100, abs=2), "nothing is lost"


def test_the_first_answer_that_tells_half_of_it_ends_the_burst_before_it_begins() -> None:
    learner = written(requests=1200.0)
    sent = passing(learner, 0.0)
    assert sent <= 75
    first = learner.quota.take(ONE, 0.0)
    seen = {"requests": Seen(limit=600.0, remaining=600.0 - sent - 1)}
    learner.told(seen, ONE, first, 0.0)
    assert not learner.quota.untried
    assert sent + 1 + passing(learner, 0.0) <= 600


def test_a_refusal_ends_it_too() -> None:
    learner = written(requests=600.0)
    sent = learner.quota.take(ONE, 0.0)
    learner.refused(ONE, {}, sent, pause_s=1.0, ramp=False, now_s=0.0)
    assert not learner.quota.untried


def test_a_call_larger_than_the_first_part_passes_and_no_wait_for_it_is_certain() -> None:
    learner = written(tokens=16_000.0)
    large = {"tokens": 9_000.0}
    assert learner.quota.shortage(large, 0.0) is None
    learner.quota.take(large, 0.0)
    assert learner.quota.shortage({"tokens": 500.0}, 0.0) is not None
    assert learner.quota.shortage({"tokens": 500.0}, 0.0, surely=True) is None


def test_what_is_not_needed_goes_back_into_the_small_bucket_too() -> None:
    learner = written(tokens=16_000.0)
    learner.quota.take({"tokens": 1_000.0}, 0.0)
    learner.quota.end({"tokens": 1_000.0}, {"tokens": 0.0}, 0.0)
    assert learner.quota.untried["tokens"].level(0.0) == learner.quota.untried["tokens"].capacity


def test_limits_of_a_day_and_tiny_ones_are_not_tried_out() -> None:
    assert set(written(requests_per_day=1e6, requests=4.0).quota.untried) == set()


def test_what_an_earlier_life_confirmed_is_not_tried_again_unless_it_is_written_anew() -> None:
    before = written(requests=1200.0)
    before.told({"requests": Seen(limit=600.0)}, ONE, before.quota.take(ONE, 0.0), 0.0)
    past = Past(boundaries={"b": noted(before, 0.0)}, age_s=60.0, clean=True)
    after = written(requests=1200.0, now_s=100.0)
    resume(after, "b", past, 100.0)
    assert not after.quota.untried
    assert after.limits["requests"].believed == 600.0, "as the provider said"
    raised = written(requests=2400.0, now_s=100.0)
    resume(raised, "b", past, 100.0)
    assert set(raised.quota.untried) == {"requests"}


def test_a_reload_that_raises_a_limit_tries_it_out_and_one_that_lowers_it_does_not() -> None:
    learner = written(requests=600.0)
    learner.quota.untried.clear()
    lower, higher = written(requests=300.0), written(requests=1200.0)
    learner.adopt(lower.limits, lower.quota, Habits(), 0.0)
    assert not learner.quota.untried
    learner.adopt(higher.limits, higher.quota, Habits(), 0.0)
    assert set(learner.quota.untried) == {"requests"}
