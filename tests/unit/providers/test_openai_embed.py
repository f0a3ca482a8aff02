from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.reply import Embedded
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_embed import pack, read_vector
from sutlerd.providers.openai_switches import COMPATIBLE
from sutlerd.providers.transport import Response

DIALECT = OpenAIChat(provider="x", switches=COMPATIBLE)


def read(data: Any, texts: int = 2, dimensions: int | None = None, **fields: Any) -> Embedded:
    body: dict[str, Any] = {"input": ["t"] * texts}
    if dimensions is not None:
        body["dimensions"] = dimensions
    built = BuiltRequest(model="asked", path="/embeddings", body=body)
    answer = json.dumps({"data": data, **fields}).encode()
    return DIALECT.read_embed(built, Response(status=200, headers={}, body=answer))


def item(vector: Any, index: Any = None) -> dict[str, Any]:
    return {"embedding": vector} if index is None else {"embedding": vector, "index": index}


def coded(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_vectors_come_in_decimals_and_in_base64_and_are_the_same() -> None:
    floats = read([item([1.0, -0.5], 0), item([2.0, 0.25], 1)])
    packed = read([item(coded(1.0, -0.5), 0), item(coded(2.0, 0.25), 1)])
    assert floats == packed
    assert floats.vectors[1] == struct.pack("<2f", 2.0, 0.25)
    assert (floats.dimension, floats.model, floats.provider) == (2, "asked", "x")


@pytest.mark.fault("P24")
def test_vectors_are_put_in_the_order_of_their_texts() -> None:
    assert read([item([2.0], 1), item([1.0], 0)]).vectors == (pack([1.0]), pack([2.0]))
    assert read([item([1.0]), item([2.0])]).vectors == (pack([1.0]), pack([2.0]))


@pytest.mark.fault("P24")
@pytest.mark.parametrize(
    "data",
    [
        [item([1.0], 0)],
        [item([1.0], 0), item([2.0], 1), item([3.0], 2)],
        [item([1.0], 0), item([2.0], 0)],
        [item([1.0], 0), item([2.0], 2)],
        [item([1.0], 0), item([2.0], -1)],
        [item([1.0], 0), item([2.0], True)],
        [item([1.0], 0), item([2.0, 3.0], 1)],
        [item([1.0], 0), item([], 1)],
        [item([1.0], 0), item([1e39], 1)],
        [item([1.0], 0), item(["x"], 1)],
        [item([1.0], 0), item(None, 1)],
        [item([1.0], 0), item({"a": 1}, 1)],
        [item(coded(1.0), 0), item(coded(math.nan), 1)],
        [item(coded(1.0), 0), item(coded(math.inf), 1)],
        [item(coded(1.0), 0), item(coded(-math.inf), 1)],
        [item(coded(1.0), 0), item("AAA=", 1)],
        [item(coded(1.0), 0), item("AAAAA", 1)],
        [item(coded(1.0), 0), item("not base64!", 1)],
        [item(coded(1.0), 0), item("", 1)],
        [],
        None,
        "no list",
    ],
)
def test_vectors_that_do_not_match_their_texts_fail_the_call(data: Any) -> None:
    with pytest.raises(AttemptFailed) as raised:
        read(data)
    assert (raised.value.kind, raised.value.outcome) == ("bad_body", Outcome.UNKNOWN)


@pytest.mark.fault("P24")
def test_another_dimension_than_was_asked_for_fails_the_call() -> None:
    with pytest.raises(AttemptFailed, match="dimensions"):
        read([item([1.0], 0), item([2.0], 1)], dimensions=2)


@pytest.mark.fault("P24")
def test_not_a_number_in_decimals_is_not_even_json() -> None:
    built = BuiltRequest(model="e", path="/embeddings", body={"input": ["t"]})
    answer = b'{"data": [{"embedding": [NaN], "index": 0}]}'
    with pytest.raises(AttemptFailed):
        DIALECT.read_embed(built, Response(status=200, headers={}, body=answer))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(tokens_in=5, tokens_out=0)),
        ({"total_tokens": 5}, Usage(tokens_in=5, tokens_out=0)),
        ({"total_tokens": -5}, Usage()),
        (None, Usage()),
    ],
)
def test_usage_is_the_prompt_s(usage: Any, expected: Usage) -> None:
    assert read([item([1.0])], texts=1, usage=usage).usage == expected


@pytest.mark.fault("P18")
def test_an_error_where_vectors_should_be_is_that_error() -> None:
    with pytest.raises(AttemptFailed) as raised:
        read(None, error={"message": "slow down", "code": 429})
    assert raised.value.kind == "rate_limit"


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_exactly_the_finite_vectors_are_taken(values: list[float]) -> None:
    packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    if all(map(math.isfinite, values)):
        assert struct.unpack(f"<{len(values)}f", read_vector(packed)) == tuple(values)
    else:
        with pytest.raises(ValueError, match="finite"):
            read_vector(packed)
