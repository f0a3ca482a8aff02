from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.pipeline.retry import (
    BACKOFF_FIRST_S,
    BACKOFF_MAX_S,
    Again,
    Effort,
    GiveUp,
    NextRoute,
    backoff_s,
    closed_s,
)
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict


def failed(
    verdict: Verdict = Verdict.RETRY,
    outcome: Outcome = Outcome.NOT_BILLED,
    retry_after_s: float | None = None,
) -> AttemptFailed:
    return AttemptFailed(
        "no", verdict=verdict, outcome=outcome, kind="x", retry_after_s=retry_after_s
    )


def effort(attempts: int = 4, routes: int = 0) -> Effort:
    tried = Effort(attempts_left=attempts, routes_left=routes)
    tried.starts()
    return tried


def after(tried: Effort, failure: AttemptFailed, **how: object) -> object:
    settings: dict[str, object] = {"was_heard": False, "time_left_s": 60.0, "chance": 0.5}
    settings |= {"granted": lambda: True} | how
    return tried.after(failure, **settings)  # type: ignore[arg-type]  # one table of defaults


def test_retry_backoff() -> None:
    assert [backoff_s(tries, chance=1.0) for tries in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]
    assert backoff_s(3, chance=0.25) == 0.5


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_negative_nor_over_the_cap(tries: int, chance: float) -> None:
    assert 0 <= backoff_s(tries, chance=chance) <= BACKOFF_MAX_S


def test_a_hint_is_kept_to_the_second() -> None:
    assert after(effort(), failed(retry_after_s=37.5)) == Again(37.5)


def test_a_hint_past_the_callers_time_leaves_the_route_or_ends() -> None:
    assert after(effort(routes=1), failed(retry_after_s=107), time_left_s=60.0) == NextRoute()
    assert after(effort(), failed(retry_after_s=107), time_left_s=60.0) == GiveUp()


def test_nothing_is_tried_again_once_a_caller_heard_a_piece() -> None:
    assert after(effort(routes=2), failed(), was_heard=True) == GiveUp()


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.TOO_LONG])
def test_what_no_other_try_mends_ends_at_once(verdict: Verdict) -> None:
    assert after(effort(routes=2), failed(verdict)) == GiveUp()


@pytest.mark.parametrize("verdict", [Verdict.CLOSED, Verdict.MODEL_GONE])
def test_a_route_of_no_use_is_left_at_once(verdict: Verdict) -> None:
    assert after(effort(routes=1), failed(verdict)) == NextRoute()
    assert after(effort(), failed(verdict)) == GiveUp()


def test_an_unknown_bill_is_risked_once_more_and_no_third_time() -> None:
    tried = effort(attempts=4, routes=2)
    assert isinstance(after(tried, failed(outcome=Outcome.UNKNOWN)), Again)
    tried.starts()
    assert after(tried, failed(outcome=Outcome.UNKNOWN)) == GiveUp()


def test_attempts_are_kept_for_the_routes_that_are_left() -> None:
    tried = effort(attempts=3, routes=2)
    assert after(tried, failed()) == NextRoute()


@given(st.integers(1, 10), st.integers(0, 5))
def test_attempts_never_pass_their_number(attempts: int, routes: int) -> None:
    tried, made = effort(attempts, routes), 1
    while True:
        decision = after(tried, failed())
        if isinstance(decision, GiveUp):
            break
        if isinstance(decision, NextRoute):
            tried.moves_on()
        tried.starts()
        made += 1
    assert made == attempts


@pytest.mark.fault("P2")
@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_refusal_without_a_hint_closes_for_half_a_second_to_eight(
    refusals: int, chance: float
) -> None:
    assert BACKOFF_FIRST_S <= closed_s(refusals, chance=chance) <= BACKOFF_MAX_S


def test_an_overloaded_provider_is_left_in_peace_for_longer() -> None:
    busy, broken = failed(), failed()
    busy.kind = "overloaded"
    assert after(effort(), broken) == Again(0.25)
    assert after(effort(), busy) == Again(1.0)


def test_without_leave_from_the_budget_the_route_is_left_or_the_failure_told() -> None:
    none_left = {"granted": lambda: False}
    assert after(effort(routes=1), failed(), **none_left) == NextRoute()
    assert after(effort(), failed(), **none_left) == GiveUp()
    # What comes back when it was told to is paced by its limit.
    paced = failed(retry_after_s=3.0)
    paced.status = 429
    assert after(effort(), paced, **none_left) == Again(3.0)


def test_what_may_have_been_billed_ends_it_where_the_operator_says_so() -> None:
    tried = Effort(attempts_left=4, routes_left=2, retry_after_sent=False)
    tried.starts()
    assert after(tried, failed(outcome=Outcome.UNKNOWN)) == GiveUp()
    assert isinstance(after(effort(), failed(outcome=Outcome.NOT_SENT)), Again)


@pytest.mark.fault("P5")
def test_who_alone_is_refused_twice_without_a_hint_is_not_tried_a_third_time() -> None:
    too_many = AttemptFailed(
        "no", verdict=Verdict.RETRY, outcome=Outcome.NOT_BILLED, kind="rate_limit", status=429
    )
    tried = effort()
    assert isinstance(after(tried, too_many, refused_in_row=1), Again)
    tried.starts()
    assert after(tried, too_many, refused_in_row=2) == GiveUp()
    assert isinstance(after(tried, too_many, refused_in_row=7), Again), "others are refused, too"
