from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sutlerd.system.restarts import (
    FIRST_REST_S,
    LONG_LIFE_S,
    LONGEST_REST_S,
    PATIENT_LIVES,
    Restarts,
)


def test_each_short_life_in_a_row_doubles_the_rest_up_to_the_longest() -> None:
    restarts = Restarts()
    rests = [restarts.ended(lived_s=0.0) for _ in range(12)]
    assert rests[:4] == [FIRST_REST_S * factor for factor in (1, 2, 4, 8)]
    assert rests[-1] == LONGEST_REST_S


def test_a_long_life_makes_the_short_ones_before_it_forgotten() -> None:
    restarts = Restarts()
    for _ in range(PATIENT_LIVES):
        restarts.ended(lived_s=0.0)
    assert not restarts.patient
    assert restarts.ended(lived_s=LONG_LIFE_S) == FIRST_REST_S
    assert restarts.patient


def test_callers_wait_until_there_were_too_many_short_lives() -> None:
    restarts = Restarts()
    patience = []
    for _ in range(PATIENT_LIVES):
        patience.append(restarts.patient)
        restarts.ended(lived_s=0.0)
    assert patience == [True] * PATIENT_LIVES
    assert not restarts.patient


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=2000))
def test_no_history_makes_a_rest_that_is_out_of_bounds(lives: list[float]) -> None:
    restarts = Restarts()
    for lived_s in lives:
        assert FIRST_REST_S <= restarts.ended(lived_s=lived_s) <= LONGEST_REST_S
