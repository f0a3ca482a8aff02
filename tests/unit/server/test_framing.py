from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.server.framing import LineSplitter, LineTooLong


def feed_all(splitter: LineSplitter, pieces: list[bytes]) -> list[bytes]:
    return [line for piece in pieces for line in splitter.feed(piece)]


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=20))
def test_bytes_split_anywhere_give_the_same_lines(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    at_once, in_pieces = LineSplitter(max_line_bytes=1000), LineSplitter(max_line_bytes=1000)
    assert feed_all(in_pieces, pieces) == at_once.feed(data)
    assert in_pieces.held_bytes == at_once.held_bytes
    byte_by_byte = LineSplitter(max_line_bytes=1000)
    assert feed_all(byte_by_byte, [bytes([byte]) for byte in data]) == LineSplitter(
        max_line_bytes=1000
    ).feed(data)


@pytest.mark.fault("C10")
def test_blank_lines_are_left_out_and_a_carriage_return_before_the_newline_is_dropped() -> None:
    splitter = LineSplitter(max_line_bytes=100)
    assert splitter.feed(b'\n \r\n{"a":1}\r\n\t\n{"b":2}\n') == [b'{"a":1}', b'{"b":2}']


@pytest.mark.fault("C6")
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_over_the_limit_is_refused_at_the_first_byte_too_many(ending: bytes) -> None:
    splitter = LineSplitter(max_line_bytes=10)
    assert splitter.feed(b"0123456789") == []
    with pytest.raises(LineTooLong) as refused:
        splitter.feed(b"x" + ending)
    assert refused.value.lines == []
    assert splitter.held_bytes == 0


@pytest.mark.fault("C6")
def test_whole_lines_before_one_that_is_too_long_are_not_lost() -> None:
    with pytest.raises(LineTooLong) as refused:
        LineSplitter(max_line_bytes=4).feed(b"ab\ncd\nabcde")
    assert refused.value.lines == [b"ab", b"cd"]


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    assert LineSplitter(max_line_bytes=4).feed(b"abcd\n") == [b"abcd"]


@pytest.mark.fault("C12")
def test_a_line_that_comes_byte_by_byte_costs_work_linear_in_its_bytes() -> None:
    def seconds_for(size: int) -> float:
        splitter = LineSplitter(max_line_bytes=size)
        started = time.process_time()
        for _ in range(size):
            splitter.feed(b"x")
        assert splitter.feed(b"\n") == [b"x" * size]
        return time.process_time() - started

    small = min(seconds_for(20_000) for _ in range(3))
    # Rescanning from the start would take 64 times as long for 8 times the bytes.
    assert seconds_for(160_000) < 30 * small


@given(data=st.one_of(st.binary(max_size=50), st.binary(max_size=50).map(lambda b: b + b"\n")))
def test_one_line_in_one_read_is_the_line_that_splitting_would_give(data: bytes) -> None:
    splitter = LineSplitter(max_line_bytes=40)
    line = splitter.whole_line(data)
    if line is not None:
        assert splitter.feed(data) == [line]
        assert splitter.held_bytes == 0
