"""Failures after the request was sent: nobody knows the bill, so it counts in full."""

from __future__ import annotations

import asyncio
import time

import pytest

from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from tests.contract import answers
from tests.contract.answers import Answer, openai_chunk, sse
from tests.contract.harness import TRANSPORTS, Wired, contents, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")
both = pytest.mark.parametrize("kind", TRANSPORTS)

#: Long enough to arrive on a slow machine, short enough for a test.
SOON_S = 0.5
HEAD = answers.head(200, {"content-type": "application/json", "content-length": 500})
SSE_HEAD = answers.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
FIRST = answers.Send(answers.chunked(sse(openai_chunk(content="half"))))


def unknown(failed: AttemptFailed, *kinds: str) -> None:
    assert failed.kind in kinds
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)


async def completes_not(wire: Wired, within_s: float = 20.0) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as raised:
        await wire.complete(within_s)
    return raised.value


async def streams_not(wire: Wired, within_s: float = 20.0) -> tuple[list[str], AttemptFailed]:
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed) as raised:
        await wire.stream(within_s, into=pieces)
    assert not any(isinstance(piece, Reply) for piece in pieces)
    return contents(pieces), raised.value


@pytest.mark.fault("P10")
async def test_a_provider_that_never_answers_ends_with_the_deadline(
    wire: Wired, provider: ScriptedProvider
) -> None:
    await wire.complete()
    provider.always = Answer((answers.Hang(),))
    began_s = time.monotonic()
    unknown(await completes_not(wire, SOON_S), "timeout")
    assert time.monotonic() - began_s >= SOON_S
    said, failed = await streams_not(wire, SOON_S)
    unknown(failed, "timeout")
    await provider.until(lambda: provider.hangups == 2)
    assert (said, len(provider.requests)) == ([], 3)


@both
@pytest.mark.fault("P10")
async def test_the_endpoint_s_own_limit_ends_an_attempt_before_the_deadline(
    kind: str, provider: ScriptedProvider
) -> None:
    provider.always = Answer((answers.Hang(),))
    async with wired(kind, provider.base_url, timeout_s=SOON_S) as wire:
        unknown(await completes_not(wire), "timeout")


