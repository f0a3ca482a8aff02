"""OpenAI's chat completions and embeddings, over each transport, on real bytes."""

from __future__ import annotations

import asyncio
import base64
import struct

import pytest

from sutlerd.domain.reply import Delta, Reply
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed
from tests.contract import answers
from tests.contract.harness import API_KEY, Wired, contents
from tests.contract.scripted import Received, ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")


async def test_openai_complete(wire: Wired, provider: ScriptedProvider) -> None:
    reply = await wire.complete()
    assert (reply.content, reply.finish_reason, reply.model) == ("4", "stop", "test-model")
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)
    assert reply.provider == "scripted"
    (request,) = provider.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.json == wire.chat().body


async def test_openai_stream(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.openai_stream()
    pieces: list[Delta | Reply] = []
    reply = await wire.stream(into=pieces)
    assert contents(pieces) == ["The", " answer", " is 4"]
    assert (reply.content, reply.finish_reason) == ("The answer is 4", "stop")
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)
    assert provider.requests[0].json["stream_options"] == {"include_usage": True}


async def test_openai_embed(wire: Wired, provider: ScriptedProvider) -> None:
    vectors = [[1.0, -0.5], [0.25, 2.0]]
    coded = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    provider.queue += [answers.openai_embeddings(vectors), answers.openai_embeddings(coded)]
    as_decimals = await wire.embed("a", "b")
    as_base64 = await wire.embed("a", "b")
    assert as_decimals == as_base64
    assert as_decimals.vectors == tuple(struct.pack("<2f", *vector) for vector in vectors)
    assert as_decimals.usage == Usage(tokens_in=5, tokens_out=0)


async def test_openai_function_calls(wire: Wired, provider: ScriptedProvider) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    provider.always = answers.openai_chat(None, finish_reason="tool_calls", tool_calls=[call])
    reply = await wire.complete()
    assert reply.tool_calls[0].to_wire() == call
    assert (reply.content, reply.finish_reason) == ("", "tool_calls")


async def test_a_piece_is_passed_on_before_the_next_is_sent(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.openai_stream(between=[answers.Gate("next")])
    async with wire.endpoint.stream(wire.chat(), deadline_s=wire.deadline_s()) as batches:
        first = await anext(batches)
        assert contents(first) == ["The"]
        provider.open("next")
        rest = [item async for batch in batches for item in batch]
    assert contents(rest) == [" answer", " is 4"]
    assert isinstance(rest[-1], Reply)


@pytest.mark.fault("P23")
async def test_a_stream_a_byte_at_a_time_is_the_same_stream(
    wire: Wired, provider: ScriptedProvider
) -> None:
    whole = b"".join(s.data for s in answers.openai_stream().steps if isinstance(s, answers.Send))
    provider.always = answers.Answer((answers.Trickle(whole),))
    pieces: list[Delta | Reply] = []
    assert (await wire.stream(into=pieces)).content == "The answer is 4"
    assert contents(pieces) == ["The", " answer", " is 4"]


async def test_connections_are_kept_for_the_next_call(
    wire: Wired, provider: ScriptedProvider
) -> None:
    for _ in range(3):
        await wire.complete()
    provider.always = answers.openai_stream()
    for _ in range(2):
        await wire.stream()
        await provider.until(lambda: wire.transport.open_connections() <= 1)
    await wire.stream()
    assert provider.connections == 1


async def test_a_stream_whose_end_comes_late_keeps_its_connection(
    wire: Wired, provider: ScriptedProvider
) -> None:
    *most, end = answers.openai_stream().steps
    provider.always = answers.Answer((*most, answers.Gate("end"), end))
    assert (await wire.stream()).content == "The answer is 4"
    assert wire.transport.open_connections() == 1
    provider.open("end")
    provider.always = answers.openai_stream()
    ended = len(provider.requests)
    while provider.connections == 1 and len(provider.requests) < ended + 20:
        await wire.stream()
    # The first may have been too early; but what was kept is used, and no third is made.
    assert provider.connections <= 2


@pytest.mark.fault("P10")
async def test_a_stream_left_early_is_hung_up(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.openai_stream(between=[answers.Gate("never")])
    async with wire.endpoint.stream(wire.chat(), deadline_s=wire.deadline_s()) as batches:
        await anext(batches)
    await provider.until(lambda: provider.hangups == 1)


async def test_many_calls_at_once_each_get_their_own_answer(
    wire: Wired, provider: ScriptedProvider
) -> None:
    def echo(request: Received) -> answers.Answer:
        return answers.openai_chat(request.json["seed"] * "x")

    provider.always = echo
    deadline_s = wire.deadline_s()
    replies = await asyncio.gather(
        *(wire.endpoint.complete(wire.chat(seed=n), deadline_s=deadline_s) for n in range(40))
    )
    assert [len(reply.content) for reply in replies] == list(range(40))


async def test_tokens_are_counted_by_the_server(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.http_answer({"input_tokens": 32})
    count = await wire.endpoint.count_tokens(
        [{"role": "user", "content": "hi"}], "test-model", deadline_s=wire.deadline_s()
    )
    assert (count.tokens, count.exact, count.method) == (32, True, "provider")
    assert provider.requests[0].path == "/v1/chat/completions/input_tokens"
    provider.always = answers.http_answer({"tokens": [1, 2]})
    count = await wire.endpoint.count_tokens("hi", "test-model", deadline_s=wire.deadline_s())
    assert count.tokens == 2
    assert provider.requests[1].path == "/tokenize"


async def test_limits_that_an_answer_tells_can_be_asked_for(
    wire: Wired, provider: ScriptedProvider
) -> None:
    built = wire.chat()
    assert wire.endpoint.limits_seen(built) is None
    headers = {
        "X-RateLimit-Limit-Requests": 500,
        "X-RateLimit-Remaining-Requests": 499,
        "X-RateLimit-Reset-Requests": "120ms",
    }
    provider.always = answers.openai_chat(headers=headers)
    await wire.endpoint.complete(built, deadline_s=wire.deadline_s())
    await wire.complete()
    seen = wire.endpoint.limits_seen(built)
    assert seen is not None
    assert seen.limits["requests"].remaining == 499
    assert wire.endpoint.limits_seen(built) is None, "told once"


async def test_what_status_shows_counts_attempts_and_names_the_last_failure(
    wire: Wired, provider: ScriptedProvider
) -> None:
    assert wire.endpoint.health()["attempts"] == 0
    await wire.complete()
    provider.always = answers.openai_error(503, "busy")
    with pytest.raises(AttemptFailed, match="busy"):
        await wire.complete()
    health = wire.endpoint.health()
    assert (health["attempts"], health["failures"], health["in_flight"]) == (2, 1, 0)
    assert health["last_failure"]["kind"] == "http_503"
    assert health["address"] == provider.base_url
    assert API_KEY not in repr(health)
