from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.providers.sse import Event, EventSplitter, TooLong

AWKWARD = (
    b"\xef\xbb\xbf: a comment\r\n\r\n"
    b"data: one\n\n"
    b"event: named\r\ndata: two\r\ndata:  three\r\n\r\n"
    b": keep-alive\n\ndata\n\n"
    b"id: 7\nretry: 10\ndata: \xc3\xa9\xf0\x9f\x99\x82\r\rdata: last\n\n"
)
EVENTS = [
    Event("", b"one"),
    Event("named", b"two\n three"),
    Event("", b""),
    Event("", "é🙂".encode()),
    Event("", b"last"),
]


def split(pieces: list[bytes]) -> list[Event]:
    splitter = EventSplitter(1000)
    return [event for piece in pieces for event in splitter.feed(piece)]


def test_every_framing_of_the_standard_is_understood() -> None:
    assert split([AWKWARD]) == EVENTS


@pytest.mark.fault("P23")
@given(st.lists(st.integers(0, len(AWKWARD)), max_size=30))
def test_bytes_cut_anywhere_give_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(AWKWARD)]
    assert split([AWKWARD[a:b] for a, b in itertools.pairwise(edges)]) == EVENTS


@pytest.mark.fault("P23")
def test_byte_by_byte_gives_the_same_events() -> None:
    assert split([bytes([byte]) for byte in AWKWARD]) == EVENTS


def test_an_event_counts_only_with_its_empty_line_unless_the_rest_is_asked_for() -> None:
    splitter = EventSplitter(1000)
    assert splitter.feed(b"data: a") == []
    assert splitter.rest() == [Event("", b"a")]
    assert splitter.rest() == []


@pytest.mark.fault("X13")
def test_a_line_without_end_is_refused_at_the_limit() -> None:
    splitter = EventSplitter(1000)
    splitter.feed(b"data: " + b"x" * 900)
    with pytest.raises(TooLong):
        splitter.feed(b"x" * 200)


@pytest.mark.fault("X13")
@pytest.mark.parametrize("line", [b"data: " + b"x" * 90 + b"\n", b"data:\n"])
def test_an_event_of_endless_lines_is_refused_at_the_limit(line: bytes) -> None:
    with pytest.raises(TooLong):
        split([line] * 2000)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_garbage_gives_the_same_in_any_pieces(data: bytes, size: int) -> None:
    whole = split([data + b"\n\n"])
    assert split([(data + b"\n\n")[i : i + size] for i in range(0, len(data) + 2, size)]) == whole
