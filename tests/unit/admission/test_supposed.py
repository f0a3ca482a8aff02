from __future__ import annotations

import pytest

from sutlerd.admission.supposed import Supposed


def test_what_was_let_pass_between_two_refusals_is_the_pace_however_it_was_asked_for() -> None:
    pace = Supposed(5.0, measured=False)
    pace.begins(100.0, 10.0)
    for _ in range(40):
        pace.grow(0.1, sent_s=11.0, calm=False)
    assert pace.per_s > 40.0
    pace.refused(300.0, 20.0)
    assert 0.95 * 20.0 < pace.per_s < 20.0
    pace.begins(300.0, 20.0)
    once = pace.per_s
    pace.grow(0.1, sent_s=21.0, calm=False)
    by_one = pace.per_s / once
    pace.refused(500.0, 30.0)
    confirmed = pace.per_s
    pace.begins(500.0, 30.0)
    pace.grow(0.1, sent_s=31.0, calm=False)
    assert 1.0 < pace.per_s / confirmed < 1 + (by_one - 1) / 10, "confirmed: it grows by little"


def test_answers_to_what_was_sent_before_the_refusal_are_no_news() -> None:
    pace = Supposed(5.0, measured=False)
    pace.begins(0.0, 10.0)
    pace.grow(0.5, sent_s=9.9, calm=False)
    assert pace.per_s == 5.0


def test_the_longest_of_the_first_hints_is_the_time_of_a_whole_call() -> None:
    pace = Supposed(10.0, measured=False)
    for hint_s in (0.04, 0.05, 0.01, 7.0):
        pace.hinted(hint_s)
    assert pace.per_s == pytest.approx(0.6 / 0.05)


def test_refusals_after_a_rest_are_of_a_burst_and_less_is_saved_up() -> None:
    pace = Supposed(10.0, measured=True)
    saved_s = pace.burst_s
    pace.begins(0.0, 0.0)
    pace.was_idle()
    pace.refused(1000.0, 100.0)
    assert pace.burst_s == saved_s / 2


def test_refusals_close_together_measure_nothing_and_keep_what_is_confirmed() -> None:
    pace = Supposed(10.0, measured=False)
    for start_s in (0.0, 10.0):
        pace.begins(start_s * 10, start_s)
        pace.refused(start_s * 10 + 100.0, start_s + 10.0)
    pace.begins(200.0, 20.0)
    pace.refused(201.0, 20.01)
    assert pace.per_s == pytest.approx(9.6, rel=0.05)
    other = Supposed(10.0, measured=False)
    other.begins(0.0, 0.0)
    other.refused(3.0, 0.1)
    assert other.per_s == 5.0
