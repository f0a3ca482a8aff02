from __future__ import annotations

from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import (
    COMPATIBLE,
    DEEPSEEK,
    GROQ,
    LLAMA_CPP,
    MISTRAL,
    OPENAI,
    VLLM,
    OpenAISwitches,
)
from sutlerd.providers.strict_schema import fits_strict

ASK = {"role": "user", "content": "What is 2 + 2?"}
WEATHER = {
    "name": "weather",
    "description": "tells the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": None,
}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def build(
    switches: OpenAISwitches = COMPATIBLE,
    traits: ModelTraits | None = None,
    messages: tuple[dict[str, Any], ...] = (ASK,),
    **fields: Any,
) -> dict[str, Any]:
    request = ChatRequest(messages=messages, max_tokens=100, **fields)
    dialect = OpenAIChat(provider="x", switches=switches)
    return dialect.build_chat(request, "m", traits or ModelTraits()).body


def test_a_plain_request_holds_nothing_that_was_not_asked() -> None:
    assert build() == {"model": "m", "messages": [ASK], "max_tokens": 100}


def test_openai_counts_hidden_tokens_in_the_limit_and_compatible_servers_do_not() -> None:
    assert build(OPENAI)["max_completion_tokens"] == 100
    assert "max_tokens" not in build(OPENAI)


def test_all_options_are_spelt() -> None:
    body = build(temperature=0.0, top_p=0.5, stop=("a", "b"), seed=7, user="u", extra={"top_k": 3})
    assert body["temperature"] == 0.0
    assert (body["top_p"], body["stop"], body["seed"]) == (0.5, ["a", "b"], 7)
    assert (body["user"], body["top_k"]) == ("u", 3)


def test_servers_differ_in_names_and_those_they_do_not_take_are_dropped_and_told() -> None:
    assert build(MISTRAL, seed=7)["random_seed"] == 7
    dialect = OpenAIChat(provider="x", switches=DEEPSEEK)
    request = ChatRequest(messages=(ASK,), max_tokens=1, seed=7, user="u", temperature=1.0)
    built = dialect.build_chat(request, "m", ModelTraits(drops=frozenset({"temperature"})))
    assert built.dropped == ("temperature", "seed", "user")
    assert not {"temperature", "seed", "user", ""} & built.body.keys()


