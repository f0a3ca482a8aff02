from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.admission.learning import FIRST_WINDOW, Habits, Learner, Seen
from sutlerd.admission.limits import Limit
from sutlerd.admission.quota import IN_FLIGHT, Quota, Sent

ONE = {"requests": 1.0, "tokens": 100.0}
AUTO = Habits(learns=True, careful=True)


def known(habits: Habits | None = None, **numbers: float) -> Learner:
    habits = habits or Habits()
    limits = {
        name: Limit(name, number * habits.part, own=number * habits.part, now_s=0.0)
        for name, number in numbers.items()
    }
    quota = Quota({name: limit.bucket for name, limit in limits.items()})
    return Learner(limits, quota, habits)


def send(learner: Learner, now_s: float) -> Sent:
    return learner.quota.take(ONE, now_s)


def refuse(learner: Learner, sent: Sent, now_s: float, pause_s: float = 1.0) -> None:
    learner.refused(ONE, {}, sent, pause_s=pause_s, ramp=False, now_s=now_s)
    learner.quota.end(ONE, {}, now_s)


def test_who_knows_no_limit_begins_with_few_calls_and_one_more_with_each_answer() -> None:
    learner = Learner({}, Quota({}), AUTO)
    for _ in range(FIRST_WINDOW):
        send(learner, 0.0)
    shortage = learner.quota.shortage(ONE, 0.0)
    assert shortage is not None
    assert shortage.bucket == IN_FLIGHT
    learner.answered(1.0)
    assert learner.quota.shortage(ONE, 1.0) is None


def test_limits_that_headers_tell_are_made_and_calls_under_way_are_counted_off() -> None:
    learner = Learner({}, Quota({}), AUTO)
    first = send(learner, 0.0)
    send(learner, 0.0)
    learner.told({"requests": Seen(limit=60.0, remaining=59.0)}, ONE, first, 1.0)
    bucket = learner.quota.buckets["requests"]
    assert bucket.per_s == 1.0
    assert bucket.level(1.0) == 58.0
    assert learner.quota.window is None


def test_the_tightest_of_two_limits_is_no_third_one() -> None:
    learner = Learner({}, Quota({}), AUTO)
    views = {"tokens": Seen(limit=100.0), "tokens_in": Seen(limit=400.0)}
    learner.told(views, ONE, send(learner, 0.0), 0.0)
    assert set(learner.quota.buckets) == {"tokens_in"}


def test_a_lower_limit_is_believed_and_a_higher_one_than_configured_is_not() -> None:
    learner = known(requests=60.0)
    sent = send(learner, 0.0)
    learner.told({"requests": Seen(limit=600.0)}, ONE, sent, 0.0)
    assert learner.limits["requests"].believed == 60.0
    learner.told({"requests": Seen(limit=30.0)}, ONE, sent, 0.0)
    assert learner.limits["requests"].believed == 30.0
    learner.told({"requests": Seen(limit=45.0)}, ONE, sent, 0.0)
    assert learner.limits["requests"].believed == 45.0


def test_less_remaining_than_we_thought_is_others_use_and_is_counted_once() -> None:
    learner = known(requests=600.0)
    sent = [send(learner, 0.0) for _ in range(10)]
    for number, each in enumerate(sent):
        # Others took 200; each answer tells how it stood after its own call.
        remaining = 597.5 - 200.0 - number - 1
        learner.told({"requests": Seen(limit=600.0, remaining=remaining)}, ONE, each, 0.0)
    level = learner.quota.buckets["requests"].level(0.0)
    assert level == pytest.approx(597.5 - 200.0 - 10, abs=2)


