from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import ParseError
from sutlerd.server.requests import BadRequest, Request, decode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def line(**members: Any) -> bytes:
    return json.dumps(members).encode()


@given(params=st.dictionaries(TEXT, JSON, max_size=5), compact=st.booleans())
def test_every_strict_request_is_read_as_it_was_written(
    params: dict[str, Any], compact: bool
) -> None:
    written = {"id": 7, "method": "complete", "params": params}
    text = json.dumps(written, ensure_ascii=not compact, separators=(",", ":") if compact else None)
    assert decode(text.encode()) == Request(id=7, method="complete", params=params)


@pytest.mark.fault("C7")
@pytest.mark.parametrize(
    "bad",
    [
        b'{"method":"\xff"}',
        b'{"method":"\xc0\xaf"}',
        b'{"method":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"method":"ping"}',
        b'{"method":"pi\x00ng"}',
    ],
)
def test_bad_bytes_are_a_parse_error_that_shows_them_escaped(bad: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        decode(bad)
    shown = refused.value.data["line_start"]
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.fault("C7")
def test_the_bytes_shown_of_a_bad_line_are_cut_to_a_hundred() -> None:
    with pytest.raises(ParseError) as refused:
        decode(b"\xff" * 100_000)
    assert refused.value.data["line_start"] == "\\xff" * 100


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.fault("C8")
@pytest.mark.parametrize(
    ("opening", "closing", "levels"),
    [(b"[", b"]", 1), (b'{"a":', b"}", 1), (b'[{"a":', b"}]", 2), (b'{"a":[', b"]}", 2)],
)
def test_nesting_is_allowed_to_sixty_four_and_no_further(
    opening: bytes, closing: bytes, levels: int
) -> None:
    inner = nested(opening, closing, 62 // levels)
    assert decode(b'{"method":"x","params":{"p":' + inner + b"}}").method == "x"
    for deeper in (64 // levels, 5_000, 1_000_000):
        with pytest.raises(ParseError, match="nested deeper than 64"):
            decode(b'{"method":"x","params":{"p":' + nested(opening, closing, deeper) + b"}}")


@pytest.mark.fault("C8")
def test_exactly_sixty_four_levels_are_taken_and_sixty_five_are_not() -> None:
    with pytest.raises(BadRequest, match="batch"):
        decode(b"[" * 64 + b"]" * 64)
    with pytest.raises(ParseError, match="nested"):
        decode(b"[" * 65 + b"]" * 65)


@pytest.mark.fault("C8")
def test_brackets_in_strings_do_not_count() -> None:
    text = "[{" * 500 + '\\"[[' + "]" * 100
    assert decode(line(method="x", params={"text": text})).params == {"text": text}


@pytest.mark.fault("C9")
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"NaN", "NaN"),
        (b"-Infinity", "Infinity"),
        (b"1e400", "infinity"),
        (b'"\\ud800"', "surrogate"),
        (b'{"a":1,"a":2}', 'duplicate key "a"'),
    ],
)
@pytest.mark.parametrize("around", [b"%b", b'{"method":"x","params":{"deep":[{"er":%b}]}}'])
def test_what_is_not_strict_json_is_refused_and_named(
    value: bytes, says: str, around: bytes
) -> None:
    with pytest.raises(ParseError, match=says):
        decode(around % value)


@pytest.mark.fault("C9")
@given(TEXT, JSON, JSON, st.booleans())
def test_a_duplicate_key_is_found_wherever_and_however_it_is_spelt(
    key: str, first: Any, second: Any, spaced: bool
) -> None:
    spelt = json.dumps(key)
    escaped = '"' + "".join(f"\\u{ord(char):04x}" for char in key if ord(char) < 0x10000) + '"'
    other = escaped if json.loads(escaped) == key else spelt
    colon = " : " if spaced else ":"
    text = f"{{{spelt}{colon}{json.dumps(first)},{other}{colon}{json.dumps(second)}}}"
    with pytest.raises(ParseError, match="duplicate key"):
        decode(f'{{"method":"x","params":[{text}]}}'.encode())


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("bad", "known_id"),
    [
        (b"[]", None),
        (b'[{"id":1,"method":"ping"}]', None),
        (b'"x"', None),
        (b"{}", None),
        (b'{"id":4,"method":5}', 4),
        (b'{"id":true,"method":"ping"}', None),
        (b'{"id":{},"method":"ping"}', None),
        (b'{"id":1e30,"method":"ping"}', None),
        (b'{"id":100000000000000000000000000000,"method":"ping"}', None),
        (b'{"id":"' + b"x" * 200_000 + b'","method":"ping"}', None),
        (b'{"id":"a","method":"ping","params":[]}', "a"),
        (b'{"id":"a","method":"ping","surplus":1}', "a"),
        (b'{"id":"a","method":"ping","jsonrpc":"1.0"}', "a"),
    ],
)
def test_json_that_is_no_request_is_refused_under_its_id_if_that_was_good(
    bad: bytes, known_id: object
) -> None:
    with pytest.raises(BadRequest) as refused:
        decode(bad)
    assert refused.value.id == known_id
    assert refused.value.error.type == "invalid_request"


@pytest.mark.parametrize("good", [0, -(2**63), 2**63 - 1, "x" * 128, None])
def test_ids_of_every_allowed_kind_come_back_unchanged(good: object) -> None:
    assert decode(line(id=good, method="ping")).id == good


def test_a_null_for_params_is_the_same_as_leaving_them_out() -> None:
    assert decode(b'{"method":"ping","params":null}') == Request(id=None, method="ping", params={})
