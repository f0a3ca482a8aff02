from __future__ import annotations

from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.anthropic_dialect import VERSION, Anthropic
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.model_table import known_traits

ASK = {"role": "user", "content": "What is 2 + 2?"}
WEATHER = {
    "name": "weather",
    "description": "tells the weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "minLength": 2}},
        "required": ["city"],
    },
}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
RECURSIVE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        }
    },
}
NEWEST, OLDER = "claude-opus-5-5", "claude-haiku-4-5"


def built(
    model: str = NEWEST,
    *messages: dict[str, Any],
    kind: str = "anthropic",
    mark_prefix: bool = False,
    **fields: Any,
) -> BuiltRequest:
    request = ChatRequest(messages=messages or (ASK,), **{"max_tokens": 100, **fields})
    dialect = Anthropic(provider="x", mark_prefix=mark_prefix)
    return dialect.build_chat(request, model, known_traits(kind, model))


def body(model: str = NEWEST, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return built(model, *messages, **fields).body


def refused(*messages: dict[str, Any], model: str = NEWEST, **fields: Any) -> str:
    with pytest.raises(InvalidParams) as raised:
        built(model, *messages, **fields)
    return raised.value.message


def test_a_plain_request_holds_nothing_that_was_not_asked() -> None:
    assert body() == {"model": NEWEST, "max_tokens": 100, "messages": [ASK]}
    assert built().path == "/v1/messages"


def test_sampling_hints_are_dropped_and_told_since_no_model_of_the_vendor_takes_them() -> None:
    asked = built(temperature=0.0, top_p=0.9, seed=7, extra={"top_k": 4})
    assert asked.dropped == ("temperature", "top_p", "seed", "top_k")
    assert asked.body == body()


def test_another_model_behind_the_same_wire_is_sent_its_sampling() -> None:
    asked = built("llama", kind="anthropic_compatible", temperature=0.0, extra={"top_k": 4})
    assert (asked.body["temperature"], asked.body["top_k"]) == (0.0, 4)
    assert asked.dropped == ()


def test_stop_sequences_and_the_user_go_under_their_names_here() -> None:
    asked = body(stop=("\n\n", "END"), user="u-7")
    assert asked["stop_sequences"] == ["\n\n", "END"]
    assert asked["metadata"] == {"user_id": "u-7"}


def test_functions_are_tools_with_a_schema_of_an_object() -> None:
    ping = {"name": "ping", "parameters": {}}
    assert body(functions=(WEATHER, ping))["tools"] == [
        {
            "name": "weather",
            "description": "tells the weather",
            "input_schema": WEATHER["parameters"],
        },
        {"name": "ping", "input_schema": {"type": "object"}},
    ]
    assert "must be object" in refused(functions=({**ping, "parameters": {"type": "array"}},))


def test_a_strict_function_has_its_schema_in_the_subset_that_is_enforced() -> None:
    (tool,) = body(functions=({**WEATHER, "strict": True},))["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False
    assert tool["input_schema"]["properties"]["city"] == {
        "type": "string",
        "description": '{"minLength":2}',
    }
    recursive = {"name": "f", "strict": True, "parameters": {**RECURSIVE, "type": "object"}}
    assert "params.functions[0].strict" in refused(functions=(recursive,))


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"function_call": "auto"}, {"type": "auto"}),
        ({"function_call": "none"}, {"type": "none"}),
        ({"function_call": "required"}, {"type": "any"}),
        ({"function_call": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": True}, None),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        (
            {"parallel_tool_calls": False, "function_call": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False, "function_call": "none"}, {"type": "none"}),
    ],
)
def test_the_choice_of_functions_is_spelt(fields: dict[str, Any], choice: Any) -> None:
    assert body(OLDER, functions=(WEATHER,), **fields).get("tool_choice") == choice


@pytest.mark.parametrize("choice", ["required", {"name": "weather"}])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1"])
def test_a_model_that_cannot_be_made_to_call_says_so_and_what_to_do(
    model: str, choice: Any
) -> None:
    said = refused(model=model, functions=(WEATHER,), function_call=choice)
    assert said.startswith(f"params.function_call: {model}: ")
    assert "schema" in said


def test_an_answer_to_be_continued_is_refused_where_the_model_does_not() -> None:
    begun = {"role": "assistant", "content": "It is"}
    assert "params.messages" in refused(ASK, begun)
    assert body("claude-sonnet-4-5", ASK, begun)["messages"][-1] == begun


def test_a_schema_is_enforced_natively_in_its_subset() -> None:
    asked = body(schema=SCHEMA)
    assert asked["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {**SCHEMA, "additionalProperties": False},
    }
    assert "system" not in asked


