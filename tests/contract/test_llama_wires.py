"""Anthropic's Messages and OpenAI's Responses against llama.cpp's server, which speaks both:
what a wire holds is for others to say, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.anthropic_dialect import Anthropic
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Verdict
from sutlerd.providers.model_table import known_traits
from sutlerd.providers.responses_dialect import OpenAIResponses
from tests.contract.harness import TRANSPORTS, Wired, contents, wired
from tests.contract.llama_server import API_KEY

pytestmark = [
    pytest.mark.loop("uvloop"),
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp brings the server"),
]
SYSTEM = {"role": "system", "content": "Be brief."}


WIRES = [(name, transport) for name in ("anthropic", "responses") for transport in TRANSPORTS]


@pytest.fixture(params=WIRES, ids="-".join)
async def wire(request: pytest.FixtureRequest, llama_address: str) -> AsyncIterator[Wired]:
    name, transport = request.param
    anthropic = name == "anthropic"
    async with wired(
        transport,
        llama_address if anthropic else f"{llama_address}/v1",
        dialect=Anthropic(provider="llama") if anthropic else OpenAIResponses(provider="llama"),
        package="anthropic" if anthropic else "openai",
        traits=lambda model: known_traits("anthropic_compatible", model),
        api_key=API_KEY,
        timeout_s=50,
    ) as made:
        yield made


def ask(wire: Wired, text: str, *before: dict[str, Any], **fields: Any) -> BuiltRequest:
    fields = {"max_tokens": 8, "temperature": 0.0, **fields}
    request = ChatRequest(messages=(*before, {"role": "user", "content": text}), **fields)
    return wire.endpoint.build_chat(request, "smollm2")


async def test_a_stream_and_a_whole_answer_say_the_same(wire: Wired) -> None:
    asked = ask(wire, "Count from one to five.", SYSTEM)
    deadline_s = wire.deadline_s(50)
    whole = await wire.endpoint.complete(asked, deadline_s=deadline_s)
    pieces: list[Delta | Reply] = []
    async with wire.endpoint.stream(asked, deadline_s=deadline_s) as batches:
        async for batch in batches:
            pieces += batch
    reply = pieces[-1]
    assert isinstance(reply, Reply)
    assert len(contents(pieces)) > 2
    assert "".join(contents(pieces)) == reply.content == whole.content != ""
    assert reply.finish_reason == whole.finish_reason
    assert (reply.model, reply.usage) == ("smollm2", whole.usage)
    assert reply.usage.tokens_out in range(1, 9)
    assert reply.usage.cached_tokens_in == 0


async def test_instructions_and_a_whole_conversation_are_understood(wire: Wired) -> None:
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    call = {"id": "call:1", "type": "function", "function": function}
    conversation = (
        SYSTEM,
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call:1", "content": "rain"},
    )
    tools = ({"name": "weather", "parameters": {"type": "object"}},)
    asked = ask(wire, "So?", *conversation, functions=tools, function_call="auto")
    reply = await wire.endpoint.complete(asked, deadline_s=wire.deadline_s(50))
    bare = ask(wire, "So?")
    short = await wire.endpoint.complete(bare, deadline_s=wire.deadline_s(50))
    assert reply.usage.tokens_in is not None
    assert short.usage.tokens_in is not None
    # The model knows no functions; the server took every message all the same.
    assert reply.usage.tokens_in > short.usage.tokens_in


async def test_the_server_counts_the_prompt_as_it_reads_it(wire: Wired) -> None:
    messages = [SYSTEM, {"role": "user", "content": "hello world"}]
    deadline_s = wire.deadline_s(50)
    count = await wire.endpoint.count_tokens(messages, "smollm2", deadline_s=deadline_s)
    asked = ask(wire, "hello world", SYSTEM)
    reply = await wire.endpoint.complete(asked, deadline_s=deadline_s)
    assert count.tokens == reply.usage.tokens_in


@pytest.mark.fault("P6")
async def test_a_prompt_that_does_not_fit_says_by_how_much(wire: Wired) -> None:
    with pytest.raises(AttemptFailed) as raised:
        await wire.endpoint.complete(ask(wire, "word " * 2000), deadline_s=wire.deadline_s(50))
    failed = raised.value
    assert failed.verdict is Verdict.TOO_LONG
    assert failed.tokens_allowed == 1024
    assert failed.tokens_needed is not None
    assert failed.tokens_needed > 2000


@pytest.mark.parametrize("wire", WIRES[:1], indirect=True)
async def test_a_long_prefix_that_is_marked_is_no_trouble(wire: Wired) -> None:
    marking = Anthropic(provider="llama")
    long = {"role": "system", "content": "Read the rules with care. " * 60}
    request = ChatRequest(messages=(long, {"role": "user", "content": "hi"}), max_tokens=4)
    built = marking.build_chat(request, "smollm2", known_traits("anthropic", "claude-opus-5"))
    assert "cache_control" in built.body["system"][0]
    assert (await wire.endpoint.complete(built, deadline_s=wire.deadline_s(50))).content
