from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import ParseError
from sutlerd.system import strict

_MANY = strict.MAX_MARKS + 1
_LONG = 4 << 20


@pytest.mark.fault("C9")
@given(st.text(alphabet=st.sampled_from('\\"{}[]:, a\n'), max_size=30), st.integers(0, 2))
def test_what_looks_like_json_within_a_string_is_not_taken_for_it(text: str, long: int) -> None:
    value = {text: [text, {"k": text}], "padding": "x" * (long * 40_000)}
    for separators in ((",", ":"), (", ", ": "), ("\t,", " :")):
        line = json.dumps(value, separators=separators).encode()
        assert strict.loads(line) == value


@pytest.mark.fault("C8")
@pytest.mark.fault("R5")
@pytest.mark.parametrize(
    "line",
    [
        b'"\\' * (_LONG // 2),
        b'"' * _LONG,
        b'\\"' * (_LONG // 2),
        b"[" * _LONG,
        b"[]," * (_LONG // 3),
        b"[" * (_LONG // 2) + b"]" * (_LONG // 2),
        b'{"a":[' + (b"[" * 60 + b"]" * 60 + b",") * 20_000 + b"1]}",
        json.dumps([{"a": 1}] * 500_000).encode(),
        json.dumps(["x"] * 900_000).encode(),
    ],
    ids=lambda line: repr(line[:12]),
)
def test_a_hostile_line_is_refused_with_work_linear_in_its_length(line: bytes) -> None:
    # A scan that begins anew at each quote or bracket would take hours for these.
    with pytest.raises(ParseError):
        strict.loads(line)


@pytest.mark.fault("C8")
def test_as_many_values_as_a_large_embedding_needs_are_read() -> None:
    value = {"method": "embed", "params": {"texts": [f"text, {n}" for n in range(100_000)]}}
    assert strict.loads(json.dumps(value).encode()) == value
    with pytest.raises(ParseError, match=f"more than {strict.MAX_MARKS} values"):
        strict.loads(json.dumps([1] * _MANY).encode())


@pytest.mark.fault("C9")
@pytest.mark.parametrize("first", ["1", "9" * 300, "1e5", '{"b": 1, "c": 2}'])
def test_a_duplicate_key_is_named_whatever_its_values_are(first: str) -> None:
    with pytest.raises(ParseError, match='duplicate key "a"'):
        strict.loads(b'{"a": %b, "a": 2}' % first.encode())


@pytest.mark.fault("C9")
def test_a_duplicate_key_is_found_in_a_long_line_too() -> None:
    padding: Any = json.dumps("y: " * 50_000).encode()
    with pytest.raises(ParseError, match="duplicate key"):
        strict.loads(b'{"a": 1, "b": %b, "a": 2}' % padding)
    assert strict.loads(b'{"a": 1, "b": %b}' % padding)["a"] == 1
