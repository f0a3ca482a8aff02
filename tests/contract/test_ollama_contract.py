"""Ollama's own wire on real bytes: what its server sends, in order and out of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sutlerd.config.schema import Config
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.contract import AttemptFailed, Outcome, Provider, Verdict
from sutlerd.providers.endpoint import Endpoint
from sutlerd.providers.ollama import Ollama
from sutlerd.providers.registry import build_providers
from sutlerd.system.clock import SystemClock
from tests.contract import answers
from tests.contract.answers import Answer, Step
from tests.contract.harness import Events, Wired, contents, wired
from tests.contract.scripted import ScriptedProvider

MIB = 1024 * 1024


def line(content: str = "", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    return {"model": "test-model", "created_at": "t", "message": message, "done": False, **fields}


def last(content: str = "", **fields: Any) -> dict[str, Any]:
    ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3}
    return line(content, **{**ending, **fields})


def stream(*parts: dict[str, Any] | Step, end: bool = True) -> Answer:
    spelt = [
        json.dumps(part).encode() + b"\n" if isinstance(part, dict) else part for part in parts
    ]
    return answers.stream_answer(*spelt, content_type="application/x-ndjson", end=end)


@pytest.fixture
async def node(provider: ScriptedProvider) -> AsyncIterator[Wired]:
    provider.always = answers.http_answer(last("4"))
    async with wired("lean", provider.address, dialect=Ollama(provider="node")) as made:
        yield made


async def failing(node: Wired) -> tuple[list[str], AttemptFailed]:
    pieces: list[Delta | Reply] = []
    with pytest.raises(AttemptFailed) as raised:
        await node.stream(into=pieces)
    return contents(pieces), raised.value


async def test_ollama_complete(node: Wired, provider: ScriptedProvider) -> None:
    reply = await node.complete()
    assert (reply.content, reply.finish_reason, reply.model) == ("4", "stop", "test-model")
    assert reply.usage == Usage(tokens_in=9, tokens_out=3)
    (request,) = provider.requests
    assert (request.method, request.path) == ("POST", "/api/chat")
    assert request.json == node.chat().body
    assert request.json["stream"] is request.json["truncate"] is request.json["think"] is False


async def test_ollama_stream(node: Wired, provider: ScriptedProvider) -> None:
    provider.always = stream(
        line(message={"thinking": "hm"}), line("The"), line(" answer"), line(" is 4"), last()
    )
    pieces: list[Delta | Reply] = []
    reply = await node.stream(into=pieces)
    assert contents(pieces) == ["", "The", " answer", " is 4"]
    assert (reply.content, reply.reasoning) == ("The answer is 4", "hm")
    assert provider.requests[0].json["stream"] is True


async def test_a_piece_is_passed_on_before_the_next_is_sent(
    node: Wired, provider: ScriptedProvider
) -> None:
    provider.always = stream(line("The"), answers.Gate("next"), line(" end"), last())
    async with node.endpoint.stream(node.chat(), deadline_s=node.deadline_s()) as batches:
        assert contents(await anext(batches)) == ["The"]
        provider.open("next")
        rest = [item async for batch in batches for item in batch]
    assert contents(rest) == [" end"]


@pytest.mark.fault("P23")
async def test_calls_have_ids_and_strings_of_json(node: Wired, provider: ScriptedProvider) -> None:
    call = {"function": {"name": "add", "arguments": {"a": 2}}}
    provider.queue += [
        answers.http_answer(last(message={"tool_calls": [call, call]})),
        stream(line(message={"tool_calls": [call]}), line(message={"tool_calls": [call]}), last()),
    ]
    whole, streamed = await node.complete(), await node.stream()
    assert [(c.name, c.arguments) for c in whole.tool_calls] == [("add", '{"a":2}')] * 2
    assert len({c.id for c in whole.tool_calls}) == 2
    assert streamed.tool_calls == whole.tool_calls
    assert whole.finish_reason == streamed.finish_reason == "tool_calls"


@pytest.mark.fault("P33")
@pytest.mark.parametrize("before", [0, 2])
async def test_an_error_line_at_status_200_fails_the_call(
    before: int, node: Wired, provider: ScriptedProvider
) -> None:
    broken = {"error": "an error was encountered while running the model"}
    provider.always = stream(*[line("a")] * before, broken, answers.Hang())
    said, failed = await failing(node)
    assert said == ["a"] * before
    assert (failed.verdict, failed.outcome) == (Verdict.RETRY, Outcome.UNKNOWN)
    assert "while running the model" in failed.message
    provider.always = answers.http_answer(broken)
    with pytest.raises(AttemptFailed, match="while running the model"):
        await node.complete()


@pytest.mark.fault("P33")
async def test_a_line_over_half_a_mebibyte_and_counts_that_are_not_there(
    node: Wired, provider: ScriptedProvider
) -> None:
    long = "x" * (3 * MIB)
    ending = line(done=True, done_reason="stop")
    provider.always = stream(line(long), ending)
    reply = await node.stream()
    assert reply.content == long
    assert reply.usage == UNKNOWN_USAGE
    provider.always = answers.http_answer({**ending, "message": {"content": long}})
    assert (await node.complete()).usage == UNKNOWN_USAGE


@pytest.mark.fault("P16")
async def test_a_stream_that_ends_without_done_is_cut(
    node: Wired, provider: ScriptedProvider
) -> None:
    provider.always = stream(line("half"))
    said, failed = await failing(node)
    assert (said, failed.kind, failed.outcome) == (["half"], "cut", Outcome.UNKNOWN)


async def test_a_model_that_is_not_there_closes_its_own_route(
    node: Wired, provider: ScriptedProvider
) -> None:
    words = "model 'test-model' not found, try pulling it first"
    provider.always = answers.http_answer({"error": words}, status=404)
    said, failed = await failing(node)
    assert (said, failed.verdict, failed.outcome) == ([], Verdict.MODEL_GONE, Outcome.NOT_BILLED)
    assert "try pulling it first" in failed.message


@pytest.mark.fault("P34")
async def test_a_server_with_a_full_queue_is_asked_again_later(
    node: Wired, provider: ScriptedProvider
) -> None:
    words = "server busy, please try again. maximum pending requests exceeded"
    provider.queue.append(answers.http_answer({"error": words}, status=503))
    with pytest.raises(AttemptFailed) as raised:
        await node.complete()
    assert (raised.value.verdict, raised.value.outcome) == (Verdict.RETRY, Outcome.NOT_BILLED)
    assert (await node.complete()).content == "4"


@pytest.mark.fault("P35")
async def test_a_prompt_that_does_not_fit_is_an_error_and_one_cut_in_silence_too(
    node: Wired, provider: ScriptedProvider
) -> None:
    long = ChatRequest(messages=({"role": "user", "content": "word " * 9000},), max_tokens=100)
    built = node.endpoint.build_chat(long, "test-model")
    assert built.body["options"]["num_ctx"] == 16_384
    words = {"error": "the input length exceeds the context length"}
    provider.queue += [
        answers.http_answer(words, status=400),
        answers.http_answer(last("nonsense", prompt_eval_count=4096)),
    ]
    failures = []
    for _ in range(2):
        with pytest.raises(AttemptFailed) as raised:
            await node.endpoint.complete(built, deadline_s=node.deadline_s())
        failures.append(raised.value)
    assert [f.verdict for f in failures] == [Verdict.TOO_LONG, Verdict.REFUSED]
    assert failures[1].kind == "prompt_cut"


async def test_ollama_embed(node: Wired, provider: ScriptedProvider) -> None:
    body = {"model": "e", "embeddings": [[1.0, 0.0], [0.0, 1.0]], "prompt_eval_count": 4}
    provider.always = answers.http_answer(body)
    got = await node.embed("a", "b")
    assert (got.dimension, got.usage) == (2, Usage(tokens_in=4, tokens_out=0))
    assert (provider.requests[0].path, provider.requests[0].json["truncate"]) == (
        "/api/embed",
        False,
    )


# --- as configured --------------------------------------------------------------------


def configured(address: str, **fields: Any) -> Provider:
    """Build the provider as an operator has it who names its address and a model."""
    written = {"kind": "ollama", "base_url": address, "default_model": "test-model", **fields}
    settings = ProviderConfig(**written)
    config = Config()
    llm = config.llm.model_copy(update={"providers": {"ollama": settings}})
    whole = config.model_copy(update={"llm": llm})
    return build_providers(whole, clock=SystemClock(), log=Events(), environ={})["ollama"]


class Ahead:
    """Time that goes faster than it should, for timers of the running loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.by_s = 0.0
        truth = loop.time
        monkeypatch.setattr(loop, "time", lambda: truth() + self.by_s)

    async def pass_s(self, seconds: float) -> None:
        self.by_s += seconds
        # A timer wakes the loop, which then finds that others are due.
        await asyncio.sleep(0.02)