def test_no_more_is_saved_up_than_the_provider_was_seen_to_hold() -> None:
    learner = Learner({}, Quota({}), AUTO)
    learner.told({"requests": Seen(limit=12_000.0, remaining=99.0)}, ONE, send(learner, 0.0), 0.0)
    bucket = learner.quota.buckets["requests"]
    assert 50.0 < bucket.level(60.0) <= 100.0, "it grants half a second's refill at once, no more"
    sent = send(learner, 60.0)
    learner.told({"requests": Seen(limit=12_000.0, remaining=5_999.0)}, ONE, sent, 60.0)
    assert 5_900.0 < bucket.level(60.0) < 6_000.0, "it was more, and was used by somebody else"


def test_a_limit_half_of_the_configured_one_leaves_what_was_not_used_of_it() -> None:
    learner = known(requests=600.0)
    sent = [send(learner, 0.0) for _ in range(100)]
    learner.told({"requests": Seen(limit=300.0, remaining=299.0)}, ONE, sent[0], 0.0)
    assert learner.quota.buckets["requests"].level(0.0) == pytest.approx(200.0, abs=2.0)


def test_a_steady_drift_is_the_rate_of_others_and_fades_when_they_stop() -> None:
    learner = known(requests=600.0)
    limit, theirs, now_s = learner.limits["requests"], 300.0, 0.0
    full = {"requests": Seen(limit=600.0, remaining=599.0)}
    learner.told(full, ONE, send(learner, 0.0), 0.0)
    limit.bucket.lower_to(300.0, 0.0)
    for taken_by_others_per_s in (5.0, 0.0):
        for _ in range(200):
            now_s += 0.2
            theirs = min(600.0, theirs + (10.0 - taken_by_others_per_s) * 0.2) - 1.0
            sent = send(learner, now_s)
            seen = {"requests": Seen(limit=600.0, remaining=theirs)}
            learner.told(seen, ONE, sent, now_s)
        assert limit.others_per_s == pytest.approx(taken_by_others_per_s, abs=1.5)


def test_a_part_of_a_key_is_compared_with_its_part_of_what_remains() -> None:
    learner = known(Habits(part=1 / 16), requests=1600.0)
    assert learner.limits["requests"].believed == 100.0
    sent = send(learner, 0.0)
    learner.told({"requests": Seen(limit=1600.0, remaining=160.0)}, ONE, sent, 0.0)
    assert learner.limits["requests"].believed == 100.0
    assert learner.quota.buckets["requests"].level(0.0) == pytest.approx(10.0)


@pytest.mark.fault("P1")
def test_a_refusal_closes_for_the_whole_hint_and_lowers_the_limit_only_if_it_recurs() -> None:
    learner = known(requests=60.0)
    together = [send(learner, 0.0) for _ in range(5)]
    for sent in together:
        refuse(learner, sent, 1.0, pause_s=7.0)
    shortage = learner.quota.shortage(ONE, 1.0)
    assert shortage is not None
    assert shortage.wait_s == pytest.approx(7.0)
    assert learner.limits["requests"].believed == 60.0, "one burst is one refusal"
    assert learner.quota.shortage(ONE, 8.0) is None
    refuse(learner, send(learner, 8.0), 8.1)
    assert learner.limits["requests"].believed == pytest.approx(48.0)


def test_a_lowered_limit_comes_back_with_time_and_never_beyond_what_is_configured() -> None:
    learner = known(requests=60.0)
    refuse(learner, send(learner, 0.0), 0.1)
    refuse(learner, send(learner, 2.0), 2.1)
    limit, seen = learner.limits["requests"], []
    for second in range(3, 300):
        learner.answered(float(second))
        seen.append(limit.believed)
    assert seen == sorted(seen)
    assert seen[0] < 49.0
    assert seen[10] - seen[9] == pytest.approx(seen[20] - seen[19]), "additively"
    assert seen[-1] == 60.0


