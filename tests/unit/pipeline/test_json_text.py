from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.pipeline.json_text import MAX_DEPTH, MAX_VALUES, is_too_deep, json_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
COMPOUND = st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=4)


@given(value=JSON)
def test_a_text_that_is_json_is_what_it_says(value: Any) -> None:
    assert json_values(json.dumps(value)) == [value]


@given(value=COMPOUND, indent=st.sampled_from([None, 2]))
def test_json_in_prose_or_fences_is_found(value: Any, indent: int | None) -> None:
    spelt = json.dumps(value, indent=indent)
    assert json_values(f"Here you are: {spelt} I hope it helps (really).")[0] == value
    assert json_values(f"Of course!\n```json\n{spelt}\n```\nAnything else?")[0] == value


@pytest.mark.parametrize(
    ("text", "likeliest"),
    [
        ('As [1] says: {"a": 1}', {"a": 1}),
        ('an unclosed [bracket and {"a": 1}', {"a": 1}),
        ('\ufeff {"a": 1}\n', {"a": 1}),
        ('```\n{"a": 1}\n```', {"a": 1}),
        ('{"a": "}{"} and more', {"a": "}{"}),
        ("I think [1, 2, 3] is right", [1, 2, 3]),
    ],
)
def test_the_likeliest_value_comes_first(text: str, likeliest: Any) -> None:
    assert json_values(text)[0] == likeliest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "no JSON here",
        '{"a": NaN}',
        '{"a": 1',
        '"\\ud800"',
        "{'a': 1}",
        "The answer is 4",
    ],
)
def test_what_is_no_json_is_nothing(text: str) -> None:
    assert json_values(text) == []


@pytest.mark.fault("P30")
@pytest.mark.parametrize("hostile", ["{", "[", '{"a":', '["a",', "}{", "[]", "```json\n"])
def test_a_megabyte_of_braces_is_read_in_bounded_steps(hostile: str) -> None:
    values = json_values(hostile * (1024 * 1024 // len(hostile)))
    assert len(values) <= MAX_VALUES


def test_depth_is_measured_without_going_down_the_stack() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert not is_too_deep(deep)
    for _ in range(5000):
        deep = {"a": deep}
    assert is_too_deep(deep)
