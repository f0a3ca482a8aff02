from __future__ import annotations

from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.model_table import known_traits
from sutlerd.providers.openai_dialect import OpenAI
from sutlerd.providers.responses_dialect import OpenAIResponses

ASK = {"role": "user", "content": "What is 2 + 2?"}
WEATHER = {"name": "weather", "parameters": {"type": "object"}}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
NEWEST = "gpt-6-sol"


def built(*messages: dict[str, Any], model: str = NEWEST, **fields: Any) -> BuiltRequest:
    request = ChatRequest(messages=messages or (ASK,), **{"max_tokens": 100, **fields})
    traits = known_traits("openai", model)
    return OpenAIResponses(provider="x").build_chat(request, model, traits)


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return built(*messages, **fields).body


def refused(*messages: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(InvalidParams) as raised:
        built(*messages, **fields)
    return raised.value.message


def test_a_plain_request_is_not_kept_by_the_vendor() -> None:
    asked = built()
    assert asked.path == "/responses"
    assert asked.body == {
        "model": NEWEST,
        "input": [ASK],
        "max_output_tokens": 100,
        "store": False,
    }


def test_first_instructions_are_instructions_and_later_ones_stay_in_their_place() -> None:
    asked = body(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        ASK,
        {"role": "system", "content": "Now in French."},
    )
    assert asked["instructions"] == "Be brief.\n\nBe kind."
    assert asked["input"] == [ASK, {"role": "developer", "content": "Now in French."}]
    assert "only instructions" in refused({"role": "system", "content": "Be brief."})


def test_calls_and_their_results_are_items_linked_by_the_calls_id() -> None:
    function = {"name": "weather", "arguments": '{"city": '}
    calling = {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": function},
            {"id": "b", "type": "function", "function": {"name": "ping", "arguments": "{}"}},
        ],
    }
    results = (
        {"role": "function", "name": "ping", "content": "pong"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "rain"}]},
    )
    assert body(ASK, calling, *results)["input"][1:] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "a", **function},
        {"type": "function_call", "call_id": "b", "name": "ping", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": "pong"},
        {"type": "function_call_output", "call_id": "a", "output": "rain"},
    ]
    assert "params.messages[1]: answers no call" in refused(ASK, results[0])
    assert "params.messages[1]: answers no call" in refused(ASK, results[1])


def test_images_are_parts_of_the_input() -> None:
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": "https://h/i.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
    ]
    (item,) = body({"role": "user", "content": parts})["input"]
    assert item["content"] == [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "image_url": "https://h/i.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
    ]


def test_tools_are_flat_and_say_whether_they_are_strict() -> None:
    asked = body(
        functions=({**WEATHER, "strict": True, "description": "tells"}, {"name": "ping"}),
        function_call={"name": "ping"},
        parallel_tool_calls=False,
    )
    assert asked["tools"] == [
        {"type": "function", **WEATHER, "strict": True, "description": "tells"},
        {"type": "function", "name": "ping", "parameters": {"type": "object"}, "strict": False},
    ]
    assert asked["tool_choice"] == {"type": "function", "name": "ping"}
    assert asked["parallel_tool_calls"] is False
    assert body(functions=(WEATHER,), function_call="required")["tool_choice"] == "required"
    old = built(model="o3-pro", functions=(WEATHER,), parallel_tool_calls=False)
    assert old.dropped == ("parallel_tool_calls",)


def test_a_schema_and_json_are_formats_of_the_text() -> None:
    asked = body(schema=SCHEMA, extra={"verbosity": "low"})
    assert asked["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True},
        "verbosity": "low",
    }
    assert body(schema={"type": "object"})["text"]["format"]["strict"] is False
    asked = body(json_mode=True)
    assert asked["text"] == {"format": {"type": "json_object"}}
    # The mode is refused when no item of the input speaks of JSON.
    assert asked["input"][0] == {"role": "developer", "content": "Answer with JSON alone."}
    wish = {"role": "user", "content": "as JSON please"}
    assert body(wish, json_mode=True)["input"] == [wish]


def test_what_cannot_be_enforced_is_asked_for_in_words() -> None:
    traits = ModelTraits(native_schema=False, native_json_mode=False)
    dialect = OpenAIResponses(provider="x")
    for fields in ({"schema": SCHEMA}, {"json_mode": True}):
        request = ChatRequest(messages=(ASK,), max_tokens=1, **fields)  # type: ignore[arg-type]
        asked = dialect.build_chat(request, "m", traits).body
        assert asked["input"][0]["content"].startswith("Answer with JSON alone")
        assert asked.get("text", {}).get("format") in (None, {"type": "json_object"})


