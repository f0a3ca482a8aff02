"""OpenAI's two interfaces behind one provider, over each transport, on real bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from sutlerd.providers.model_table import known_traits
from sutlerd.providers.openai_dialect import OpenAI
from tests.contract import answers
from tests.contract.harness import API_KEY, TRANSPORTS, Wired, contents, wired
from tests.contract.responses_answers import (
    begin,
    called,
    delta,
    end,
    event,
    openai_response,
    openai_response_stream,
    said,
    thought,
)
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")

WEATHER = {"name": "weather", "parameters": {"type": "object"}}
ASK = {"role": "user", "content": "What is the weather?"}


@pytest.fixture(params=TRANSPORTS)
async def wire(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[Wired]:
    async with wired(
        request.param,
        provider.base_url,
        dialect=OpenAI(provider="scripted"),
        traits=lambda model: known_traits("openai", model),
    ) as made:
        yield made


def asked(wire: Wired, *more: dict[str, object], model: str = "gpt-5.4-mini") -> BuiltRequest:
    request = ChatRequest(messages=(ASK, *more), max_tokens=100, functions=(WEATHER,))
    return wire.endpoint.build_chat(request, model)


async def complete(wire: Wired, built: BuiltRequest) -> Reply:
    return await wire.endpoint.complete(built, deadline_s=wire.deadline_s())


async def stream(wire: Wired, into: list[Delta | Reply]) -> Reply:
    async with wire.endpoint.stream(asked(wire), deadline_s=wire.deadline_s()) as batches:
        async for batch in batches:
            into += batch
    assert isinstance(into[-1], Reply)
    return into[-1]


async def test_functions_of_a_newer_model_go_to_responses_and_come_back(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = openai_response(
        thought("hm"), called("c1", "weather", '{"city":"Paris"}', id="fc_1")
    )
    reply = await complete(wire, asked(wire))
    (call,) = reply.tool_calls
    assert (call.id, call.arguments, reply.finish_reason) == (
        "c1",
        '{"city":"Paris"}',
        "tool_calls",
    )
    assert (reply.reasoning, reply.provider) == ("hm", "scripted")
    assert (reply.usage.tokens_in, reply.usage.cached_tokens_in) == (20, 16)
    provider.always = openai_response(said("rain"))
    results = (
        {"role": "assistant", "content": None, "tool_calls": [call.to_wire()]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    )
    assert (await complete(wire, asked(wire, *results))).content == "rain"
    first, second = provider.requests
    assert first.path == second.path == "/v1/responses"
    assert first.headers["authorization"] == f"Bearer {API_KEY}"
    assert first.json == asked(wire).body
    assert [item.get("type") for item in second.json["input"]] == [
        None,
        "function_call",
        "function_call_output",
    ]


async def test_without_functions_and_for_older_models_chat_is_asked(
    wire: Wired, provider: ScriptedProvider
) -> None:
    plain = ChatRequest(messages=(ASK,), max_tokens=100)
    await complete(wire, wire.endpoint.build_chat(plain, "gpt-5.4-mini"))
    await complete(wire, asked(wire, model="gpt-4o"))
    assert {request.path for request in provider.requests} == {"/v1/chat/completions"}


async def test_responses_stream(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = openai_response_stream()
    pieces: list[Delta | Reply] = []
    reply = await stream(wire, pieces)
    assert contents(pieces) == ["The", " answer", " is 4"]
    assert (reply.content, reply.finish_reason) == ("The answer is 4", "stop")
    assert reply.usage.tokens_out == 9
    sent = provider.requests[0].json
    assert sent["stream"] is True
    assert sent["store"] is False


@pytest.mark.fault("P23")
async def test_a_stream_a_byte_at_a_time_is_the_same_stream(
    wire: Wired, provider: ScriptedProvider
) -> None:
    item = called("c1", "weather", id="fc_1")
    lively = (
        begin()
        + delta("é")
        + event("output_item.added", output_index=1, item=item)
        + event("function_call_arguments.delta", output_index=1, item_id="fc_1", delta="{}")
        + end()
    )
    whole = answers.stream_answer(lively)
    bytes_of_it = b"".join(s.data for s in whole.steps if isinstance(s, answers.Send))
    provider.queue += [whole, answers.Answer((answers.Trickle(bytes_of_it),))]
    at_once: list[Delta | Reply] = []
    trickled: list[Delta | Reply] = []
    reply = await stream(wire, at_once)
    assert await stream(wire, trickled) == reply
    assert trickled == at_once
    assert (reply.content, reply.tool_calls[0].arguments) == ("é", "{}")


@pytest.mark.fault("P18")
async def test_a_failure_at_status_200_has_the_verdict_of_what_it_is(
    wire: Wired, provider: ScriptedProvider
) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    provider.queue.append(openai_response(status="failed", error=error))
    with pytest.raises(AttemptFailed, match="slow down") as raised:
        await complete(wire, asked(wire))
    assert (raised.value.kind, raised.value.outcome) == ("rate_limit", Outcome.NOT_BILLED)
    provider.queue.append(answers.stream_answer(begin() + end(kind="failed", error=error)))
    with pytest.raises(AttemptFailed, match="slow down") as raised:
        await stream(wire, [])
    assert (raised.value.kind, raised.value.outcome) == ("rate_limit", Outcome.UNKNOWN)


@pytest.mark.fault("P16")
async def test_a_stream_that_ends_in_good_order_too_early_is_cut(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.stream_answer(begin() + delta("half"))
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed) as raised:
        await stream(wire, pieces)
    assert contents(pieces) == ["half"]
    assert raised.value.kind == "cut"


@pytest.mark.fault("P19")
async def test_an_error_event_after_a_piece_is_judged_by_its_code(
    wire: Wired, provider: ScriptedProvider
) -> None:
    error = answers.sse({"type": "error", "code": "server_error", "message": "oh"})
    provider.always = answers.stream_answer(begin() + delta("half") + error)
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed, match="oh") as raised:
        await stream(wire, pieces)
    assert contents(pieces) == ["half"]
    assert (raised.value.verdict, raised.value.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)


@pytest.mark.fault("P4")
async def test_a_quota_that_is_gone_is_asked_for_once(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.openai_error(
        429, "You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"
    )
    with pytest.raises(AttemptFailed) as raised:
        await complete(wire, asked(wire))
    assert (raised.value.verdict, raised.value.kind) == (Verdict.CLOSED, "no_credit")
    assert len(provider.requests) == 1


async def test_a_count_comes_from_the_interface_that_counts(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.http_answer({"object": "response.input_tokens", "input_tokens": 9})
    count = await wire.endpoint.count_tokens(
        "hi", "gpt-5.4-mini", deadline_s=wire.deadline_s(), ask_provider=True
    )
    assert (count.tokens, count.method) == (9, "provider")
    assert provider.requests[0].path == "/v1/responses/input_tokens"