@pytest.mark.parametrize(
    ("model", "kind", "schema"),
    [
        (NEWEST, "anthropic", RECURSIVE),
        ("claude-opus-4-1", "anthropic", SCHEMA),
        ("llama", "anthropic_compatible", SCHEMA),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_asked_for_in_words(
    model: str, kind: str, schema: dict[str, Any]
) -> None:
    asked = body(model, {"role": "system", "content": "Be brief."}, ASK, kind=kind, schema=schema)
    assert "output_config" not in asked
    assert asked["system"].startswith("Be brief.\n\nAnswer with JSON alone that fits")


def test_json_is_asked_for_in_words() -> None:
    assert body(json_mode=True)["system"] == "Answer with JSON alone."


def test_effort_and_thinking_pass_if_the_model_takes_them() -> None:
    extra = {"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}
    asked = body(extra=extra, schema=SCHEMA)
    assert asked["thinking"] == {"type": "adaptive"}
    assert asked["output_config"]["effort"] == "low"
    assert "format" in asked["output_config"]
    # A call may fall back to here from a provider with another word for it.
    assert body(extra={"reasoning_effort": "max"})["output_config"] == {"effort": "max"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert body(OLDER, max_tokens=2000, extra={"thinking": thinking})["thinking"] == thinking


@pytest.mark.parametrize(
    ("model", "extra", "path"),
    [
        (NEWEST, {"thinking": {"type": "disabled"}}, "params.extra.thinking.type"),
        (NEWEST, {"thinking": {"type": "enabled"}}, "params.extra.thinking.type"),
        ("claude-sonnet-5", {"thinking": {"type": "between_tools"}}, "params.extra.thinking.type"),
        (OLDER, {"thinking": {"type": "adaptive"}}, "params.extra.thinking.type"),
        (OLDER, {"thinking": {"type": "enabled"}}, "budget_tokens"),
        (OLDER, {"thinking": {"type": "enabled", "budget_tokens": 9999}}, "budget_tokens"),
        (OLDER, {"thinking": {"type": "enabled", "budget_tokens": True}}, "budget_tokens"),
        (OLDER, {"thinking": "on"}, "params.extra.thinking"),
        (OLDER, {"thinking": {}}, "params.extra.thinking.type"),
        (NEWEST, {"reasoning_effort": "none"}, "params.extra.output_config.effort"),
        (NEWEST, {"output_config": {"format": {}}}, "params.extra.output_config"),
        (NEWEST, {"output_config": 1}, "params.extra.output_config"),
    ],
)
def test_what_the_model_does_not_take_of_them_is_refused_by_path(
    model: str, extra: dict[str, Any], path: str
) -> None:
    assert path in refused(model=model, extra=extra)


@pytest.mark.fault("X11")
@pytest.mark.parametrize(
    "name", ["model", "max_tokens", "speed", "service_tier", "inference_geo", "cache_control"]
)
def test_extra_fields_may_not_set_price_model_or_length(name: str) -> None:
    assert f"params.extra.{name}" in refused(extra={name: 1})


def test_more_than_a_model_gives_is_refused_before_it_is_asked_for() -> None:
    assert "at most 128000" in refused(model="claude-haiku-5-5", max_tokens=200_000)


def test_there_are_no_embeddings_and_the_error_says_who_has_them() -> None:
    with pytest.raises(InvalidParams, match="voyage"):
        Anthropic(provider="x").build_embed(EmbedRequest(texts=("a",)), "m", ModelTraits())


def test_a_count_is_asked_for_with_the_messages_alone() -> None:
    dialect, traits = Anthropic(provider="x"), known_traits("anthropic", NEWEST)
    bare = dialect.build_count("hi", NEWEST, traits)
    assert bare is not None
    assert bare.path == "/v1/messages/count_tokens"
    assert bare.body == {"model": NEWEST, "messages": [{"role": "user", "content": "hi"}]}
    whole = dialect.build_count([{"role": "developer", "content": "b"}, ASK], NEWEST, traits)
    assert whole is not None
    assert whole.body == {"model": NEWEST, "messages": [ASK], "system": "b"}


def test_the_key_goes_as_a_bearer_and_for_other_servers_the_old_way_too() -> None:
    new = {"anthropic-version": VERSION, "authorization": "Bearer k"}
    assert Anthropic(provider="x").auth_headers("k") == new
    both = Anthropic(provider="x", old_key_header=True).auth_headers("k")
    assert both == {**new, "x-api-key": "k"}
    assert Anthropic(provider="x").auth_headers(None) == {"anthropic-version": VERSION}


MARK = {"type": "ephemeral"}


def test_a_long_prefix_is_marked_for_the_provider_to_keep() -> None:
    long = {"role": "system", "content": "Read the rules with care. " * 200}
    asked = body(NEWEST, long, ASK, mark_prefix=True)
    assert asked["system"] == [{"type": "text", "text": long["content"], "cache_control": MARK}]
    assert isinstance(body(NEWEST, long, ASK)["system"], str)
    short = {"role": "system", "content": "Be brief."}
    assert body(NEWEST, short, ASK, mark_prefix=True)["system"] == "Be brief."
    # Another model keeps longer prefixes only.
    assert isinstance(body(OLDER, long, ASK, mark_prefix=True)["system"], str)


def test_tools_count_in_the_prefix_and_are_marked_by_themselves_if_long_enough() -> None:
    many = tuple({**WEATHER, "name": f"weather_{n}"} for n in range(30))
    short = {"role": "system", "content": "Be brief."}
    asked = body(NEWEST, short, ASK, mark_prefix=True, functions=many)
    assert [tool.get("cache_control") for tool in asked["tools"][-2:]] == [None, MARK]
    assert asked["system"][0]["cache_control"] == MARK
    few = body(NEWEST, short, ASK, mark_prefix=True, functions=many[:1])
    assert "cache_control" not in few["tools"][0]


def test_equal_requests_give_equal_bodies_whatever_the_order_of_their_keys() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"maximum": 9, "type": "integer", "minimum": 1}},
    }
    turned = {
        "properties": {"n": {"minimum": 1, "maximum": 9, "type": "integer"}},
        "type": "object",
    }
    assert body(schema=schema) == body(schema=turned)


def test_a_stream_is_asked_for_beside_the_body_that_makes_the_key() -> None:
    asked = body()
    assert Anthropic(provider="x").stream_body(asked) == {**asked, "stream": True}
    assert "stream" not in asked
