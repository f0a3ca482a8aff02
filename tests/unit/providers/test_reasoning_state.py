"""Reasoning goes back unread, in its place, to whose it is, and to nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Reply
from sutlerd.pipeline.messages import check_messages
from sutlerd.providers.anthropic_dialect import Anthropic
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import OPENAI
from sutlerd.providers.responses_dialect import OpenAIResponses
from sutlerd.providers.transport import Response
from tests.contract import anthropic_answers as claude
from tests.contract import responses_answers as gpt

ASK = {"role": "user", "content": "hi"}
TRAITS = ModelTraits(efforts=("low", "high"))
THINKING = {"type": "thinking", "thinking": "hm", "signature": "sig=="}
REDACTED = {"type": "redacted_thinking", "data": "secret=="}
BLOCKS = [
    THINKING,
    claude.text("Let me look."),
    REDACTED,
    claude.tool_use("toolu_1", "look", city="Rome"),
]
ENCRYPTED = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "I look"}],
    "encrypted_content": "enc==",
}
ITEMS = [ENCRYPTED, gpt.said("Let me look."), gpt.called("call_1", "look", "{}")]

Dialect = Anthropic | OpenAIResponses


def anthropic(**fields: Any) -> Reply:
    body = claude.message(*fields.pop("blocks", BLOCKS), stop_reason="tool_use")
    return read(Anthropic(provider="x"), body, **fields)


def responses(*items: dict[str, Any]) -> Reply:
    return read(OpenAIResponses(provider="x"), gpt.response(*(items or ITEMS)))


def read(dialect: Dialect, body: object, model: str = "asked") -> Reply:
    built = BuiltRequest(model=model, path="/", body={})
    return dialect.read_reply(
        built, Response(status=200, headers={}, body=json.dumps(body).encode())
    )


def streamed(*parts: bytes) -> Reply:
    reader = Anthropic(provider="x").open_stream(BuiltRequest(model="asked", path="/", body={}))
    items = [item for sign in b"".join(parts) for item in reader.feed(bytes([sign]))]
    assert isinstance(items[-1], Reply)
    return items[-1]


def conversation(reply: Reply, **changed: Any) -> tuple[dict[str, Any], ...]:
    wire = json.loads(json.dumps(reply.to_wire()))
    said = {name: wire[name] for name in ("content", "tool_calls", "reasoning_state")}
    result = {"role": "tool", "tool_call_id": wire["tool_calls"][0]["id"], "content": "sunny"}
    messages, problems = check_messages([ASK, {"role": "assistant", **said, **changed}, result])
    assert problems == []
    return messages


def sent(
    dialect: Dialect | OpenAIChat, messages: tuple[dict[str, Any], ...], model: str = "asked"
) -> BuiltRequest:
    function = {"name": "look", "parameters": {"type": "object"}}
    request = ChatRequest(messages=messages, max_tokens=9, functions=(function,))
    return dialect.build_chat(request, model, TRAITS)


def test_thinking_goes_back_to_its_model_unchanged_and_in_its_place() -> None:
    built = sent(Anthropic(provider="x"), conversation(anthropic()))
    assert built.body["messages"][1] == {"role": "assistant", "content": BLOCKS}
    assert built.dropped == ()


def test_a_streamed_reply_carries_the_same_state() -> None:
    reply = streamed(
        claude.start(),
        claude.block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            claude.thought("h"),
            claude.thought("m"),
            {"type": "signature_delta", "signature": "sig=="},
        ),
        claude.block(1, claude.text(""), claude.said("Let me"), claude.said(" look.")),
        claude.block(2, REDACTED),
        claude.block(3, {**claude.tool_use("toolu_1", "look")}, claude.given('{"city":"Rome"}')),
        claude.end("tool_use"),
    )
    assert reply.reasoning_state == anthropic().reasoning_state


def test_encrypted_reasoning_is_asked_for_and_goes_back() -> None:
    dialect = OpenAIResponses(provider="x")
    built = sent(dialect, conversation(responses()))
    assert built.body["include"] == ["reasoning.encrypted_content"]
    assert built.body["input"][1:4] == [
        ENCRYPTED,
        {"role": "assistant", "content": "Let me look."},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
    ]
    without = dialect.build_chat(ChatRequest(messages=(ASK,), max_tokens=9), "asked", TRAITS)
    assert "include" not in without.body


@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        (Anthropic(provider="x"), "other"),
        (Anthropic(provider="y"), "asked"),
        (OpenAIResponses(provider="x"), "asked"),
        (OpenAIChat(provider="x", switches=OPENAI), "asked"),
    ],
)
def test_nobody_else_is_given_it(dialect: Any, model: str) -> None:
    built = sent(dialect, conversation(anthropic()), model)
    assert "sig==" not in json.dumps(built.body)
    assert "secret==" not in json.dumps(built.body)
    assert "reasoning_state" not in json.dumps(built.body)


def test_it_is_left_out_where_the_message_no_longer_says_what_it_said() -> None:
    for changed in ({"content": "Something else."}, {"content": ""}):
        built = sent(Anthropic(provider="x"), conversation(anthropic(), **changed))
        assert "sig==" not in json.dumps(built.body)
        assert built.dropped == ("reasoning_state",)


def test_only_the_fields_of_reasoning_go_back_whatever_a_caller_writes() -> None:
    state: Any = json.loads(json.dumps(anthropic().reasoning_state))
    state["parts"][0]["cache_control"] = {"type": "ephemeral"}
    built = sent(Anthropic(provider="x"), conversation(anthropic(), reasoning_state=state))
    assert built.body["messages"][1]["content"][0] == THINKING
    state["parts"][0] = {"type": "document", "source": {"type": "url", "url": "http://x"}}
    built = sent(Anthropic(provider="x"), conversation(anthropic(), reasoning_state=state))
    assert "document" not in json.dumps(built.body)
    assert built.dropped == ("reasoning_state",)


@pytest.mark.parametrize(
    "state",
    ["x", {}, {"wire": 1, "route": "", "parts": []}, {"wire": "", "route": "", "parts": [1]}],
)
def test_a_state_that_is_none_is_refused(state: Any) -> None:
    _, problems = check_messages([{"role": "assistant", "content": "a", "reasoning_state": state}])
    assert problems == [
        "params.messages[0].reasoning_state: must be handed back as the reply gave it"
    ]
    good = anthropic().reasoning_state
    _, problems = check_messages([{**ASK, "reasoning_state": good}])
    assert problems == ["params.messages[0].reasoning_state: only an assistant message has it"]


def test_there_is_none_without_calls_or_without_what_proves_it() -> None:
    assert anthropic(blocks=[THINKING, claude.text("a")]).reasoning_state is None
    assert anthropic(blocks=[claude.text("a"), BLOCKS[3]]).reasoning_state is None
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    assert anthropic(blocks=[unsigned, BLOCKS[3]]).reasoning_state is None
    assert responses({**ENCRYPTED, "encrypted_content": None}, ITEMS[2]).reasoning_state is None
    assert "reasoning_state" not in anthropic(blocks=[claude.text("a")]).to_wire()
