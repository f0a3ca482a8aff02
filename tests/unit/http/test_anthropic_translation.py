"""Anthropic's requests into the wire's parameters, replies into its shapes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.errors import InvalidParams
from sutlerd.http import anthropic_ask, anthropic_tell
from tests.unit.http.test_openai_translation import REPLY

TEXT = {"type": "text", "text": "hello"}


def asked(*content: Any, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": list(content)}]
    return {"model": "m", "max_tokens": 5, "messages": messages, **more}


def refused(body: Any) -> str:
    with pytest.raises(InvalidParams) as refusal:
        anthropic_ask.messages(body)
    return refusal.value.message


def test_marks_for_their_own_cache_do_not_change_the_call() -> None:
    marked = {**TEXT, "cache_control": {"type": "ephemeral"}}
    plain = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    expected = anthropic_ask.messages(plain)
    assert anthropic_ask.messages(asked(TEXT)) == expected
    assert anthropic_ask.messages(asked(marked)) == expected
    assert anthropic_ask.messages(asked(TEXT, thinking={"type": "disabled"}, tools=[])) == expected
    assert anthropic_ask.messages(asked(TEXT, service_tier="auto", system="")) == expected


def test_tool_results_become_messages_of_their_own_before_what_is_said() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "sun"}],
        "is_error": True,
    }
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    body = asked(TEXT, result)
    body["messages"].insert(0, {"role": "assistant", "content": [thought, used]})
    told = anthropic_ask.messages(body)["messages"]
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert told == [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: sun"},
        {"role": "user", "content": "hello"},
    ]


def _blocks_of_stream(reply: dict[str, Any]) -> list[dict[str, Any]]:
    told = anthropic_tell.Events(answer_id="a", model="m").end(reply)
    events = [orjson.loads(line[6:]) for line in told.split(b"\n") if line.startswith(b"data: ")]
    return [each["content_block"] for each in events if each["type"] == "content_block_start"]


def test_reasoning_that_the_provider_wants_back_comes_and_goes_as_a_block_nobody_reads() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "signed"}
    parts = [thought, {"type": "call"}]
    state = {"wire": "anthropic", "route": "anthropic/m", "parts": parts}
    used = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    reply = {**REPLY, "content": None, "tool_calls": [used], "reasoning_state": state}
    blocks = anthropic_tell.message(reply, answer_id="a")["content"]
    assert _blocks_of_stream(reply) == blocks[-1:]
    body = asked({"type": "tool_result", "tool_use_id": "t1", "content": "sun"})
    body["messages"].insert(0, {"role": "assistant", "content": blocks})
    told = anthropic_ask.messages(body)["messages"][0]
    assert told == {"role": "assistant", "tool_calls": [used], "reasoning_state": state}


@pytest.mark.parametrize("data", ["", "another's", "sutler:", "sutler:!", "sutler:W10=", 7, None])
def test_reasoning_of_others_or_changed_carries_nothing(data: Any) -> None:
    body = asked(TEXT)
    spoilt = {"type": "redacted_thinking", "data": data}
    body["messages"].insert(0, {"role": "assistant", "content": [spoilt, TEXT]})
    told = anthropic_ask.messages(body)["messages"][0]
    assert told == {"role": "assistant", "content": "hello"}


def test_choices_tools_and_formats_have_their_words_on_the_wire() -> None:
    tool = {"name": "f", "description": "d", "input_schema": {"type": "object"}}
    choice = {"type": "any", "disable_parallel_tool_use": True}
    told = anthropic_ask.messages(asked(TEXT, tools=[tool], tool_choice=choice, top_k=3))
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    assert told["functions"] == [function]
    assert (told["function_call"], told["parallel_tool_calls"]) == ("required", False)
    assert told["extra"] == {"top_k": 3}
    image = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    seen = anthropic_ask.messages(asked(TEXT, {"type": "image", "source": image}))["messages"]
    assert seen[0]["content"][1]["image_url"]["url"] == "data:image/png;base64,AA=="


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "JSON object"),
        ({"messages": []}, "list of messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "max_tokens: Field required"),
        (asked({"type": "document"}), "must be text, image or tool_result"),
        (asked(5), "list of blocks"),
        (asked(TEXT, tools=[{"type": "bash_20250124", "name": "bash"}]), "not served"),
        (asked(TEXT, mcp_servers=[{}]), "MCP"),
        (asked(TEXT, tool_choice="auto"), "tool_choice"),
        (asked({"type": "image", "source": {"type": "file"}}), "base64 or url"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(body: Any, why: str) -> None:
    assert why in refused(body)


def test_what_was_cached_is_no_part_of_the_input() -> None:
    counts = {**REPLY["usage"], "cached_tokens": 4, "cache_write_tokens": 2}
    told = anthropic_tell.usage(counts)
    assert (told["input_tokens"], told["cache_read_input_tokens"]) == (3, 4)
    assert told["cache_creation_input_tokens"] == 2


def test_broken_arguments_are_handed_on_as_the_text_they_are() -> None:
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{oops"}}
    told = anthropic_tell.message({**REPLY, "tool_calls": [call]}, answer_id="a")
    assert told["content"][-1]["input"] == {"raw_arguments": "{oops"}


PIECES = st.one_of(
    st.text(min_size=1).map(lambda text: {"delta": text}),
    st.text(min_size=1).map(lambda text: {"delta": "", "reasoning": text}),
    st.integers(0, 2).map(
        lambda at: {"delta": "", "tool_calls": [{"index": at, "function": {"arguments": "1"}}]}
    ),
)


@given(st.lists(PIECES, max_size=12))
def test_every_block_is_opened_filled_and_closed_in_turn(pieces: list[dict[str, Any]]) -> None:
    events = anthropic_tell.Events(answer_id="a", model="m")
    written = events.start() + events.pieces([orjson.dumps(piece)[1:-1] for piece in pieces])
    written += events.end(REPLY)
    told = [orjson.loads(part.split(b"data: ")[1]) for part in written.split(b"\n\n") if part]
    assert [each["type"] for each in told[:2]] == ["message_start", "ping"]
    assert [each["type"] for each in told[-2:]] == ["message_delta", "message_stop"]
    open_index, count = None, 0
    for each in told[2:-2]:
        if each["type"] == "content_block_start":
            assert open_index is None
            assert each["index"] == count
            open_index, count = count, count + 1
        else:
            assert each["index"] == open_index
            if each["type"] == "content_block_stop":
                open_index = None
    assert open_index is None