@pytest.mark.fault("P2")
def test_one_refusal_of_who_has_no_limit_is_over_when_its_pause_is() -> None:
    for habits in (AUTO, Habits(learns=True)):
        # Many answers long ago tell nothing of today.
        for answered, refused_s in ((0, 1.0), (3, 1.0), (50, 3600.0)):
            learner = Learner({}, Quota({}), habits)
            for number in range(answered):
                send(learner, 0.01 * number)
                learner.answered(0.01 * number)
                learner.quota.end(ONE, {}, 0.01 * number)
            refuse(learner, send(learner, refused_s), refused_s, pause_s=0.5)
            shortage = learner.quota.shortage(ONE, refused_s)
            assert shortage is not None
            assert shortage.wait_s == pytest.approx(0.5)
            now_s = refused_s + 0.501
            for _ in range(20):
                assert learner.quota.shortage(ONE, now_s) is None
                send(learner, now_s)
                now_s += 0.01
                learner.answered(now_s)
                learner.quota.end(ONE, {}, now_s)


@pytest.mark.fault("P2")
def test_a_row_of_refusals_that_told_no_rate_is_forgotten_when_the_provider_is_well() -> None:
    learner, now_s = Learner({}, Quota({}), Habits(learns=True)), 0.0
    for _ in range(10):
        shortage = learner.quota.shortage(ONE, now_s)
        now_s += (shortage.wait_s if shortage is not None else 0.0) + 0.001
        refuse(learner, send(learner, now_s), now_s, pause_s=1.0)
    well_s, waits_s = now_s, []
    while now_s < well_s + 900.0:
        shortage = learner.quota.shortage(ONE, now_s)
        waits_s.append(shortage.wait_s if shortage is not None else 0.0)
        now_s += waits_s[-1] + 0.001
        send(learner, now_s)
        now_s += 0.01
        learner.answered(now_s)
        learner.quota.end(ONE, {}, now_s)
    assert max(waits_s) <= 61.0
    assert max(waits_s[-100:]) < 0.1


def test_without_headers_the_rate_is_learned_from_refusals() -> None:
    learner, now_s = Learner({}, Quota({}), AUTO), 0.0
    theirs, seen_s, answered, refused = 100.0, 0.0, 0, 0
    while now_s < 600.0:
        shortage = learner.quota.shortage(ONE, now_s)
        if shortage is not None:
            now_s += max(shortage.wait_s, 0.001)
            continue
        sent = send(learner, now_s)
        theirs = min(100.0, theirs + (now_s - seen_s) * 10.0)
        seen_s = now_s
        now_s += 0.01
        if theirs < 1.0:
            refused += 1
            refuse(learner, sent, now_s, pause_s=(1.0 - theirs) / 10.0)
            continue
        theirs -= 1.0
        answered += 1
        learner.answered(now_s)
        learner.quota.end(ONE, {}, now_s)
    assert answered > 0.85 * 600 * 10
    assert refused < 0.01 * answered


def test_one_refusal_after_few_answers_makes_no_limit_and_no_wait_beyond_its_pause() -> None:
    learner = Learner({}, Quota({}), Habits(learns=True))
    assert not learner.listens
    refuse(learner, send(learner, 0.0), 0.1, pause_s=1.0)
    assert learner.quota.buckets == {}
    assert learner.listens
    assert learner.quota.shortage(ONE, 1.2) is None
    for _ in range(FIRST_WINDOW):
        send(learner, 1.2)
    assert learner.quota.shortage(ONE, 1.2) is not None
    learner.answered(1.3)
    assert learner.quota.shortage(ONE, 1.3) is None


def test_refusals_that_recur_after_few_answers_make_a_slow_pace_that_doubles_until_refused() -> (
    None
):
    learner = Learner({}, Quota({}), Habits(learns=True))
    refuse(learner, send(learner, 0.0), 0.1)
    refuse(learner, send(learner, 2.0), 2.1)
    limit, now_s, answered = learner.limits["requests"], 3.1, 0
    while limit.believed < 1200.0:
        shortage = learner.quota.shortage(ONE, now_s)
        if shortage is not None:
            assert shortage.wait_s <= 5.0
            now_s += shortage.wait_s + 0.001
            continue
        send(learner, now_s)
        learner.answered(now_s)
        learner.quota.end(ONE, {}, now_s)
        answered += 1
    assert now_s < 100.0
    refuse(learner, send(learner, now_s), now_s)
    refuse(learner, send(learner, now_s + 2), now_s + 2)
    believed = limit.believed
    learner.answered(now_s + 3)
    assert limit.believed < believed * 1.1, "measured now: it grows slowly"