def test_functions_and_choice_are_spelt_as_tools() -> None:
    body = build(functions=(WEATHER,), function_call={"name": "weather"}, parallel_tool_calls=False)
    (tool,) = body["tools"]
    assert tool["type"] == "function"
    assert "strict" not in tool["function"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body["parallel_tool_calls"] is False
    assert build(functions=(WEATHER,), function_call="required")["tool_choice"] == "required"
    assert build(MISTRAL, functions=(WEATHER,), function_call="required")["tool_choice"] == "any"
    assert "tool_choice" not in build(function_call="auto")


def test_instructions_come_under_the_role_that_the_model_takes() -> None:
    messages = ({"role": "developer", "content": "be brief"}, ASK)
    assert build(messages=messages)["messages"][0]["role"] == "system"
    newer = ModelTraits(system_role="developer")
    assert build(traits=newer, messages=messages)["messages"][0]["role"] == "developer"


def test_names_are_dropped_where_a_server_refuses_them_but_for_functions() -> None:
    messages = ({**ASK, "name": "bob"}, {"role": "function", "name": "f", "content": "1"})
    kept = build(GROQ, messages=messages)["messages"]
    assert "name" not in kept[0]
    assert kept[1]["name"] == "f"
    assert build(messages=messages)["messages"][0]["name"] == "bob"
    assert messages[0]["name"] == "bob"


def test_a_schema_goes_by_the_best_means_of_the_server() -> None:
    body = build(schema=SCHEMA)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["strict"] is True
    loose = build(schema={"type": "object"})
    assert loose["response_format"]["json_schema"]["strict"] is False
    by_instruction = build(DEEPSEEK, schema=SCHEMA)
    assert by_instruction["response_format"] == {"type": "json_object"}
    assert '"additionalProperties":false' in by_instruction["messages"][0]["content"]
    plain = build(OpenAISwitches(schema="instruction"), schema=SCHEMA)
    assert "response_format" not in plain


def test_json_mode_says_json_because_servers_insist_on_the_word() -> None:
    body = build(json_mode=True)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON alone."}
    system = {"role": "system", "content": "Be brief."}
    body = build(json_mode=True, messages=(system, ASK))
    assert body["messages"][0]["content"] == "Be brief.\n\nAnswer with JSON alone."
    asks = {"role": "user", "content": [{"type": "text", "text": "as json please"}]}
    assert build(json_mode=True, messages=(asks,))["messages"] == [asks]


@pytest.mark.fault("X11")
@pytest.mark.parametrize(
    "name", ["model", "max_tokens", "n", "stream", "service_tier", "models", "temperature"]
)
def test_extra_fields_may_not_set_price_model_or_length(name: str) -> None:
    with pytest.raises(InvalidParams, match=rf"params\.extra\.{name}"):
        build(temperature=1.0, extra={name: 1})


def test_what_changes_the_meaning_is_refused_by_name() -> None:
    refuses = frozenset(
        {"functions", "forced_choice", "schema", "json_mode", "stop", "images", "prefill"}
    )
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = (
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": "It is"},
    )
    with pytest.raises(InvalidParams) as raised:
        build(
            traits=ModelTraits(refuses=refuses),
            messages=messages,
            functions=(WEATHER,),
            function_call="required",
            schema=SCHEMA,
            json_mode=True,
            stop=("a",),
        )
    assert len(raised.value.data["problems"]) == len(refuses)


def test_equal_requests_give_equal_bodies() -> None:
    assert build(schema=SCHEMA, seed=1) == build(schema=dict(reversed(SCHEMA.items())), seed=1)


def test_a_stream_asks_for_its_usage_beside_the_body_that_makes_the_key() -> None:
    body = build()
    streaming = OpenAIChat(provider="x", switches=COMPATIBLE).stream_body(body)
    assert streaming["stream_options"] == {"include_usage": True}
    assert "stream" not in body
    openai = OpenAIChat(provider="x", switches=OPENAI).stream_body(body)
    assert openai["stream_options"]["include_obfuscation"] is False


def test_embeddings_are_asked_for_in_base64_where_the_server_has_it() -> None:
    request = EmbedRequest(texts=("a", "b"), dimensions=256)
    dialect = OpenAIChat(provider="x", switches=OPENAI)
    built = dialect.build_embed(request, "e", ModelTraits())
    assert built.path == "/embeddings"
    assert built.body == {
        "model": "e",
        "input": ["a", "b"],
        "encoding_format": "base64",
        "dimensions": 256,
    }
    with pytest.raises(InvalidParams, match="no embeddings"):
        OpenAIChat(provider="x", switches=GROQ).build_embed(request, "e", ModelTraits())


def test_tokens_are_counted_where_the_server_counts() -> None:
    def spelt(switches: OpenAISwitches, asked: Any) -> Any:
        dialect = OpenAIChat(provider="x", switches=switches)
        built = dialect.build_count(asked, "m", ModelTraits())
        return built and (built.path, built.body)

    assert spelt(OPENAI, "text") is None
    assert spelt(LLAMA_CPP, "text") == ("/../tokenize", {"content": "text"})
    assert spelt(LLAMA_CPP, [ASK])[0] == "/chat/completions/input_tokens"
    assert spelt(VLLM, "text")[1]["prompt"] == "text"
    assert spelt(VLLM, [ASK])[1]["messages"] == [ASK]


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (SCHEMA, True),
        ({**SCHEMA, "additionalProperties": True}, False),
        ({**SCHEMA, "required": []}, False),
        ({"anyOf": [SCHEMA]}, False),
        ({"type": "array", "items": SCHEMA}, False),
        ({**SCHEMA, "properties": {"n": {"type": "object"}}}, False),
        ({**SCHEMA, "properties": {"n": {"type": "array", "items": SCHEMA}}}, True),
        ({**SCHEMA, "properties": {"n": {"allOf": [{"type": "integer"}]}}}, False),
        ({**SCHEMA, "$defs": {"x": {"type": "object"}}}, False),
        ({**SCHEMA, "properties": {"n": {"anyOf": [SCHEMA, {"type": "null"}]}}}, True),
    ],
)
def test_only_what_openai_takes_strictly_is_sent_strictly(
    schema: dict[str, Any], fits: bool
) -> None:
    assert fits_strict(schema) is fits
