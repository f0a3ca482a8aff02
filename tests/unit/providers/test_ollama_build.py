"""Requests in Ollama's own spelling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.contract import BuiltRequest, Capabilities
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.ollama import Ollama
from sutlerd.providers.ollama_options import CONTEXT_SIZES, context_size

DIALECT = Ollama(provider="node")
USER = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,aGVsbG8="
LOOK_UP = {"name": "look_up", "description": "d", "parameters": {"type": "object"}, "strict": True}


def build(
    *messages: dict[str, Any], traits: ModelTraits | None = None, **fields: Any
) -> BuiltRequest:
    request = ChatRequest(messages=messages or (USER,), **{"max_tokens": 100, **fields})
    return DIALECT.build_chat(request, "llama3.2", traits or ModelTraits())


@pytest.mark.fault("P35")
def test_nothing_is_left_to_the_server_that_would_change_an_answer_in_silence() -> None:
    built = build()
    assert built.path == "/api/chat"
    assert built.body == {
        "model": "llama3.2",
        "stream": False,
        "truncate": False,
        "shift": False,
        "messages": [USER],
        "think": False,
        "options": {"num_predict": 100, "num_ctx": 4096},
    }
    assert DIALECT.stream_body(built.body) == {**built.body, "stream": True}


def test_sampling_goes_into_the_options_and_what_nobody_takes_is_named() -> None:
    built = build(
        {**USER, "name": "ann"},
        temperature=0.0,
        top_p=0.5,
        stop=("x",),
        seed=7,
        user="u",
        parallel_tool_calls=False,
        extra={"top_k": 3, "options": {"min_p": 0.1}, "logprobs": True},
    )
    assert built.body["options"] == {
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["x"],
        "seed": 7,
        "top_k": 3,
        "min_p": 0.1,
        "num_predict": 100,
        "num_ctx": 4096,
    }
    assert built.body["logprobs"] is True
    assert built.dropped == ("name", "user", "parallel_tool_calls")
    without = ModelTraits(drops=frozenset({"seed"}))
    assert build(seed=7, traits=without).dropped == ("seed",)


@pytest.mark.parametrize(
    "extra",
    [
        {"num_ctx": 1},
        {"options": {"num_predict": 1}},
        {"options": {"num_gpu": 9}},
        {"options": 3},
        {"keep_alive": 0},
        {"truncate": True},
        {"options": {"think": True}},
        {"think": "a lot"},
        {"think": None, "reasoning_effort": "sideways"},
        {"reasoning_effort": ["low"]},
    ],
)
def test_lengths_and_what_the_server_would_overlook_are_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams, match=r"params\.extra"):
        build(extra=extra)


LEVELS = frozenset({"low", "medium", "high"})
SWITCH = frozenset({"true", "false"})


@pytest.mark.parametrize(
    ("extra", "modes", "sent"),
    [
        ({}, None, False),
        ({"think": True}, None, True),
        ({"reasoning_effort": "xhigh"}, None, "max"),
        ({"reasoning_effort": "minimal"}, SWITCH, True),
        ({"reasoning_effort": "none"}, SWITCH, False),
        ({}, LEVELS, "low"),
        ({"think": True}, LEVELS, "medium"),
        ({"think": "high"}, LEVELS, "high"),
        ({"think": "max"}, LEVELS, "high"),
    ],
)
def test_thinking_is_always_said_in_the_words_the_model_has(
    extra: dict[str, Any], modes: frozenset[str] | None, sent: bool | str
) -> None:
    assert build(extra=extra, traits=ModelTraits(thinking_modes=modes)).body["think"] == sent


def test_a_turn_with_functions_is_spelt_with_objects_and_names() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}
    built = build(
        {"role": "developer", "content": "be brief"},
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "function", "name": "other", "content": "43"},
        functions=(LOOK_UP,),
        function_call="auto",
    )
    assert built.body["messages"] == [
        {"role": "system", "content": "be brief"},
        USER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "look_up", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c1", "tool_name": "look_up"},
        {"role": "tool", "content": "43", "tool_name": "other"},
    ]
    assert built.body["tools"] == [
        {
            "type": "function",
            "function": {k: v for k, v in LOOK_UP.items() if k != "strict"},
        }
    ]
    assert built.dropped == ("strict",)
    assert "tools" not in build(functions=(LOOK_UP,), function_call="none").body


@pytest.mark.parametrize("choice", ["required", {"name": "look_up"}])
def test_a_forced_choice_is_refused_in_words_that_help(choice: Any) -> None:
    with pytest.raises(InvalidParams, match="ask for JSON of one shape with schema"):
        build(functions=(LOOK_UP,), function_call=choice)


def test_arguments_that_are_no_object_are_told_with_their_place() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1"}}
    with pytest.raises(InvalidParams, match=r"params\.messages\[1\]\.tool_calls\[0\]"):
        build(USER, {"role": "assistant", "content": None, "tool_calls": [call]})


def test_images_go_as_bare_base64_and_addresses_of_images_are_refused() -> None:
    def parts(url: str) -> dict[str, Any]:
        image = {"type": "image_url", "image_url": {"url": url}}
        return {"role": "user", "content": [{"type": "text", "text": "what?"}, image]}

    (message,) = build(parts(PNG)).body["messages"]
    assert message == {"role": "user", "content": "what?", "images": ["aGVsbG8="]}
    with pytest.raises(InvalidParams, match=r"params\.messages\[0\]\.content\[1\].*fetch it"):
        build(parts("https://example.test/x.png"))
    blind = ModelTraits(refuses=frozenset({"images"}))
    with pytest.raises(InvalidParams, match="does not see images"):
        build(parts(PNG), traits=blind)


def test_a_schema_is_the_format_and_json_is_also_asked_for_in_words() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert build(schema=schema).body["format"] == schema
    asked = build(json_mode=True).body
    assert asked["format"] == "json"
    assert asked["messages"][0] == {"role": "system", "content": "Answer with JSON alone."}
    spoken = {"role": "user", "content": "give me JSON"}
    assert build(spoken, json_mode=True).body["messages"] == [spoken]
    told = build(
        {"role": "system", "content": "S"},
        USER,
        schema=schema,
        traits=ModelTraits(native_schema=False, native_json_mode=False),
    ).body
    assert "format" not in told
    assert json.dumps(schema["type"]) in told["messages"][0]["content"]


@pytest.mark.fault("P35")
@given(st.integers(1, 3_000_000), st.none() | st.integers(1, 1_000_000))
def test_a_context_holds_what_is_needed_or_is_all_the_model_has(
    needed: int, most: int | None
) -> None:
    size = context_size(needed, most)
    assert size >= needed or size == most
    assert size in CONTEXT_SIZES or size == most or size % CONTEXT_SIZES[-1] == 0


@pytest.mark.fault("P35")
def test_a_long_prompt_asks_for_a_context_that_fits_up_to_the_model_s_own() -> None:
    long = {"role": "user", "content": "word " * 5000}
    assert build(long).body["options"]["num_ctx"] == 8192
    own = ModelTraits(capabilities=Capabilities(context_tokens=6000))
    assert build(long, traits=own).body["options"]["num_ctx"] == 6000
    tools = tuple({**LOOK_UP, "description": "d" * 20_000} for _ in range(2))
    assert build(long, functions=tools).body["options"]["num_ctx"] == 32_768


@pytest.mark.parametrize(
    ("spelt", "sent"), [("5m", "5m"), ("-1", -1), ("0", 0), ("1.5", 1.5), ("24h", "24h")]
)
def test_keep_alive_is_a_duration_or_a_number_of_seconds(spelt: str, sent: object) -> None:
    dialect = Ollama(provider="node", keep_alive=spelt)
    request = ChatRequest(messages=(USER,), max_tokens=1)
    assert dialect.build_chat(request, "m", ModelTraits()).body["keep_alive"] == sent
    embed = dialect.build_embed(EmbedRequest(texts=("a",)), "m", ModelTraits())
    assert embed.body["keep_alive"] == sent


def test_texts_are_embedded_whole_or_not_at_all() -> None:
    asked = EmbedRequest(texts=("a", "b"), dimensions=8)
    built = DIALECT.build_embed(asked, "e", ModelTraits())
    assert (built.path, built.body) == (
        "/api/embed",
        {"model": "e", "input": ["a", "b"], "truncate": False, "dimensions": 8},
    )
    with pytest.raises(InvalidParams, match=r"params\.extra\.truncate"):
        DIALECT.build_embed(
            EmbedRequest(texts=("a",), extra={"truncate": True}), "e", ModelTraits()
        )
