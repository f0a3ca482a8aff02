"""Hits noted in memory, and pauses after failures."""

from __future__ import annotations

from sutlerd.cache.outage import Outage
from sutlerd.cache.recency import Hits


def test_the_newest_tick_of_a_key_counts() -> None:
    hits = Hits(limit=10)
    hits.note(b"a", 1)
    hits.note(b"a", 7)
    assert hits.tick_of(b"a") == 7
    assert hits.tick_of(b"b") is None


def test_a_hit_is_known_until_it_is_written() -> None:
    hits = Hits(limit=10)
    hits.note(b"a", 1)
    handed = hits.hand_over()
    assert handed == [(b"a", 1)]
    assert hits.tick_of(b"a") == 1
    hits.note(b"a", 5)
    assert hits.tick_of(b"a") == 5
    hits.written()
    assert hits.tick_of(b"a") == 5


def test_one_handover_at_a_time() -> None:
    hits = Hits(limit=10)
    assert hits.hand_over() == []
    hits.note(b"a", 1)
    assert hits.hand_over() == [(b"a", 1)]
    hits.note(b"b", 2)
    assert hits.hand_over() == []
    hits.written()
    assert hits.hand_over() == [(b"b", 2)]


def test_notes_are_bounded_and_known_keys_still_move() -> None:
    hits = Hits(limit=2)
    for tick, key in enumerate([b"a", b"b", b"c", b"a"], 1):
        hits.note(key, tick)
    assert hits.tick_of(b"a") == 4
    assert hits.tick_of(b"c") is None


def test_pauses_double_up_to_the_longest_and_are_said_once() -> None:
    outage = Outage(first_pause_s=5.0, longest_pause_s=30.0)
    assert not outage.is_on
    said = [outage.failed(100.0) for _ in range(5)]
    assert said == [True, False, False, False, False]
    assert outage.pause_s == 30.0
    assert not outage.may_try(129.9)
    assert outage.may_try(130.0)
    outage.failed(130.0)
    outage.may_try_now()
    assert outage.may_try(130.0)
    assert outage.worked()
    assert not outage.worked()
    assert outage.failed(200.0)
    assert outage.pause_s == 5.0