def test_a_provider_without_settings_is_heard_from_its_first_answer() -> None:
    learner = Learner({}, Quota({}), Habits(learns=True, hears=True))
    assert learner.listens
    assert learner.counts_tokens
    assert learner.quota.shortage(ONE, 0.0) is None, "and nothing is limited before"
    sent = send(learner, 0.0)
    learner.told({"requests": Seen(limit=60.0, remaining=2.0)}, ONE, sent, 0.1)
    learner.quota.end(ONE, {}, 0.1)
    send(learner, 0.1)
    send(learner, 0.1)
    assert learner.quota.shortage(ONE, 0.1) is not None


def test_a_limit_on_growth_lowers_to_what_was_used_and_grows_by_half_in_a_quarter_of_an_hour() -> (
    None
):
    learner = known(requests=6000.0)
    for number in range(1, 400):
        learner.answered(number / 10)
    sent = send(learner, 40.0)
    learner.refused(ONE, {}, sent, pause_s=1.0, ramp=True, now_s=40.1)
    limit = learner.limits["requests"]
    assert limit.believed == pytest.approx(600.0, rel=0.2)
    before = limit.believed
    for second in range(50, 50 + 900, 10):
        learner.answered(float(second))
    assert limit.believed == pytest.approx(before * 1.5, rel=0.02)


def test_refusals_name_the_limit_by_what_remains_of_it() -> None:
    learner = known(requests=60.0, tokens=6000.0)
    seen = {"requests": Seen(limit=60.0, remaining=50.0), "tokens": Seen(limit=6000.0, remaining=3)}
    for now_s in (0.0, 2.0):
        learner.refused(ONE, seen, send(learner, now_s), pause_s=0.5, ramp=False, now_s=now_s + 0.1)
    assert learner.limits["requests"].believed == 60.0
    assert learner.limits["tokens"].believed < 6000.0


def test_a_call_larger_than_a_lowered_bucket_still_fits_when_it_is_full() -> None:
    learner = known(tokens=6000.0)
    learner.limits["tokens"].held = 50.0
    learner.limits["tokens"].grow(0.0, 0.0, ramps=False)
    assert learner.quota.never_fits(ONE) is None
    assert learner.quota.shortage(ONE, 0.0) is None


AMOUNT = st.none() | st.floats(0, 1e12) | st.sampled_from([0.0, 1e-9, 1e300])


@pytest.mark.fault("P3")
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["requests", "tokens", "tokens_in", "odd", "requests_per_day"]),
            AMOUNT,
            AMOUNT,
            st.booleans(),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_whatever_headers_say_no_bucket_is_senseless_and_no_wait_endless(
    told: list[tuple[str, float | None, float | None, bool]], learns: bool
) -> None:
    learner = known(Habits(learns=learns), requests=60.0, tokens=6000.0)
    now_s = 0.0
    for name, limit, remaining, refused in told:
        now_s += 1.0
        seen = {name: Seen(limit=limit, remaining=remaining)}
        sent = send(learner, now_s)
        if refused:
            learner.refused(ONE, seen, sent, pause_s=60.0, ramp=False, now_s=now_s)
        else:
            learner.answered(now_s)
            learner.told(seen, ONE, sent, now_s)
        learner.quota.end(ONE, {}, now_s)
    for bucket in learner.quota.buckets.values():
        assert bucket.per_s > 0
        assert math.isfinite(bucket.level(now_s))
        assert bucket.level(now_s) <= bucket.capacity <= bucket.most
