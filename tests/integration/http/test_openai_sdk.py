"""The official ``openai`` package against the HTTP side, over both doors, sync and async."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel

from tests.contract import answers
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_socket, new_token, over_unix, port_of

DOORS = ("unix", "tcp")


def _options(rig: Rig, door: str, *, transport: Any) -> dict[str, Any]:
    if door == "tcp":
        url = f"http://127.0.0.1:{port_of(rig.daemon)}/v1"
        return {"base_url": url, "api_key": new_token(rig.daemon), "max_retries": 0}
    made = transport(uds=str(http_socket(rig.daemon)))
    client = httpx2.Client if transport is httpx2.HTTPTransport else httpx2.AsyncClient
    return {
        "base_url": "http://localhost/v1",
        "api_key": "none-is-needed",
        "http_client": client(transport=made),
        "max_retries": 0,
    }


@contextmanager
def sdk(rig: Rig, door: str = "unix") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(**_options(rig, door, transport=httpx2.HTTPTransport)) as client:
        yield client


@asynccontextmanager
async def async_sdk(rig: Rig, door: str = "unix") -> AsyncIterator[openai.AsyncOpenAI]:
    options = _options(rig, door, transport=httpx2.AsyncHTTPTransport)
    async with openai.AsyncOpenAI(**options) as client:
        yield client


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("door", DOORS)
def test_completions_and_streams_with_usage(rig: Rig, door: str) -> None:
    with sdk(rig, door) as client:
        whole = client.chat.completions.create(model="test-model", messages=said(f"a {door}"))
        assert whole.choices[0].message.content == f"to: a {door}"
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage is not None
        assert whole.usage.total_tokens == 12
        chunks = list(
            client.chat.completions.create(
                model="test-model",
                messages=said(f"b {door}"),
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == f"to: b {door}"
        assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 1
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens == 9
        with client.chat.completions.stream(
            model="test-model", messages=said(f"c {door}")
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.content == f"to: c {door}"


@pytest.mark.parametrize("door", DOORS)
async def test_the_async_client_completes_and_streams(rig: Rig, door: str) -> None:
    async with async_sdk(rig, door) as client:
        whole = await client.chat.completions.create(model="test-model", messages=said(f"d {door}"))
        assert whole.choices[0].message.content == f"to: d {door}"
        stream = await client.chat.completions.create(
            model="test-model", messages=said(f"e {door}"), stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
        assert text == f"to: e {door}"


def test_a_prompt_is_one_cache_entry_whichever_door_it_comes_through(rig: Rig) -> None:
    first = rig.daemon.result("chat", prompt="one entry", max_tokens=50)
    assert first["cached"] is False
    with sdk(rig) as client:
        for content in ("one entry", [{"type": "text", "text": "one entry"}]):
            raw = client.chat.completions.with_raw_response.create(
                model="test-model",
                messages=[{"role": "user", "content": content}],  # type: ignore[typeddict-item]
                max_completion_tokens=50,
                n=1,
                logprobs=False,
            )
            assert raw.headers["x-sutler-cached"] == "true"
            assert raw.headers["x-sutler-cost-nanousd"] == "0"
        stream = client.chat.completions.create(
            model="test-model", messages=said("one entry"), max_tokens=50, stream=True
        )
        assert stream.response.headers["x-sutler-cached"] == "true"
        assert "".join(c.choices[0].delta.content or "" for c in stream) == first["content"]
    assert rig.asked("one entry") == 1


def test_images_tools_and_formats_too_are_one_entry_whoever_spells_them(rig: Rig) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    look: list[dict[str, Any]] = [{"type": "text", "text": "seen once"}]
    shown = [*look, {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}]
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = {"name": "f", "description": "d", "parameters": schema}
    wanted = {"name": "x", "schema": schema, "strict": True}
    chat, respond, message = "/v1/chat/completions", "/v1/responses", "/v1/messages"

    def asked(prompt: Any, limit: str, path: str, member: str = "messages", **more: Any) -> bool:
        body = {"model": "test-model", member: prompt, limit: 9, **more}
        reply = over_unix(rig.daemon, "POST", path, body)
        assert reply.status == 200, reply.body
        return reply.headers["x-sutler-cached"] == "true"

    plain = [*look, {"type": "image_url", "image_url": {"url": url}}]
    rig.daemon.result("complete", model="test-model", messages=[_by_user(plain)], max_tokens=9)
    assert asked([_by_user(shown)], "max_tokens", chat)
    spelled = [
        {"type": "input_text", "text": "seen once"},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    assert asked([_by_user(spelled)], "max_output_tokens", respond, "input")
    assert asked([_by_user([*look, {"type": "image", "source": source}])], "max_tokens", message)

    ours = {"model": "test-model", "prompt": "tooled once", "max_tokens": 9}
    rig.daemon.result("complete", **ours, functions=[tool], function_call="auto")
    tools = [{"type": "function", "function": tool}]
    for choice in ({}, {"tool_choice": "auto"}):
        assert asked(said("tooled once"), "max_tokens", chat, tools=tools, **choice)
    flat = [{"type": "function", **tool}]
    assert asked("tooled once", "max_output_tokens", respond, "input", tools=flat)
    theirs = [{"name": "f", "description": "d", "input_schema": schema}]
    assert asked(said("tooled once"), "max_tokens", message, tools=theirs)

    rig.answers["formed once"] = answers.openai_chat('{"a": 1}')
    rig.daemon.result("complete", **{**ours, "prompt": "formed once"}, schema=schema)
    formed = {"type": "json_schema", "json_schema": wanted}
    assert asked(said("formed once"), "max_tokens", chat, response_format=formed)
    text = {"format": {"type": "json_schema", **wanted}}
    assert asked("formed once", "max_output_tokens", respond, "input", text=text)
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert asked(said("formed once"), "max_tokens", message, output_config=config)


def _by_user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_samples_are_numbered_and_cached_each(rig: Rig) -> None:
    with sdk(rig) as client:
        ask = {"model": "test-model", "messages": said("samples"), "temperature": 1.0, "n": 3}
        reply = client.chat.completions.create(**ask)
        assert [choice.index for choice in reply.choices] == [0, 1, 2]
        assert reply.usage is not None
        assert reply.usage.completion_tokens == 9
        assert rig.asked("samples") == 3
        client.chat.completions.create(**ask)
        assert rig.asked("samples") == 3
        texts: dict[int, str] = {}
        for chunk in client.chat.completions.create(**ask, stream=True):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        assert texts == dict.fromkeys(range(3), "to: samples")


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "the weather at a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place": "Bern"}'},
}


def test_tools_make_the_round_trip(rig: Rig) -> None:
    called = answers.openai_chat(None, finish_reason="tool_calls", tool_calls=[CALL])
    rig.answers["how is it in Bern"] = called
    messages = said("how is it in Bern")
    with sdk(rig) as client:
        reply = client.chat.completions.create(
            model="test-model",
            messages=messages,
            tools=[WEATHER],  # type: ignore[list-item]
        )
        assert reply.choices[0].finish_reason == "tool_calls"
        calls = reply.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert json.loads(calls[0].function.arguments) == {"place": "Bern"}
        rig.answers.clear()
        messages.append(reply.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"})
        again = client.chat.completions.create(
            model="test-model",
            messages=messages,
            tools=[WEATHER],  # type: ignore[list-item]
        )
        assert again.choices[0].message.content == "to: sunny"
        sent = rig.provider.requests[-1].json["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
        assert sent[1]["tool_calls"][0]["function"] == CALL["function"]


def test_tools_are_streamed_in_pieces(rig: Rig) -> None:
    parts = [
        {"index": 0, "id": "call_9", "type": "function", "function": {"name": "weather"}},
        {"index": 0, "function": {"arguments": '{"pla'}},
        {"index": 0, "function": {"arguments": 'ce": "Bern"}'}},
    ]
    events = [answers.openai_chunk(tool_calls=[part]) for part in parts]
    events.append(answers.openai_chunk(finish_reason="tool_calls"))
    events.append({**answers.openai_chunk(), "choices": [], "usage": answers.usage()})
    rig.answers["tool stream"] = answers.stream_answer(answers.sse(*events, "[DONE]"))
    with (
        sdk(rig) as client,
        client.chat.completions.stream(
            model="test-model",
            messages=said("tool stream"),
            tools=[WEATHER],  # type: ignore[list-item]
        ) as stream,
    ):
        final = stream.get_final_completion()
    rig.answers.clear()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert (calls[0].id, calls[0].function.name) == ("call_9", "weather")
    assert calls[0].function.arguments == '{"place": "Bern"}'


class City(BaseModel):
    name: str
    people: int


def test_structured_output_is_parsed(rig: Rig) -> None:
    rig.answers["a city"] = answers.openai_chat('{"name": "Bern", "people": 134000}')
    with sdk(rig) as client:
        reply = client.chat.completions.parse(
            model="test-model", messages=said("a city"), response_format=City
        )
    rig.answers.clear()
    assert reply.choices[0].message.parsed == City(name="Bern", people=134000)
    assert rig.provider.requests[-1].json["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize("door", DOORS)
def test_embeddings_in_both_encodings_are_cached_by_text(rig: Rig, door: str) -> None:
    with sdk(rig, door) as client:
        texts = [f"wagon {door}", f"rank {door}"]
        first = client.embeddings.create(model="test-embed", input=texts)
        assert [len(each.embedding) for each in first.data] == [8, 8]
        floats = client.embeddings.with_raw_response.create(
            model="test-embed", input=texts, encoding_format="float"
        )
        assert floats.headers["x-sutler-cached"] == "true"
        assert floats.parse().data[1].embedding == first.data[1].embedding


def test_completions_of_prompts_and_models(rig: Rig) -> None:
    with sdk(rig) as client:
        both = client.completions.create(model="test-model", prompt=["left", "right"])
        assert [choice.text for choice in both.choices] == ["to: left", "to: right"]
        stream = client.completions.create(model="test-model", prompt="left", stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == "to: left"
        assert {"test-model", "test-embed"} <= {model.id for model in client.models.list()}
        assert client.models.retrieve("test-model").owned_by == "scripted"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("no-such")


def test_errors_are_raised_as_the_class_they_are(rig: Rig) -> None:
    with sdk(rig) as client:
        rig.answers["fails by itself"] = answers.openai_error(400, "no such thing")
        with pytest.raises(openai.BadRequestError, match="no such thing"):
            client.chat.completions.create(model="test-model", messages=said("fails by itself"))
        rig.answers.clear()
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model="no-such", messages=said("x"))
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="temperature") as bad:
            client.chat.completions.create(model="test-model", messages=said("x"), temperature=9)
        assert bad.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(openai.BadRequestError, match="log probabilities"):
            client.chat.completions.create(model="test-model", messages=said("x"), logprobs=True)
        with pytest.raises(openai.BadRequestError, match="messages"):
            client.chat.completions.create(model="test-model", messages=[])
        with pytest.raises(openai.BadRequestError, match="n_predict"):
            client.chat.completions.create(
                model="test-model", messages=said("x"), extra_body={"n_predict": 5}
            )
        only = {"x-sutler-cache": "only"}
        with pytest.raises(openai.NotFoundError, match="nothing is stored"):
            client.chat.completions.create(
                model="test-model", messages=said("never asked"), extra_headers=only
            )
    with sdk(rig, "tcp") as client, pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_a_stream_that_fails_in_its_middle_raises(rig: Rig) -> None:
    cut = answers.stream_answer(
        answers.sse(answers.openai_chunk(content="half ")), answers.Reset(), end=False
    )
    rig.answers["half a stream"] = cut
    with sdk(rig) as client:
        stream = client.chat.completions.create(
            model="test-model", messages=said("half a stream"), stream=True
        )
        got = next(stream).choices[0].delta.content or ""
        got += next(stream).choices[0].delta.content or ""
        with pytest.raises(openai.APIError, match="scripted"):
            next(stream)
    rig.answers.clear()
    assert got == "half "
