"""Stalls told from beats, pauses and late looks, on times made up."""

from __future__ import annotations

import pytest

from sutlerd.system.stall import Judge


def _judge() -> Judge:
    return Judge(now_s=0.0, cpu_s=0.0, beat_s=0.25, stall_s=1.0)


def test_regular_beats_are_no_stall() -> None:
    judge = _judge()
    for step in range(1, 40):
        judge.beat(step * 0.25)
        assert judge.look(step * 0.25 + 0.1, 0.0) is None
    assert judge.count == 0
    assert judge.longest_s == pytest.approx(0.0)


@pytest.mark.fault("R5")
def test_a_silence_is_reported_once_and_its_length_kept() -> None:
    judge = _judge()
    judge.beat(0.25)
    found = [judge.look(0.25 * step, 0.25 * step) for step in range(2, 17)]
    assert [each for each in found if each is not None] == [(1.0, False)]
    assert found.index((1.0, False)) == 3
    assert judge.longest_s == 3.5
    judge.beat(4.1)
    assert judge.look(4.25, 4.25) is None
    assert judge.count == 1
    assert judge.longest_s == pytest.approx(3.6)
    # A second one counts again.
    assert [judge.look(4.1 + 0.3 * step, 5.0) for step in range(1, 5)].count(None) == 3
    assert judge.count == 2


@pytest.mark.fault("R5")
def test_a_stall_that_kept_the_watcher_out_too_is_reported_afterwards() -> None:
    # C code that holds the interpreter's lock: neither ran, but the processor was used.
    judge = _judge()
    judge.beat(0.25)
    assert judge.look(0.3, 0.1) is None
    judge.beat(3.25)
    assert judge.look(3.3, 3.0) == (3.0, True)
    assert (judge.count, judge.longest_s) == (1, 2.75)


@pytest.mark.fault("R5")
@pytest.mark.parametrize("beat_first", [True, False])
def test_a_paused_process_is_no_stall_whoever_runs_first_after_it(beat_first: bool) -> None:
    judge = _judge()
    judge.beat(0.25)
    assert judge.look(0.3, 0.1) is None
    judge.beat(0.5)  # not looked at before the pause
    if beat_first:
        judge.beat(9.5)
        assert judge.look(9.5, 0.1) is None
    else:
        assert judge.look(9.5, 0.1) is None
        judge.beat(9.6)
        assert judge.look(9.75, 0.1) is None
    assert judge.count == 0
    assert judge.longest_s < 0.25


def test_a_stall_before_a_pause_is_still_one() -> None:
    judge = _judge()
    judge.beat(0.25)
    for step in range(2, 5):
        assert judge.look(0.25 * step, 1.0) is None
    assert judge.look(100.0, 1.0) is None
    found = [judge.look(100.0 + 0.25 * step, 2.0) for step in range(1, 3)]
    assert found == [(1.0, False), None]
