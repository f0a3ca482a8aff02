from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.reply import Reply
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import COMPATIBLE
from sutlerd.providers.transport import Response

FIELDS = (
    "choices",
    "message",
    "content",
    "tool_calls",
    "function",
    "name",
    "usage",
    "arguments",
    "error",
    "finish_reason",
    "id",
    "refusal",
    "text",
    "type",
)
DIALECT = OpenAIChat(provider="x", switches=COMPATIBLE)
BUILT = BuiltRequest(model="asked", path="/chat/completions", body={})


def read(body: object, status: int = 200, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.read_reply(BUILT, Response(status=status, headers=headers, body=data))


def completion(
    message: dict[str, Any] | None = None, finish: Any = "stop", **fields: Any
) -> dict[str, Any]:
    choice = {"index": 0, "message": message or {"content": "4"}, "finish_reason": finish}
    return {"id": "c1", "model": "served", "choices": [choice], **fields}


def failure(body: object) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        read(body)
    return raised.value


def test_a_reply_is_read() -> None:
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    reply = read(completion(usage=usage))
    assert (reply.content, reply.finish_reason, reply.model) == ("4", "stop", "served")
    assert reply.usage == Usage(
        tokens_in=20,
        tokens_out=9,
        cached_tokens_in=16,
        cache_write_tokens_in=4,
        reasoning_tokens_out=5,
    )
    assert reply.provider == "x"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}}, (3, 1, None)),
        ({"usage": {"prompt_tokens": 3, "prompt_cache_hit_tokens": 2}}, (3, None, 2)),
        ({}, (None, None, None)),
        ({"usage": None}, (None, None, None)),
        ({"usage": {"prompt_tokens": -3, "completion_tokens": "7"}}, (None, None, None)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": 1e300}}, (None, None, None)),
        ({"usage": {"prompt_tokens": 1, "prompt_tokens_details": None}}, (1, None, None)),
    ],
)
@pytest.mark.fault("P21")
def test_counts_that_were_not_said_are_none_and_never_made_up(
    usage: dict[str, Any], expected: tuple[int | None, ...]
) -> None:
    got = read(completion(**usage)).usage
    assert (got.tokens_in, got.tokens_out, got.cached_tokens_in) == expected


@pytest.mark.fault("P22")
@pytest.mark.parametrize(
    ("word", "finish", "raw"),
    [
        ("stop", "stop", None),
        ("length", "length", None),
        ("tool_calls", "tool_calls", None),
        ("content_filter", "content_filter", None),
        ("function_call", "tool_calls", "function_call"),
        ("refusal", "content_filter", "refusal"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded"),
        ("MAX_TOKENS", "length", "MAX_TOKENS"),
        ("eos", "stop", "eos"),
        (None, "stop", "missing"),
        (7, "stop", "missing"),
    ],
)
def test_finish_reasons_are_mapped_and_unknown_ones_kept(
    word: Any, finish: str, raw: str | None
) -> None:
    reply = read(completion(finish=word))
    assert (reply.finish_reason, reply.raw_finish_reason) == (finish, raw)


@pytest.mark.fault("P20")
@pytest.mark.parametrize("content", [None, "", []])
def test_a_complete_but_empty_answer_is_a_reply(content: Any) -> None:
    reply = read(completion({"role": "assistant", "content": content}, finish="length"))
    assert (reply.content, reply.finish_reason) == ("", "length")


@pytest.mark.fault("P17")
@pytest.mark.fault("P20")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"choices": [',
        b"<html>Please log in</html>",
        b"[]",
        b"null",
        {},
        {"choices": []},
        {"choices": None},
        {"choices": [7]},
        {"choices": [{"finish_reason": "stop"}]},
        b"[" * 100_000,
        b'{"choices": NaN}',
    ],
)
def test_a_body_that_is_no_answer_was_perhaps_billed_and_may_be_tried_again(body: object) -> None:
    failed = failure(body)
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)
    assert failed.kind == "bad_body"


@pytest.mark.fault("P18")
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "slow down", "code": 429}},
        {"choices": None, "error": {"message": "slow down", "code": 429}},
        {"choices": [{"error": {"message": "slow down", "code": 429}, "finish_reason": "error"}]},
    ],
)
def test_an_error_at_status_200_is_an_error(body: object) -> None:
    failed = failure(body)
    assert (failed.kind, failed.outcome) == ("rate_limit", Outcome.NOT_BILLED)
    assert "slow down" in failed.message


@pytest.mark.parametrize("word", ["error", "insufficient_system_resource"])
def test_an_answer_that_broke_off_is_no_answer(word: str) -> None:
    assert failure(completion(finish=word)).verdict is Verdict.RETRY


@pytest.mark.fault("P22")
def test_text_and_thought_are_told_apart_by_type_never_by_place() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "hologram", "text": "?"},
        {"type": "text", "text": "4"},
        "not a part",
    ]
    reply = read(completion({"content": parts}))
    assert (reply.content, reply.reasoning) == ("4", "hm")
    for name in ("reasoning", "reasoning_content"):
        assert read(completion({"content": "4", name: "hm"})).reasoning == "hm"


def test_a_refusal_is_its_own_finish() -> None:
    reply = read(completion({"content": None, "refusal": "I cannot"}))
    assert (reply.content, reply.finish_reason) == ("I cannot", "content_filter")


@pytest.mark.fault("P23")
def test_tool_calls_are_read_whole_and_arguments_stay_the_string_they_are() -> None:
    def call(arguments: Any, **fields: Any) -> dict[str, Any]:
        return {"type": "function", "function": {"name": "f", "arguments": arguments}, **fields}

    calls = [
        call('{"a": 1}', id="call_a", index=0),
        call('{"a": ', id="call_b", index=0),
        call({"a": 2}),
        call(""),
    ]
    reply = read(completion({"content": None, "tool_calls": calls}, finish="stop"))
    assert reply.finish_reason == "tool_calls"
    assert [c.arguments for c in reply.tool_calls] == ['{"a": 1}', '{"a": ', '{"a":2}', "{}"]
    assert [c.broken for c in reply.tool_calls] == [False, True, False, False]
    ids = [c.id for c in reply.tool_calls]
    assert ids[:2] == ["call_a", "call_b"]
    assert len(set(ids)) == 4


def test_the_old_spelling_of_a_call_is_one_too() -> None:
    message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    (call,) = read(completion(message, finish="function_call")).tool_calls
    assert call.name == "f"


def test_a_call_without_a_name_is_no_answer() -> None:
    message = {"content": None, "tool_calls": [{"id": "x", "function": {"arguments": "{}"}}]}
    assert failure(completion(message)).kind == "bad_body"


def test_a_model_s_name_is_shown_only_if_it_is_one() -> None:
    assert read({**completion(), "model": "a\nb"}).model == "asked"
    assert read({**completion(), "model": None}).model == "asked"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "tool_calls",
                        "function",
                        "name",
                        "usage",
                        "arguments",
                        "error",
                        "finish_reason",
                        "id",
                        "refusal",
                        "text",
                        "type",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=25,
    )
)
def test_no_json_gives_anything_but_a_reply_or_a_failure(body: object) -> None:
    with contextlib.suppress(AttemptFailed):
        assert isinstance(read(body), Reply)
