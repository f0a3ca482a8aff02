"""OpenAI's requests into the wire's parameters, replies into its shapes: no daemon, no HTTP."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import InvalidParams
from sutlerd.http import openai_ask, openai_tell

ASK = [{"role": "user", "content": "hello"}]
COUNTS = {
    "prompt_tokens": 9,
    "cached_tokens": 4,
    "cache_write_tokens": None,
    "completion_tokens": 3,
    "reasoning_tokens": None,
    "total_tokens": 12,
}
REPLY: dict[str, Any] = {
    "content": "hi",
    "finish_reason": "stop",
    "tool_calls": None,
    "reasoning": None,
    "parsed": None,
    "model": "m",
    "provider": "p",
    "usage": COUNTS,
}


def refused(body: Any) -> str:
    with pytest.raises(InvalidParams) as refusal:
        openai_ask.chat(body)
    return refusal.value.message


def test_what_says_nothing_is_left_out() -> None:
    says_nothing = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "tools": [],
        "stop": None,
        "store": False,
        "service_tier": "auto",
        "modalities": ["text"],
        "response_format": {"type": "text"},
        "stream_options": {"include_usage": True},
        "prompt_cache_key": "k",
    }
    params, samples = openai_ask.chat({"model": "m", "messages": ASK, **says_nothing})
    assert params == {"model": "m", "messages": ASK}
    assert samples == 1


def test_what_only_a_provider_can_judge_goes_through() -> None:
    params, _ = openai_ask.chat({"messages": ASK, "top_k": 5, "presence_penalty": 0.5})
    assert params["extra"] == {"top_k": 5, "presence_penalty": 0.5}


@pytest.mark.parametrize("name", ["logprobs", "audio", "prediction", "web_search_options", "store"])
def test_what_cannot_be_kept_is_refused_by_name(name: str) -> None:
    assert f"{name}: " in refused({"messages": ASK, name: True})


@pytest.mark.parametrize("samples", [0, -1, 129, 1.5, "2", True])
def test_a_senseless_number_of_samples_is_refused(samples: Any) -> None:
    assert "n: must be a number" in refused({"messages": ASK, "n": samples})


@pytest.mark.parametrize("body", [None, [], "x", 5, {}, {"messages": "x"}, {"messages": [5]}])
def test_what_is_no_request_is_refused(body: Any) -> None:
    assert refused(body)


def test_one_part_of_text_is_the_text_and_what_an_answer_had_is_taken_out() -> None:
    answered = {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
        "reasoning_content": "hm",
    }
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    params, _ = openai_ask.chat({"messages": [*parts, answered]})
    assert params["messages"] == [*ASK, {"role": "assistant", "content": "hi"}]


def test_samples_have_numbers_and_names_of_their_own() -> None:
    one = {"model": "m", "request_id": "k"}
    assert openai_ask.samples_of(one, 1) == [one]
    assert openai_ask.samples_of(one, 3) == [
        {"model": "m", "request_id": "k", "sample": 0},
        {"model": "m", "request_id": "k/1", "sample": 1},
        {"model": "m", "request_id": "k/2", "sample": 2},
    ]


def test_usage_is_whole_or_unknown() -> None:
    told = openai_tell.usage(COUNTS)
    assert told is not None
    assert told["prompt_tokens_details"] == {"cached_tokens": 4}
    assert openai_tell.usage({**COUNTS, "completion_tokens": None}) is None
    both = openai_tell.summed([REPLY, REPLY])
    assert both is not None
    assert both["total_tokens"] == 24
    unknown = {**REPLY, "usage": {**COUNTS, "prompt_tokens": None}}
    assert openai_tell.summed([REPLY, unknown]) is None


def _read(written: bytes) -> list[Any]:
    return [orjson.loads(line[6:]) for line in written.decode().split("\n\n") if line]


@given(st.lists(st.text(min_size=1), max_size=8), st.integers(1, 4))
def test_chunks_say_the_same_however_the_pieces_come(texts: list[str], size: int) -> None:
    pieces = [b'"delta":' + orjson.dumps(text) for text in texts]

    def said(portions: list[list[bytes]]) -> list[Any]:
        chunks = openai_tell.ChatChunks(answer_id="a", created_unix_s=1, model="m")
        written = b"".join(chunks.pieces(0, portion) for portion in portions)
        return _read(written + chunks.end(0, REPLY))

    whole = said([pieces])
    assert whole == said([pieces[at : at + size] for at in range(0, len(pieces), size)])
    deltas = [chunk["choices"][0]["delta"] for chunk in whole]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "".join(texts)
    assert whole[-1]["choices"][0]["finish_reason"] == "stop"
