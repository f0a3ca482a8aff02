from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sutlerd.domain.errors import CallError, ProviderUnavailable
from sutlerd.domain.reply import Reply
from sutlerd.pipeline.coalesce import Flight, Flights
from sutlerd.pipeline.result import Answer, encode_payload

ANSWER = Answer(
    payload=encode_payload(
        Reply(content="abc", finish_reason="stop", model="m", provider="p"), cost_nanousd=7
    ),
    cached=False,
)


class Listening:
    """A follower that writes down what it is told."""

    def __init__(self, *, wants_pieces: bool = False, deadline_s: float = 60.0) -> None:
        self.deadline_s = deadline_s
        self.wants_pieces = wants_pieces
        self.pieces: list[bytes] = []
        self.outcomes: list[object] = []

    def on_pieces(self, pieces: Sequence[bytes]) -> None:
        assert not self.outcomes, "a piece after the end"
        self.pieces.extend(pieces)

    def on_answer(self, answer: Answer, *, coalesced: bool) -> None:
        self.outcomes.append(coalesced)

    def on_error(self, error: CallError) -> None:
        self.outcomes.append(error)


def flown_by(*followers: Listening) -> tuple[Flights, Flight, list[str]]:
    flights, cancelled = Flights(), list[str]()
    flight = flights.open(b"key")
    flight.runs_with(lambda: cancelled.append("cancelled"))
    for follower in followers:
        flight.join(follower, stores=True)
    return flights, flight, cancelled


@pytest.mark.fault("C23")
def test_the_first_to_open_a_flight_is_the_only_one_not_coalesced() -> None:
    opener, second, third = Listening(), Listening(), Listening()
    _, flight, _ = flown_by(opener, second, third)
    flight.finish(ANSWER)
    assert [follower.outcomes for follower in (opener, second, third)] == [[False], [True], [True]]


@pytest.mark.fault("C23")
def test_whoever_leaves_the_others_fly_on_and_the_last_one_ends_it() -> None:
    opener, second, third = Listening(), Listening(), Listening()
    flights, flight, cancelled = flown_by(opener, second, third)
    flight.leave(opener)
    flight.leave(third)
    assert not cancelled
    assert flights.under_way(b"key") is flight
    flight.leave(second)
    assert cancelled == ["cancelled"]
    assert flights.under_way(b"key") is None
    assert flights.open_count == 0


def test_a_late_joiner_gets_what_was_sent_and_then_follows() -> None:
    early = Listening(wants_pieces=True)
    _, flight, _ = flown_by(early)
    flight.publish([b"1", b"2"])
    late, plain = Listening(wants_pieces=True), Listening()
    flight.join(late, stores=True)
    flight.join(plain, stores=True)
    flight.publish([b"3"])
    flight.finish(ANSWER)
    assert early.pieces == late.pieces == [b"1", b"2", b"3"]
    assert plain.pieces == []
    assert plain.outcomes == [True]


def test_who_wants_a_stream_of_a_flight_that_is_none_gets_the_whole_as_one() -> None:
    streaming = Listening(wants_pieces=True)
    _, flight, _ = flown_by(Listening(), streaming)
    flight.finish(ANSWER)
    assert streaming.pieces == [b'"delta":"abc"']


@pytest.mark.fault("C24")
def test_the_flight_has_the_time_of_its_most_patient_follower() -> None:
    short, long = Listening(deadline_s=1.0), Listening(deadline_s=60.0)
    _, flight, _ = flown_by(short, long)
    assert flight.latest_deadline_s() == 60.0
    flight.leave(long)
    assert flight.latest_deadline_s() == 1.0


def test_a_failure_is_told_to_each_follower_once_and_shared_with_nobody_later() -> None:
    followers = [Listening() for _ in range(3)]
    flights, flight, _ = flown_by(*followers)
    error = ProviderUnavailable("gone")
    flight.fail(error)
    assert [follower.outcomes for follower in followers] == [[error]] * 3
    assert flights.under_way(b"key") is None


def test_a_flight_without_a_key_is_joined_by_nobody() -> None:
    flights = Flights()
    first, second = flights.open(None), flights.open(None)
    assert first is not second
    assert flights.open_count == 2


class FlightMachine(RuleBasedStateMachine):
    """Whatever the order of joining, pieces and leaving, everyone hears one whole story."""

    def __init__(self) -> None:
        super().__init__()
        self.flights = Flights()
        self.flight: Flight | None = None
        self.present: list[Listening] = []
        self.ended: list[Listening] = []
        self.sent: list[bytes] = []
        self.cancelled = 0

    @rule(wants_pieces=st.booleans())
    def join(self, wants_pieces: bool) -> None:
        flight = self.flights.under_way(b"k")
        if flight is None:
            flight = self.flights.open(b"k")
            flight.runs_with(self.cancel)
            self.sent = []
        self.flight = flight
        follower = Listening(wants_pieces=wants_pieces)
        flight.join(follower, stores=False)
        self.present.append(follower)

    def cancel(self) -> None:
        self.cancelled += 1

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        follower = data.draw(st.sampled_from(self.present))
        assert self.flight is not None
        self.flight.leave(follower)
        self.present.remove(follower)
        assert not follower.outcomes

    @precondition(lambda self: self.present)
    @rule(pieces=st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=3))
    def publish(self, pieces: list[bytes]) -> None:
        assert self.flight is not None
        self.flight.publish(pieces)
        self.sent.extend(pieces)

    @precondition(lambda self: self.present)
    @rule(succeeds=st.booleans())
    def end(self, succeeds: bool) -> None:
        assert self.flight is not None
        if succeeds:
            self.flight.finish(ANSWER)
        else:
            self.flight.fail(ProviderUnavailable("gone"))
        for follower in self.present:
            assert len(follower.outcomes) == 1
            if follower.wants_pieces and succeeds:
                assert follower.pieces == (self.sent or ANSWER.pieces())
        self.present.clear()

    @invariant()
    def a_flight_is_open_if_and_only_if_somebody_follows(self) -> None:
        under_way = self.flights.under_way(b"k") is not None
        assert under_way == bool(self.present)
        assert self.flights.open_count == int(under_way)


TestFlightMachine = FlightMachine.TestCase
TestFlightMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