def test_hints_are_dropped_unless_no_effort_is_asked_for() -> None:
    hints = {"temperature": 0.0, "top_p": 0.5, "user": "u"}
    thinking = built({**ASK, "name": "bob"}, seed=7, **hints)
    assert thinking.dropped == ("name", "temperature", "top_p", "seed")
    assert thinking.body["user"] == "u"
    plain = built(extra={"reasoning_effort": "none"}, **hints)
    assert plain.dropped == ()
    assert (plain.body["temperature"], plain.body["top_p"]) == (0.0, 0.5)
    assert plain.body["reasoning"] == {"effort": "none"}


def test_reasoning_passes_in_both_spellings_and_is_checked() -> None:
    extra = {"reasoning_effort": "low", "reasoning": {"summary": "auto"}}
    assert body(extra=extra)["reasoning"] == {"effort": "low", "summary": "auto"}
    assert "must be one of" in refused(extra={"reasoning": {"effort": "huge"}})
    assert "must be one of" in refused(model="gpt-6-astra", extra={"reasoning_effort": "none"})
    assert "must be an object" in refused(extra={"reasoning": "low"})
    assert "without format" in refused(extra={"text": {"format": {}}})


def test_stop_sequences_are_refused_since_the_wire_has_none() -> None:
    assert refused(stop=("END",)).startswith("params.stop")


@pytest.mark.fault("X11")
@pytest.mark.parametrize(
    "name", ["model", "previous_response_id", "store", "background", "service_tier", "tools"]
)
def test_extra_fields_may_not_set_price_model_or_length(name: str) -> None:
    assert f"params.extra.{name}" in refused(extra={name: 1})


def test_other_fields_are_passed_through() -> None:
    assert body(extra={"prompt_cache_key": "k"})["prompt_cache_key"] == "k"


def test_a_count_is_asked_for_where_the_interface_counts() -> None:
    dialect = OpenAIResponses(provider="x")
    bare = dialect.build_count("hi", NEWEST, ModelTraits())
    whole = dialect.build_count([{"role": "system", "content": "b"}, ASK], NEWEST, ModelTraits())
    assert bare is not None
    assert (bare.path, bare.body["input"]) == ("/responses/input_tokens", "hi")
    assert whole is not None
    assert whole.body == {"model": NEWEST, "input": [ASK], "instructions": "b"}


# --- which of the two interfaces -------------------------------------------------------


def path(model: str, **fields: Any) -> str:
    request = ChatRequest(messages=(ASK,), max_tokens=1, **fields)
    return OpenAI(provider="x").build_chat(request, model, known_traits("openai", model)).path


@pytest.mark.parametrize(
    "model", ["gpt-5.4", "gpt-5.4-mini", "gpt-5.5-2026-04-23", "gpt-5.6-sol", "gpt-6.2-astra"]
)
def test_newer_models_with_functions_go_to_responses_by_themselves(model: str) -> None:
    assert path(model, functions=(WEATHER,)) == "/responses"
    assert path(model) == "/chat/completions"
    asked = {"functions": (WEATHER,), "extra": {"reasoning_effort": "none"}}
    assert path(model, **asked) == "/chat/completions"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "o3", "gpt-5", "gpt-5.2"])
def test_older_models_stay_with_chat(model: str) -> None:
    assert path(model, functions=(WEATHER,)) == "/chat/completions"


@pytest.mark.parametrize("model", ["o1-pro", "o3-pro", "gpt-5-pro", "gpt-5.4-pro-2026-03-05"])
def test_models_with_no_other_interface_go_there_always(model: str) -> None:
    assert path(model) == "/responses"


def test_each_body_is_streamed_as_its_interface_wants() -> None:
    dialect = OpenAI(provider="x")
    chat = dialect.stream_body({"model": "m", "messages": []})
    assert chat["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    responses = dialect.stream_body({"model": "m", "input": []})
    assert responses["stream_options"] == {"include_obfuscation": False}


def test_embeddings_have_one_interface() -> None:
    request = EmbedRequest(texts=("a",))
    built = OpenAI(provider="x").build_embed(request, "text-embedding-3-small", ModelTraits())
    assert built.path == "/embeddings"
    with pytest.raises(InvalidParams, match="no embeddings"):
        OpenAIResponses(provider="x").build_embed(request, "m", ModelTraits())
