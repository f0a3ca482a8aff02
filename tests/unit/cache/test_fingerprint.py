"""The cache key: equal for the same question, different for any other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.cache.fingerprint import (
    FINGERPRINT_BYTES,
    REPLY,
    TENANT_BYTES,
    VECTOR,
    fingerprint,
    tenant_part,
)

ASKED: dict[str, Any] = {
    "tenant": "uid:1000",
    "kind": "chat",
    "provider": "openai",
    "model": "gpt",
    "body": {"messages": [{"role": "user", "content": "hello"}], "temperature": 0},
    "sample": 0,
}

texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(-(2.0**53), 2.0**53)
    | texts
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(texts, json_values, max_size=5)


def permuted(value: Any, shuffle: Any) -> Any:
    if isinstance(value, dict):
        keys = shuffle(sorted(value))
        return {key: permuted(value[key], shuffle) for key in keys}
    if isinstance(value, list):
        return [permuted(member, shuffle) for member in value]
    return value


@given(bodies, st.randoms())
def test_the_order_of_keys_never_matters(body: dict[str, Any], random: Any) -> None:
    def shuffle(keys: list[str]) -> list[str]:
        random.shuffle(keys)
        return keys

    there = fingerprint(**{**ASKED, "body": body})
    assert len(there) == FINGERPRINT_BYTES
    assert fingerprint(**{**ASKED, "body": permuted(body, shuffle)}) == there


@given(bodies, bodies)
def test_two_requests_share_a_key_only_if_they_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = fingerprint(**{**ASKED, "body": one}) == fingerprint(**{**ASKED, "body": other})
    # Python takes True for 1; JSON does not.
    assert same == (typed(one) == typed(other))


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [typed(member) for member in value]
    return (isinstance(value, bool), value)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("tenant", "uid:1001"),
        ("kind", "embed"),
        ("provider", "vllm"),
        ("model", "gpt-mini"),
        ("body", {**ASKED["body"], "num_ctx": 4096}),
        ("body", {**ASKED["body"], "temperature": None}),
        ("sample", 1),
    ],
)
def test_every_part_of_the_question_is_part_of_the_key(name: str, other: Any) -> None:
    assert fingerprint(**{**ASKED, name: other}) != fingerprint(**ASKED)


def test_parts_do_not_run_into_each_other() -> None:
    one = fingerprint(**{**ASKED, "provider": "ab", "model": "c"})
    assert one != fingerprint(**{**ASKED, "provider": "a", "model": "bc"})


def test_a_whole_number_is_the_same_however_it_is_written() -> None:
    as_float = fingerprint(**{**ASKED, "body": {"temperature": 0.0, "top_p": 1.0}})
    assert as_float == fingerprint(**{**ASKED, "body": {"temperature": 0, "top_p": 1}})
    assert as_float != fingerprint(**{**ASKED, "body": {"temperature": 0.1, "top_p": 1}})
    assert as_float != fingerprint(**{**ASKED, "body": {"temperature": False, "top_p": 1}})


def test_tuples_are_lists() -> None:
    one = fingerprint(**{**ASKED, "body": {"stop": ("a", "b")}})
    assert one == fingerprint(**{**ASKED, "body": {"stop": ["a", "b"]}})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), "\ud800", 2**64, {1: "x"}, b"bytes", object()],
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        fingerprint(**{**ASKED, "body": {"deep": [{"er": value}]}})


def test_the_key_is_stable_between_releases() -> None:
    # A change here empties every cache: raise KEY_VERSION and say so in the change log.
    assert fingerprint(**ASKED).hex() == KNOWN


KNOWN = (
    "abeaaca75e2bf8bcb67e5c690210740572"
    "2dbc8ae195b2ca49c47bed28c19b4d84b85e545693cc1da630564f0eb6783770"
)


def test_tenants_share_all_of_a_key_but_its_first_part() -> None:
    ours, theirs = (fingerprint(**{**ASKED, "tenant": each}) for each in ("uid:1", "uid:2"))
    assert ours[:TENANT_BYTES] == tenant_part("uid:1")
    assert ours[:TENANT_BYTES] != theirs[:TENANT_BYTES]
    assert ours[TENANT_BYTES:] == theirs[TENANT_BYTES:]
    assert ours[TENANT_BYTES : TENANT_BYTES + 1] == REPLY
    vector = fingerprint(**{**ASKED, "kind": "embed"})
    assert vector[TENANT_BYTES : TENANT_BYTES + 1] == VECTOR