@pytest.mark.loop("asyncio")
@pytest.mark.timeout(400)  # of the loop's time, which runs ahead
@pytest.mark.fault("P34")
@pytest.mark.parametrize("streams", [False, True])
async def test_a_model_that_takes_four_minutes_to_load_answers_whoever_waits_so_long(
    streams: bool, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = answers.Gate("loaded")
    head = answers.head(200, {"transfer-encoding": "chunked"})
    ending = answers.chunked(json.dumps(last("4")).encode() + b"\n") + answers.chunked(b"")
    # Some proxies send the head at once and nothing after it until the model is there.
    steps = [answers.Send(head), gate] if streams else [gate, answers.Send(head)]
    provider.always = Answer((*steps, answers.Send(ending)))
    ahead = Ahead(monkeypatch)
    request = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=9)
    async with configured(provider.address) as node:
        built = node.build_chat(request, "test-model")

        async def ask(within_s: float) -> Reply:
            deadline_s = time.monotonic() + within_s
            if not streams:
                return await node.complete(built, deadline_s=deadline_s)
            async with node.stream(built, deadline_s=deadline_s) as batches:
                items = [item async for batch in batches for item in batch]
            assert isinstance(items[-1], Reply)
            return items[-1]

        hurried, patient = asyncio.create_task(ask(60)), asyncio.create_task(ask(600))
        await provider.until(lambda: len(provider.requests) == 2)
        await ahead.pass_s(61)
        with pytest.raises(AttemptFailed) as raised:
            await hurried
        assert raised.value.kind == "timeout"
        await ahead.pass_s(180)
        assert not patient.done()
        provider.open("loaded")
        assert (await patient).content == "4"


