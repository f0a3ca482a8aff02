"""Answers that are errors: what each means, in the provider's own words without secrets."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import pytest

from sutlerd.providers import tool_calls
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from tests.contract import answers
from tests.contract.answers import Answer
from tests.contract.harness import API_KEY, TRANSPORTS, Wired, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")
MIB = 1024 * 1024


async def failures(wire: Wired) -> AttemptFailed:
    """Fail once whole and once streamed, in the same way."""
    with pytest.raises(AttemptFailed) as raised:
        await wire.complete()
    with pytest.raises(AttemptFailed) as streamed:
        await wire.stream()
    first, second = raised.value, streamed.value
    assert (first.verdict, first.outcome, first.kind) == (
        second.verdict,
        second.outcome,
        second.kind,
    )
    assert first.message == second.message
    return first


@pytest.mark.fault("P9")
@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
async def test_a_provider_in_trouble_is_asked_exactly_once(
    status: int, wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.openai_error(status, "in trouble", headers={"retry-after": "7"})
    failed = await failures(wire)
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)
    assert (failed.status, failed.retry_after_s) == (status, 7.0)
    assert len(provider.requests) == 2


@pytest.mark.fault("P4")
async def test_no_credit_is_asked_exactly_once(wire: Wired, provider: ScriptedProvider) -> None:
    provider.always = answers.openai_error(429, "no credit", type="insufficient_quota")
    failed = await failures(wire)
    assert (failed.verdict, failed.kind) == (Verdict.CLOSED, "no_credit")
    assert len(provider.requests) == 2


@pytest.mark.fault("P6")
async def test_a_prompt_that_does_not_fit_says_by_how_much(
    wire: Wired, provider: ScriptedProvider
) -> None:
    message = (
        "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"
    )
    provider.always = answers.openai_error(400, message, code="context_length_exceeded")
    failed = await failures(wire)
    assert (failed.verdict, failed.outcome) == (Verdict.TOO_LONG, Outcome.NOT_BILLED)
    assert (failed.tokens_needed, failed.tokens_allowed) == (9000, 8192)


@pytest.mark.fault("P6")
async def test_an_html_page_is_told_by_its_words(wire: Wired, provider: ScriptedProvider) -> None:
    page = b"<html><h1>413 Request Entity Too Large</h1>" + b"<p>x</p>" * 100_000 + b"</html>"
    provider.always = answers.http_answer(page, status=413, content_type="text/html")
    failed = await failures(wire)
    assert failed.verdict is Verdict.REFUSED
    assert "Request Entity Too Large" in failed.message
    assert len(failed.message) < 600


@pytest.mark.fault("P7")
@pytest.mark.parametrize(
    "repeated", [API_KEY, API_KEY[:12] + "***" + API_KEY[-4:], API_KEY[3:20], API_KEY[:8] + "..."]
)
async def test_a_key_that_is_repeated_to_us_is_repeated_to_nobody(
    repeated: str, wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.openai_error(
        401, f"Incorrect API key provided: {repeated}. See the site.", code="invalid_api_key"
    )
    failed = await failures(wire)
    assert (failed.verdict, failed.kind) == (Verdict.CLOSED, "no_permission")
    assert "Incorrect API key provided" in failed.message
    told = failed.message + str(failed) + repr(wire.endpoint.health()) + repr(wire.log.told)
    for start in range(len(API_KEY) - 5):
        assert API_KEY[start : start + 6] not in told
    assert failed.__cause__ is None


@pytest.mark.fault("P18")
async def test_an_error_at_status_200_is_the_error_that_it_is(
    wire: Wired, provider: ScriptedProvider
) -> None:
    provider.always = answers.http_answer({"choices": None, "error": {"message": "x", "code": 429}})
    failed = await failures(wire)
    assert (failed.kind, failed.outcome) == ("rate_limit", Outcome.NOT_BILLED)


@pytest.mark.fault("X11")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_no_key_travels(
    status: int, wire: Wired, provider: ScriptedProvider
) -> None:
    async with ScriptedProvider() as elsewhere:
        provider.always = answers.http_answer(
            b"", status=status, headers={"location": f"{elsewhere.base_url}/chat/completions"}
        )
        failed = await failures(wire)
        assert (elsewhere.connections, elsewhere.requests) == (0, [])
    assert (failed.kind, failed.outcome) == ("redirect", Outcome.NOT_BILLED)
    assert "redirect" in failed.message


# --- bombs ----------------------------------------------------------------------------


def bombs() -> dict[str, Answer]:
    packed = gzip.compress(b" " * 200 * MIB, 1)
    gzipped = {"content-encoding": "gzip"}
    head = answers.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    line = answers.Forever(answers.chunked(b"x" * 65536))
    fragment = answers.openai_chunk(
        tool_calls=[{"index": n, "function": {"name": "f"}} for n in range(100)]
    )
    return {
        "gzip": answers.http_answer(packed, headers=gzipped),
        "gzip twice": answers.http_answer(
            gzip.compress(packed), headers={"content-encoding": "gzip, gzip"}
        ),
        "gzipped error": answers.http_answer(packed, status=500, headers=gzipped),
        "deep": answers.http_answer(b"[" * 1_000_000),
        "teeming": answers.http_answer(b"[" + b"[]," * (5 * MIB) + b"[]]"),
        "endless line": Answer((answers.Send(head + answers.chunked(b"data: ")), line)),
        "endless calls": Answer(
            (answers.Send(head), answers.Forever(answers.chunked(answers.sse(fragment))))
        ),
        "endless body": Answer((answers.Send(answers.head(200)), answers.Forever(b"x" * 65536))),
        "endless headers": Answer(
            (
                answers.Send(b"HTTP/1.1 200 OK\r\n"),
                answers.Forever(b"x-more: " + b"y" * 100 + b"\r\n"),
            )
        ),
        "endless header": Answer(
            (answers.Send(b"HTTP/1.1 200 OK\r\nx: "), answers.Forever(b"y" * 4096))
        ),
        "endless interims": Answer((answers.Forever(b"HTTP/1.1 103 Hints\r\n\r\n"),)),
    }


BOMBS = bombs()


@pytest.mark.parametrize("kind", TRANSPORTS)
@pytest.mark.parametrize("how", ["complete", "stream"])
@pytest.mark.parametrize("name", [n for n in BOMBS if n != "endless interims"])
@pytest.mark.fault("X13")
async def test_a_bomb_fails_the_attempt_and_memory_stays_small(
    name: str,
    how: str,
    kind: str,
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The true limit takes seconds under the watch of tracemalloc.
    monkeypatch.setattr(tool_calls, "MAX_TOOL_FRAGMENTS", 10_000)
    provider.always = BOMBS[name]
    async with wired(kind, provider.base_url) as wire:
        tracemalloc.start()
        try:
            with pytest.raises(AttemptFailed) as raised:
                await (wire.complete() if how == "complete" else wire.stream())
            _, peak_bytes = tracemalloc.get_traced_memory()
            print(
                "PEAK", name, how, kind, peak_bytes / MIB, raised.value.kind, raised.value.message
            )
        finally:
            tracemalloc.stop()
    assert raised.value.verdict is Verdict.RETRY
    assert raised.value.kind == ("http_500" if name == "gzipped error" else "bad_body")
    assert peak_bytes < 100 * MIB


@pytest.mark.fault("X13")
async def test_interim_answers_without_end_are_cut_off(provider: ScriptedProvider) -> None:
    provider.always = BOMBS["endless interims"]
    async with wired("lean", provider.base_url) as wire:
        with pytest.raises(AttemptFailed) as raised:
            await wire.complete()
    assert raised.value.kind == "bad_body"


async def test_gzip_is_read_whole_and_in_streams(wire: Wired, provider: ScriptedProvider) -> None:
    def packed(answer: Answer) -> bytes:
        data = b"".join(step.data for step in answer.steps if isinstance(step, answers.Send))
        return gzip.compress(data.partition(b"\r\n\r\n")[2])

    gzipped = {"content-encoding": "gzip"}
    provider.always = answers.http_answer(packed(answers.openai_chat()), headers=gzipped)
    assert (await wire.complete()).content == "4"
    stream = gzip.compress(
        answers.sse(answers.openai_chunk(content="4", finish_reason="stop"), "[DONE]")
    )
    pieces = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    provider.always = answers.stream_answer(*pieces, headers=gzipped)
    assert (await wire.stream()).content == "4"
    provider.always = answers.http_answer(stream[:-6], headers=gzipped)
    with pytest.raises(AttemptFailed):
        await wire.complete()
    await asyncio.sleep(0)
