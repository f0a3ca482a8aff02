"""What the embedded server cannot do is refused before it is asked, and its errors are judged
by what they mean. The bodies are the server's own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import Outcome, Verdict
from sutlerd.providers.embedded_dialect import MAX_EMBED_TEXTS, EmbeddedDialect, traits_of
from sutlerd.providers.transport import Response

DIALECT = EmbeddedDialect(provider="embedded")
TRAITS = traits_of(context_tokens=2048, dimension=576)
ASK = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=8)
FUNCTION = {"name": "look", "parameters": {"type": "object"}}


def failing(status: int, body: bytes) -> Any:
    return DIALECT.classify(Response(status=status, headers={}, body=body))


@pytest.mark.parametrize("choice", ["required", {"name": "look"}])
def test_a_forced_call_is_asked_for_as_json_that_a_grammar_enforces(choice: Any) -> None:
    request = replace(ASK, functions=(FUNCTION,), function_call=choice)
    body = DIALECT.build_chat(request, "smollm2", TRAITS).body
    assert "tools" not in body
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["name"] == {"const": "look"}
    assert schema["properties"]["arguments"] == FUNCTION["parameters"]
    assert '"name":"look"' in body["messages"][0]["content"]
    assert body["messages"][1:] == list(ASK.messages)


def test_of_several_functions_any_may_be_called_but_only_the_named_one_if_one_is() -> None:
    functions = (FUNCTION, {"name": "ask", "description": "Ask."})
    system = ({"role": "system", "content": "Be kind."}, *ASK.messages)
    request = replace(ASK, messages=system, functions=functions, function_call="required")
    body = DIALECT.build_chat(request, "smollm2", TRAITS).body
    schema = body["response_format"]["json_schema"]["schema"]
    assert [one["properties"]["name"]["const"] for one in schema["anyOf"]] == ["look", "ask"]
    assert body["messages"][0]["content"].startswith("Be kind.\n\nCall one")
    named = replace(request, function_call={"name": "ask"})
    body = DIALECT.build_chat(named, "smollm2", TRAITS).body
    assert "look" not in body["messages"][0]["content"]


def test_parameters_with_references_cannot_be_forced() -> None:
    function = {"name": "look", "parameters": {"$ref": "#/$defs/a", "$defs": {"a": {}}}}
    request = replace(ASK, functions=(function,), function_call="required")
    with pytest.raises(InvalidParams, match="look, whose parameters have references"):
        DIALECT.build_chat(request, "smollm2", TRAITS)


def _chunk(**choice: Any) -> bytes:
    shape = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, **choice}]}
    return b"data: " + json.dumps(shape).encode() + b"\n\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_call_is_read_back_from_the_text_however_it_is_cut(size: int) -> None:
    request = replace(ASK, functions=(FUNCTION,), function_call="required")
    built = DIALECT.build_chat(request, "smollm2", TRAITS)
    text = '{"name": "look", "arguments": {"n": 1}}'
    data = b"".join(_chunk(delta={"content": sign}) for sign in text)
    data += _chunk(finish_reason="stop") + b"data: [DONE]\n\n"
    reader = DIALECT.open_stream(built)
    items = [
        item
        for start in range(0, len(data), size)
        for item in reader.feed(data[start : start + size])
    ]
    delta, reply = items
    assert isinstance(delta, Delta) and isinstance(reply, Reply)
    assert (reply.content, reply.finish_reason) == ("", "tool_calls")
    (call,) = reply.tool_calls
    assert (call.name, call.arguments) == ("look", '{"n":1}')
    assert [(one.id, one.name, one.arguments) for one in delta.tool_calls] == [
        (call.id, call.name, call.arguments)
    ]


def test_a_call_that_was_cut_stays_the_text_that_it_is() -> None:
    request = replace(ASK, functions=(FUNCTION,), function_call="required")
    built = DIALECT.build_chat(request, "smollm2", TRAITS)
    reader = DIALECT.open_stream(built)
    data = _chunk(delta={"content": '{"name": "lo'}) + _chunk(finish_reason="length")
    delta, reply = reader.feed(data + b"data: [DONE]\n\n")
    assert delta == Delta(content='{"name": "lo')
    assert isinstance(reply, Reply)
    assert (reply.content, reply.finish_reason) == ('{"name": "lo', "length")


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_functions_may_be_offered(choice: str | None) -> None:
    request = replace(ASK, functions=(FUNCTION,), function_call=choice)
    assert "tools" in DIALECT.build_chat(request, "smollm2", TRAITS).body


def test_a_schema_goes_upstream_where_a_grammar_enforces_it() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    body = DIALECT.build_chat(replace(ASK, schema=schema), "smollm2", TRAITS).body
    assert body["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    "field", ["n_predict", "id_slot", "cache_prompt", "lora", "n", "stream", "max_tokens", "model"]
)
def test_extra_passes_sampling_parameters_and_nothing_else(field: str) -> None:
    passed = DIALECT.build_chat(replace(ASK, extra={"top_k": 5}), "smollm2", TRAITS)
    assert passed.body["top_k"] == 5
    with pytest.raises(InvalidParams, match=rf"params\.extra\.{field}"):
        DIALECT.build_chat(replace(ASK, extra={field: 1}), "smollm2", TRAITS)


def test_images_are_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    message = {"role": "user", "content": [image]}
    with pytest.raises(InvalidParams, match="images"):
        DIALECT.build_chat(replace(ASK, messages=(message,)), "smollm2", TRAITS)


def test_only_its_own_dimension_may_be_asked_for() -> None:
    request = EmbedRequest(texts=("a",), dimensions=576)
    assert DIALECT.build_embed(request, "smollm2", TRAITS).body["input"] == ["a"]
    with pytest.raises(InvalidParams, match=r"params\.dimensions: .* 576"):
        DIALECT.build_embed(replace(request, dimensions=128), "smollm2", TRAITS)
    unknown = traits_of(context_tokens=2048, dimension=None)
    with pytest.raises(InvalidParams, match=r"params\.dimensions"):
        DIALECT.build_embed(request, "other", unknown)
    with pytest.raises(InvalidParams, match=r"params\.extra\.truncate"):
        DIALECT.build_embed(EmbedRequest(texts=("a",), extra={"truncate": 1}), "smollm2", TRAITS)


def test_a_prompt_over_the_context_is_too_long_with_its_counts() -> None:
    failure = failing(
        400,
        b'{"error":{"code":400,"message":"request (3031 tokens) exceeds the available context '
        b'size (2048 tokens), try increasing it","type":"exceed_context_size_error",'
        b'"n_prompt_tokens":3031,"n_ctx":2048}}',
    )
    assert failure.verdict is Verdict.TOO_LONG
    assert (failure.tokens_needed, failure.tokens_allowed) == (3031, 2048)


def test_a_text_over_the_batch_is_too_long_though_the_server_says_500() -> None:
    failure = failing(
        500,
        b'{"error":{"code":500,"message":"input (3001 tokens) is too large to process. increase '
        b'the physical batch size (current batch size: 2048)","type":"server_error"}}',
    )
    assert failure.verdict is Verdict.TOO_LONG
    assert (failure.tokens_needed, failure.tokens_allowed) == (3001, 2048)
    assert failure.message == "a text of 3001 tokens; the model embeds at most 2048"


def test_what_it_does_not_support_is_refused_though_the_server_says_500() -> None:
    failure = failing(
        500,
        b'{"error":{"code":500,"message":"image input is not supported - hint: if this is '
        b'unexpected, you may need to provide the mmproj","type":"server_error"}}',
    )
    assert failure.verdict is Verdict.REFUSED


def test_another_error_of_the_server_may_be_tried_again_and_cost_nothing() -> None:
    failure = failing(500, b'{"error":{"code":500,"message":"Compute error.","type":"x"}}')
    assert (failure.verdict, failure.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)
    gone = failing(504, b"")
    assert gone.outcome is Outcome.NOT_BILLED


def test_capabilities_say_what_it_can_do() -> None:
    can = TRAITS.capabilities
    assert (can.chat, can.stream, can.embed, can.schema) == (True, True, True, True)
    assert (can.functions, can.count_tokens_exact) == (False, True)
    assert (can.context_tokens, can.dimension) == (2048, 576)
    assert can.max_embed_texts == MAX_EMBED_TEXTS