@pytest.mark.fault("P10")
async def test_a_cancelled_attempt_hangs_up(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = Answer((answers.Hang(),))
    asking = asyncio.create_task(wire.complete())
    await provider.until(lambda: len(provider.requests) == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await provider.until(lambda: provider.hangups == 1)
    assert wire.endpoint.health()["in_flight"] == 0


@both
@pytest.mark.fault("P11")
async def test_silence_within_a_stream_ends_at_its_own_limit(
    kind: str, provider: ScriptedProvider
) -> None:
    provider.always = Answer((answers.Send(SSE_HEAD), FIRST, answers.Hang()))
    async with wired(kind, provider.base_url, silence_s=SOON_S) as wire:
        said, failed = await streams_not(wire)
        unknown(failed, "silence")
        assert said == ["half"]
        await provider.until(lambda: provider.hangups == 1)


@both
@pytest.mark.fault("P11")
@pytest.mark.fault("P12")
async def test_what_drips_for_ever_ends_at_the_deadline_however_lively(
    kind: str, provider: ScriptedProvider
) -> None:
    ever = answers.Forever(answers.chunked(b": keep-alive\n\n\n:"), 0.02)
    provider.always = Answer((answers.Send(SSE_HEAD), FIRST, ever))
    async with wired(kind, provider.base_url, silence_s=10) as wire:
        said, failed = await streams_not(wire, within_s=3 * SOON_S)
        unknown(failed, "timeout")
        assert said == ["half"]
        await provider.until(lambda: provider.hangups == 1)


@pytest.mark.fault("P12")
@pytest.mark.parametrize("head", [b"", HEAD], ids=["head", "body"])
async def test_an_answer_that_drips_ends_at_the_deadline(
    head: bytes, wire: Wired, provider: ScriptedProvider
) -> None:
    await wire.complete()
    drip = answers.Trickle(HEAD, 0.02) if not head else answers.Forever(b" ", 0.02)
    provider.always = Answer((answers.Send(head), drip))
    unknown(await completes_not(wire, SOON_S), "timeout")


@pytest.mark.fault("P14")
@pytest.mark.parametrize("end", [answers.Reset(), answers.Close()], ids=["reset", "closed"])
async def test_a_connection_lost_before_the_head_is_unknown_and_not_tried_again(
    end: answers.Step, wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = Answer((end,), tokens_in=5)
    unknown(await completes_not(wire), "reset")
    said, failed = await streams_not(wire)
    unknown(failed, "reset")
    assert said == []
    assert len(provider.requests) == len(provider.bill) == 2


@pytest.mark.fault("P14")
async def test_a_kept_connection_that_is_closed_as_it_is_used_is_unknown(
    wire: Wired, provider: ScriptedProvider
) -> None:
    await wire.complete()
    provider.always = Answer((answers.Reset(),))
    unknown(await completes_not(wire), "reset")
    provider.always = answers.openai_chat()
    assert (await wire.complete()).content == "4"
    assert (provider.connections, len(provider.requests)) == (2, 3)


@pytest.mark.fault("P15")
async def test_a_reset_within_a_stream_before_its_first_piece(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = Answer((answers.Send(SSE_HEAD), answers.Reset()))
    said, failed = await streams_not(wire)
    unknown(failed, "reset", "cut")
    assert said == []


@pytest.mark.fault("P15")
async def test_a_reset_within_a_stream_after_its_first_piece(
    wire: Wired, provider: ScriptedProvider
) -> None:
    gate = answers.Gate("read")
    provider.always = Answer((answers.Send(SSE_HEAD), FIRST, gate, answers.Reset()))
    async with wire.endpoint.stream(wire.chat(), deadline_s=wire.deadline_s()) as batches:
        assert contents(await anext(batches)) == ["half"]
        provider.open("read")
        with pytest.raises(AttemptFailed) as raised:
            await anext(batches)
        unknown(raised.value, "reset", "cut")
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


@pytest.mark.fault("P16")
@pytest.mark.parametrize(
    "ending", [b"", answers.chunked(sse("[DONE]"))], ids=["nothing", "done without a reason"]
)
async def test_a_stream_that_ends_in_good_order_too_early_is_cut(
    ending: bytes, wire: Wired, provider: ScriptedProvider
) -> None:
    last = answers.Send(ending + answers.chunked(b""))
    provider.always = Answer((answers.Send(SSE_HEAD), FIRST, last))
    said, failed = await streams_not(wire)
    unknown(failed, "cut")
    assert said == ["half"]


@pytest.mark.fault("P16")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_body_that_is_shorter_than_it_said_is_cut(
    stream: bool, wire: Wired, provider: ScriptedProvider
) -> None:
    if stream:
        provider.always = Answer((answers.Send(SSE_HEAD), FIRST, answers.Close()))
        said, failed = await streams_not(wire)
        assert said == ["half"]
    else:
        provider.always = Answer((answers.Send(HEAD + b'{"choices": '), answers.Close()))
        failed = await completes_not(wire)
    unknown(failed, "cut")


async def test_a_body_without_a_length_ends_with_its_connection(
    wire: Wired, provider: ScriptedProvider
) -> None:
    whole = answers.openai_chat().steps[0]
    assert isinstance(whole, answers.Send)
    body = whole.data.partition(b"\r\n\r\n")[2]
    provider.always = Answer((answers.Send(answers.head(200) + body), answers.Close()))
    assert (await wire.complete()).content == "4"
    stream = b"".join([sse(openai_chunk(content="4", finish_reason="stop"), "[DONE]")])
    provider.always = Answer((answers.Send(answers.head(200) + stream), answers.Close()))
    assert (await wire.stream()).content == "4"


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"choices": [', "application/json"),
        (b"<html>Please log in to the Wi-Fi</html>", "text/html"),
        (b"", "application/json"),
        (b"[]", "application/json"),
    ],
)
async def test_a_success_with_a_useless_body_is_unknown(
    body: bytes, content_type: str, wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.http_answer(body, content_type=content_type)
    unknown(await completes_not(wire), "bad_body")
    said, failed = await streams_not(wire)
    unknown(failed, "bad_body", "cut")
    assert said == []


@pytest.mark.fault("P17")
async def test_good_json_under_a_wrong_label_is_taken(
    wire: Wired, provider: ScriptedProvider
) -> None:
    whole = answers.openai_chat().steps[0]
    assert isinstance(whole, answers.Send)
    body = whole.data.partition(b"\r\n\r\n")[2]
    provider.always = answers.http_answer(body, content_type="text/plain")
    assert (await wire.complete()).content == "4"
    assert (await wire.stream()).content == "4"


@pytest.mark.fault("P19")
@pytest.mark.parametrize("before", [(), (FIRST,)], ids=["before", "after"])
async def test_an_error_event_within_a_stream_is_classified_by_its_words(
    before: tuple[answers.Send, ...], wire: Wired, provider: ScriptedProvider
) -> None:
    event = answers.chunked(sse({"error": {"message": "busy", "type": "overloaded_error"}}))
    provider.always = Answer((answers.Send(SSE_HEAD), *before, answers.Send(event), answers.Hang()))
    said, failed = await streams_not(wire)
    unknown(failed, "overloaded")
    assert said == ["half"] * len(before)
    await provider.until(lambda: provider.hangups == 1)