async def test_the_address_of_the_other_wire_and_the_server_s_own_list_of_models(
    provider: ScriptedProvider,
) -> None:
    provider.queue += [
        answers.http_answer({"models": [{"name": "llama3.2:latest"}, {"name": "e"}, {"x": 1}]}),
        answers.http_answer({"nothing": 1}),
        answers.http_answer({"error": "no"}, status=500),
    ]
    async with configured(provider.base_url) as node:
        assert isinstance(node, Endpoint)
        deadline_s = time.monotonic() + 20
        assert await node.served_models(deadline_s=deadline_s) == ("llama3.2:latest", "e")
        for kind in ("bad_body", "http_500"):
            with pytest.raises(AttemptFailed) as raised:
                await node.served_models(deadline_s=deadline_s)
            assert raised.value.kind == kind
        assert node.health()["failures"] == 2
    assert [(r.method, r.path) for r in provider.requests] == [("GET", "/api/tags")] * 3


async def test_configured_settings_reach_the_wire(provider: ScriptedProvider) -> None:
    provider.always = answers.http_answer(last("4"))
    request = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=9)
    async with configured(provider.address, keep_alive="-1", context_tokens=2048) as node:
        built = node.build_chat(request, "test-model")
        await node.complete(built, deadline_s=time.monotonic() + 20)
        count = await node.count_tokens("hello", "test-model", deadline_s=0)
    body = provider.requests[0].json
    assert (body["keep_alive"], body["options"]["num_ctx"]) == (-1, 2048)
    assert (count.exact, count.method.split(":")[0]) == (False, "estimate")
