"""Anthropic's Messages, over each transport, on real bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.domain.usage import Usage
from sutlerd.providers.anthropic_dialect import VERSION, Anthropic
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Outcome, Verdict
from sutlerd.providers.model_table import known_traits
from tests.contract import answers
from tests.contract.anthropic_answers import (
    PING,
    anthropic_error,
    anthropic_message,
    anthropic_stream,
    block,
    end,
    event,
    given,
    said,
    start,
    text,
    thought,
    tool_use,
)
from tests.contract.harness import API_KEY, PATIENCE_S, TRANSPORTS, Wired, contents, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")
MODEL = "claude-opus-5-5"


@pytest.fixture(params=TRANSPORTS)
async def wire(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[Wired]:
    provider.always = anthropic_message()
    async with wired(
        request.param,
        provider.address,
        dialect=Anthropic(provider="scripted"),
        package="anthropic",
        traits=lambda model: known_traits("anthropic", model),
    ) as made:
        yield made


async def failure(wire: Wired) -> AttemptFailed:
    """Give the failure of a whole answer, which a stream that is refused has too."""
    with pytest.raises(AttemptFailed) as raised:
        await wire.complete()
    with pytest.raises(AttemptFailed) as streamed:
        await wire.stream()
    assert (streamed.value.kind, streamed.value.verdict) == (
        raised.value.kind,
        raised.value.verdict,
    )
    return raised.value


async def test_anthropic_complete(wire: Wired, provider: ScriptedProvider) -> None:
    reply = await wire.complete()
    assert (reply.content, reply.finish_reason) == ("4", "stop")
    assert (reply.model, reply.provider) == ("claude-served", "scripted")
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)
    (request,) = provider.requests
    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["anthropic-version"] == VERSION
    assert request.json == wire.chat().body


async def test_anthropic_stream(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = anthropic_stream()
    pieces: list[Delta | Reply] = []
    reply = await wire.stream(into=pieces)
    assert contents(pieces) == ["The", " answer", " is 4"]
    assert (reply.content, reply.finish_reason) == ("The answer is 4", "stop")
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)
    assert provider.requests[0].json == {**wire.chat().body, "stream": True}


async def test_anthropic_function_calls(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = anthropic_message(
        text("Let me see."), tool_use("toolu_1", "add", a=2), stop_reason="tool_use"
    )
    reply = await wire.complete()
    (call,) = reply.tool_calls
    assert (call.id, call.name, call.arguments) == ("toolu_1", "add", '{"a":2}')
    assert reply.finish_reason == "tool_calls"
    # The results go back in one turn, as the wire wants them.
    messages = (
        *ASKED,
        {"role": "assistant", "content": reply.content, "tool_calls": [call.to_wire()]},
        {"role": "tool", "tool_call_id": call.id, "content": "4"},
    )
    request = ChatRequest(messages=messages, max_tokens=10)
    built = wire.endpoint.build_chat(request, MODEL)
    await wire.endpoint.complete(built, deadline_s=wire.deadline_s())
    assert provider.requests[-1].json["messages"][-1] == {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"}],
    }


ASKED = ({"role": "user", "content": "What is 2 + 2?"},)


@pytest.mark.fault("P22", "P23")
async def test_a_stream_of_all_that_there_is_a_byte_at_a_time(
    wire: Wired, provider: ScriptedProvider
) -> None:
    lively = (
        start(cache_creation_input_tokens=100)
        + PING
        + block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            thought("hm"),
            {"type": "signature_delta", "signature": "sig"},
        )
        + block(1, text(""), said("é🙂"))
        + event("hologram", index=9)
        + block(2, tool_use("t1", "f"), given('{"a"'), given(": 1}"))
        + block(3, tool_use("t2", "g"), given(""))
        + end("tool_use", output_tokens=20)
    )
    whole = answers.stream_answer(lively)
    bytes_of_it = b"".join(s.data for s in whole.steps if isinstance(s, answers.Send))
    provider.queue += [whole, answers.Answer((answers.Trickle(bytes_of_it),))]
    at_once: list[Delta | Reply] = []
    trickled: list[Delta | Reply] = []
    await wire.stream(into=at_once)
    await wire.stream(into=trickled)
    assert trickled == at_once
    reply = at_once[-1]
    assert isinstance(reply, Reply)
    assert (reply.content, reply.reasoning, reply.finish_reason) == ("é🙂", "hm", "tool_calls")
    assert [call.arguments for call in reply.tool_calls] == ['{"a": 1}', "{}"]
    assert (reply.usage.tokens_in, reply.usage.cache_write_tokens_in) == (109, 100)


async def test_a_piece_is_passed_on_before_the_next_is_sent(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = anthropic_stream(between=[answers.Gate("next")])
    async with wire.endpoint.stream(wire.chat(), deadline_s=wire.deadline_s()) as batches:
        assert contents(await anext(batches)) == ["The"]
        provider.open("next")
        rest = [item async for batch in batches for item in batch]
    assert contents(rest) == [" answer", " is 4"]


@pytest.mark.fault("P16")
async def test_a_stream_that_ends_in_good_order_too_early_is_cut(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.stream_answer(start() + block(0, text(""), said("half")))
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed) as raised:
        await wire.stream(into=pieces)
    assert contents(pieces) == ["half"]
    assert (raised.value.kind, raised.value.outcome) == ("cut", Outcome.UNKNOWN)


@pytest.mark.fault("P15")
async def test_a_stream_that_is_reset_is_lost(wire: Wired, provider: ScriptedProvider) -> None:
    half = start() + event("content_block_delta", index=0, delta=said("half"))
    gate = answers.Gate("read")
    provider.always = answers.stream_answer(half, gate, answers.Reset(), end=False)
    async with wire.endpoint.stream(wire.chat(), deadline_s=wire.deadline_s()) as batches:
        assert contents(await anext(batches)) == ["half"]
        provider.open("read")
        with pytest.raises(AttemptFailed) as raised:
            await anext(batches)
    assert raised.value.outcome is Outcome.UNKNOWN


@pytest.mark.fault("P19")
async def test_an_error_event_after_two_pieces_is_judged_by_its_type(
    wire: Wired, provider: ScriptedProvider
) -> None:
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    provider.always = answers.stream_answer(
        start() + block(0, text(""), said("a"), said("b")), error
    )
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed, match="Overloaded") as raised:
        await wire.stream(into=pieces)
    assert contents(pieces) == ["a", "b"]
    failed = raised.value
    assert (failed.kind, failed.verdict) == ("overloaded", Verdict.RETRY)
    assert failed.outcome is Outcome.UNKNOWN


async def test_529_is_overloaded_and_not_billed(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = anthropic_error(529, "overloaded_error", "Overloaded")
    failed = await failure(wire)
    assert (failed.kind, failed.verdict) == ("overloaded", Verdict.RETRY)
    assert failed.outcome is Outcome.NOT_BILLED
    assert len(provider.requests) == 2


async def test_429_tells_when_to_come_back_and_what_the_limits_are(
    wire: Wired, provider: ScriptedProvider
) -> None:
    headers: dict[str, str | int] = {
        "retry-after": 7,
        "date": "Mon, 23 Nov 2026 18:20:00 GMT",
        "anthropic-ratelimit-input-tokens-limit": 2_000_000,
        "anthropic-ratelimit-input-tokens-remaining": 0,
        "anthropic-ratelimit-input-tokens-reset": "2026-11-23T18:20:05Z",
        "anthropic-ratelimit-requests-limit": 1000,
        "anthropic-ratelimit-requests-remaining": 999,
        "anthropic-ratelimit-requests-reset": "2026-11-23T18:20:01Z",
    }
    provider.always = anthropic_error(429, "rate_limit_error", headers=headers)
    failed = await failure(wire)
    assert (failed.kind, failed.retry_after_s) == ("rate_limit", 7.0)
    view = failed.limits
    assert view is not None
    assert view.limits["tokens_in"].remaining == 0
    assert view.limits["tokens_in"].reset_s == 5
    assert view.limits["requests"].remaining == 999


@pytest.mark.fault("P4")
async def test_a_spend_limit_is_no_rate_limit_and_asked_for_once(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = anthropic_error(
        429, "rate_limit_error", error_code="enforced_spend_limit_reached"
    )
    with pytest.raises(AttemptFailed) as raised:
        await wire.complete()
    assert (raised.value.kind, raised.value.verdict) == ("no_credit", Verdict.CLOSED)
    assert len(provider.requests) == 1


@pytest.mark.fault("P6")
async def test_a_body_too_large_may_be_refused_in_html_by_what_stands_before(
    wire: Wired, provider: ScriptedProvider
) -> None:
    page = b"<html><title>413 Request Entity Too Large</title></html>"
    provider.always = answers.http_answer(page, status=413, content_type="text/html")
    failed = await failure(wire)
    assert (failed.verdict, failed.outcome) == (Verdict.REFUSED, Outcome.NOT_BILLED)
    assert failed.message == "HTTP 413: 413 Request Entity Too Large"


@pytest.mark.fault("P7")
async def test_a_key_that_is_refused_is_not_shown(wire: Wired, provider: ScriptedProvider) -> None:
    words = f"invalid bearer token {API_KEY}"
    provider.always = anthropic_error(401, "authentication_error", words)
    failed = await failure(wire)
    assert failed.verdict is Verdict.CLOSED
    assert API_KEY not in failed.message
    assert API_KEY not in repr(wire.endpoint.health())


@pytest.mark.fault("X11")
async def test_a_redirect_is_not_followed(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.http_answer(
        b"", status=307, headers={"location": provider.address + "/elsewhere"}
    )
    failed = await failure(wire)
    assert failed.kind == "redirect"
    assert {request.path for request in provider.requests} == {"/v1/messages"}


async def test_tokens_are_counted_by_the_provider(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.http_answer({"input_tokens": 14})
    count = await wire.endpoint.count_tokens(
        [{"role": "user", "content": "hi"}], MODEL, deadline_s=wire.deadline_s()
    )
    assert (count.tokens, count.exact, count.method) == (14, False, "provider")
    (request,) = provider.requests
    assert request.path == "/v1/messages/count_tokens"


@pytest.mark.parametrize("model", ["claude-3-5-haiku-20241022", "claude-opus-4-20250514"])
async def test_a_name_of_an_old_model_is_no_warning_and_passes_as_it_is(
    wire: Wired, provider: ScriptedProvider, model: str
) -> None:
    # The package warns of these and limits the length of their answers, in its upper layers.
    request = ChatRequest(messages=ASKED, max_tokens=100_000)
    built: BuiltRequest = wire.endpoint.build_chat(request, model)
    await wire.endpoint.complete(built, deadline_s=wire.deadline_s(PATIENCE_S))
    assert provider.requests[0].json["model"] == model
