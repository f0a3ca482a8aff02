"""The official ``anthropic`` package against the HTTP side, over both doors, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anthropic
import httpx2
import pytest

from tests.contract import answers
from tests.integration.faults.rig import Rig
from tests.integration.http.rig import http_socket, new_token, over_unix, port_of

DOORS = ("unix", "tcp")


def _options(rig: Rig, door: str, *, transport: Any) -> dict[str, Any]:
    if door == "tcp":
        url = f"http://127.0.0.1:{port_of(rig.daemon)}"
        return {"base_url": url, "api_key": new_token(rig.daemon), "max_retries": 0}
    made = transport(uds=str(http_socket(rig.daemon)))
    client = httpx2.Client if transport is httpx2.HTTPTransport else httpx2.AsyncClient
    return {
        "base_url": "http://localhost",
        "api_key": "none-is-needed",
        "http_client": client(transport=made),
        "max_retries": 0,
    }


@contextmanager
def sdk(rig: Rig, door: str = "unix") -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(**_options(rig, door, transport=httpx2.HTTPTransport)) as client:
        yield client


@asynccontextmanager
async def async_sdk(rig: Rig, door: str = "unix") -> AsyncIterator[anthropic.AsyncAnthropic]:
    options = _options(rig, door, transport=httpx2.AsyncHTTPTransport)
    async with anthropic.AsyncAnthropic(**options) as client:
        yield client


def ask(text: Any, **more: Any) -> Any:
    return {
        "model": "test-model",
        "max_tokens": 60,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


@pytest.mark.parametrize("door", DOORS)
def test_messages_and_streams_with_usage(rig: Rig, door: str) -> None:
    with sdk(rig, door) as client:
        whole = client.messages.create(**ask(f"A {door}"))
        assert whole.content[0].type == "text"
        assert whole.content[0].text == f"to: A {door}"
        assert whole.stop_reason == "end_turn"
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (9, 3)
        with client.messages.stream(**ask(f"B {door}")) as stream:
            assert "".join(stream.text_stream) == f"to: B {door}"
            final = stream.get_final_message()
        assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 3)
        assert final.stop_reason == "end_turn"


@pytest.mark.parametrize("door", DOORS)
async def test_the_async_client_asks_and_streams(rig: Rig, door: str) -> None:
    async with async_sdk(rig, door) as client:
        whole = await client.messages.create(**ask(f"C {door}"))
        assert whole.content[0].type == "text"
        async with client.messages.stream(**ask(f"D {door}")) as stream:
            texts = [text async for text in stream.text_stream]
        assert len(texts) > 1
        assert "".join(texts) == f"to: D {door}"


def test_events_come_in_their_order(rig: Rig) -> None:
    reply = over_unix(rig.daemon, "POST", "/v1/messages", ask("in order", stream=True))
    names = [name for name, _ in reply.events()]
    middle = [name for name in names if name == "content_block_delta"]
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        *middle,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(data["type"] == name for name, data in reply.events())


def test_a_prompt_is_one_cache_entry_for_all_three_doors(rig: Rig) -> None:
    first = rig.daemon.result("chat", prompt="one for three", system="be kind", max_tokens=60)
    system: Any = [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}]
    with sdk(rig) as client:
        for given in ("be kind", system):
            raw = client.messages.with_raw_response.create(**ask("one for three", system=given))
            assert raw.headers["x-sutler-cached"] == "true"
            assert raw.parse().content[0].text == first["content"]
        blocks = [{"type": "text", "text": "one for three"}]
        raw = client.messages.with_raw_response.create(**ask(blocks, system="be kind"))
        assert raw.headers["x-sutler-cached"] == "true"
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one for three"},
    ]
    body = {"model": "test-model", "messages": messages, "max_tokens": 60}
    reply = over_unix(rig.daemon, "POST", "/v1/chat/completions", body)
    assert reply.headers["x-sutler-cached"] == "true"
    assert rig.asked("one for three") == 1


TOOL: Any = {
    "name": "weather",
    "description": "the weather at a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place": "Bern"}'},
}


def test_tools_make_the_round_trip(rig: Rig) -> None:
    rig.answers["sun in Bern"] = answers.openai_chat(
        "Let me look.", finish_reason="tool_calls", tool_calls=[CALL]
    )
    with sdk(rig) as client:
        asked = ask("sun in Bern", tools=[TOOL], tool_choice={"type": "auto"})
        reply = client.messages.create(**asked)
        assert reply.stop_reason == "tool_use"
        text, used = reply.content
        assert text.type == "text"
        assert used.type == "tool_use"
        assert (used.name, used.input) == ("weather", {"place": "Bern"})
        rig.answers.clear()
        asked["messages"] = [
            *asked["messages"],
            {"role": "assistant", "content": reply.content},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": used.id, "content": "sunny"},
                    {"type": "text", "text": "so?"},
                ],
            },
        ]
        again = client.messages.create(**asked)
        assert again.content[0].type == "text"
        assert again.content[0].text == "to: so?"
        sent = rig.provider.requests[-1].json["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
        assert sent[2]["content"] == "sunny"


def test_tools_are_streamed_in_pieces(rig: Rig) -> None:
    parts = [
        {"index": 0, "id": "call_9", "type": "function", "function": {"name": "weather"}},
        {"index": 0, "function": {"arguments": '{"pla'}},
        {"index": 0, "function": {"arguments": 'ce": "Bern"}'}},
    ]
    events: list[Any] = [answers.openai_chunk(content="Hm.")]
    events += [answers.openai_chunk(tool_calls=[part]) for part in parts]
    events.append(answers.openai_chunk(finish_reason="tool_calls"))
    events.append({**answers.openai_chunk(), "choices": [], "usage": answers.usage()})
    rig.answers["Bern in pieces"] = answers.stream_answer(answers.sse(*events, "[DONE]"))
    with sdk(rig) as client:
        with client.messages.stream(**ask("Bern in pieces", tools=[TOOL])) as stream:
            final = stream.get_final_message()
        rig.answers.clear()
        assert [block.type for block in final.content] == ["text", "tool_use"]
        used = final.content[1]
        assert used.type == "tool_use"
        assert (used.id, used.input) == ("call_9", {"place": "Bern"})
        assert final.stop_reason == "tool_use"


def test_structured_output_becomes_a_schema(rig: Rig) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    rig.answers["a city as data"] = answers.openai_chat('{"name": "Bern"}')
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    with sdk(rig) as client:
        reply = client.messages.create(**ask("a city as data", output_config=config))
    rig.answers.clear()
    assert reply.content[0].type == "text"
    assert reply.content[0].text == '{"name": "Bern"}'
    sent = rig.provider.requests[-1].json["response_format"]
    assert sent["type"] == "json_schema"


def test_tokens_are_counted_and_models_listed(rig: Rig) -> None:
    with sdk(rig) as client:
        few = client.messages.count_tokens(
            model="test-model", messages=[{"role": "user", "content": "hello there"}]
        )
        more = client.messages.count_tokens(
            model="test-model",
            messages=[{"role": "user", "content": "hello there"}],
            tools=[TOOL],
        )
        assert 0 < few.input_tokens < more.input_tokens
        assert "test-model" in {model.id for model in client.models.list()}
        assert client.models.retrieve("test-model").type == "model"


def test_errors_are_raised_as_the_class_they_are(rig: Rig) -> None:
    with sdk(rig) as client:
        rig.answers["not so"] = answers.openai_error(400, "no such thing")
        with pytest.raises(anthropic.BadRequestError, match="no such thing"):
            client.messages.create(**ask("not so"))
        rig.answers.clear()
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**ask("x", model="no-such"))
        with pytest.raises(anthropic.BadRequestError, match="temperature"):
            client.messages.create(**ask("x", extra_body={"temperature": 9}))
        with pytest.raises(anthropic.BadRequestError, match="provider are not served"):
            client.messages.create(
                **ask("x", tools=[{"type": "web_search_20250305", "name": "web_search"}])
            )
    with sdk(rig, "tcp") as client, pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_a_stream_that_fails_in_its_middle_raises(rig: Rig) -> None:
    cut = answers.stream_answer(
        answers.sse(answers.openai_chunk(content="half ")), answers.Reset(), end=False
    )
    rig.answers["half of it"] = cut
    with (
        sdk(rig) as client,
        client.messages.stream(**ask("half of it")) as stream,
        pytest.raises(anthropic.APIStatusError, match="scripted"),
    ):
        stream.get_final_message()
    rig.answers.clear()
