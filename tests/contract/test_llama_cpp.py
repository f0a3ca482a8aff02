"""Both transports against llama.cpp's server: what a wire holds is for others to say, too."""

from __future__ import annotations

import json
import struct
from importlib.util import find_spec
from typing import Any

import pytest

from sutlerd.domain.call import ChatRequest
from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, Verdict
from tests.contract.harness import TRANSPORTS, Wired, contents, wired
from tests.contract.llama_server import API_KEY

pytestmark = [
    pytest.mark.loop("uvloop"),
    pytest.mark.parametrize("kind", TRANSPORTS),
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp brings the server"),
]


@pytest.fixture
def address(llama_address: str) -> str:
    return llama_address + "/v1"


def ask(wire: Wired, text: str, **fields: Any) -> BuiltRequest:
    fields = {"max_tokens": 8, "temperature": 0.0, **fields}
    request = ChatRequest(messages=({"role": "user", "content": text},), **fields)
    return wire.endpoint.build_chat(request, "smollm2")


async def test_a_stream_and_a_whole_answer_say_the_same(kind: str, address: str) -> None:
    async with wired(kind, address, api_key=API_KEY, timeout_s=50) as wire:
        asked = ask(wire, "Count from one to five.")
        deadline_s = wire.deadline_s(50)
        whole = await wire.endpoint.complete(asked, deadline_s=deadline_s)
        pieces: list[Delta | Reply] = []
        async with wire.endpoint.stream(asked, deadline_s=deadline_s) as batches:
            async for batch in batches:
                pieces += batch
    reply = pieces[-1]
    assert isinstance(reply, Reply)
    assert "".join(contents(pieces)) == reply.content == whole.content != ""
    assert reply.finish_reason == whole.finish_reason == "length"
    assert (reply.usage.tokens_in, reply.usage.tokens_out) == (whole.usage.tokens_in, 8)


async def test_a_schema_is_kept_to(kind: str, address: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    async with wired(kind, address, api_key=API_KEY, timeout_s=50) as wire:
        asked = ask(wire, "Say n = 4.", schema=schema, max_tokens=40)
        reply = await wire.endpoint.complete(asked, deadline_s=wire.deadline_s(50))
    assert isinstance(json.loads(reply.content)["n"], int)


def floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack("<576f", vector)


async def test_texts_are_embedded_in_their_order(kind: str, address: str) -> None:
    async with wired(kind, address, api_key=API_KEY, timeout_s=50) as wire:
        both = await wire.embed("a small dog", "the price of oil")
        one = await wire.embed("the price of oil")
    assert both.dimension == 576
    assert len(both.vectors) == 2
    assert floats(both.vectors[1]) == pytest.approx(floats(one.vectors[0]), abs=1e-3)
    assert floats(both.vectors[0]) != pytest.approx(floats(one.vectors[0]), abs=1e-3)
    assert both.usage.tokens_in is not None


async def test_tokens_are_counted_exactly(kind: str, address: str) -> None:
    async with wired(kind, address, api_key=API_KEY, timeout_s=50) as wire:
        deadline_s = wire.deadline_s(50)
        bare = await wire.endpoint.count_tokens("hello world", "smollm2", deadline_s=deadline_s)
        messages = [{"role": "user", "content": "hello world"}]
        whole = await wire.endpoint.count_tokens(messages, "smollm2", deadline_s=deadline_s)
        asked = ask(wire, "hello world")
        reply = await wire.endpoint.complete(asked, deadline_s=deadline_s)
    assert (bare.tokens, bare.exact) == (2, True)
    assert whole.tokens == reply.usage.tokens_in


@pytest.mark.fault("P6")
async def test_a_prompt_that_does_not_fit_says_by_how_much(kind: str, address: str) -> None:
    async with wired(kind, address, api_key=API_KEY, timeout_s=50) as wire:
        asked = ask(wire, "word " * 2000)
        with pytest.raises(AttemptFailed) as raised:
            await wire.endpoint.complete(asked, deadline_s=wire.deadline_s(50))
    failed = raised.value
    assert failed.verdict is Verdict.TOO_LONG
    assert failed.tokens_allowed == 1024
    assert failed.tokens_needed is not None
    assert failed.tokens_needed > 2000


@pytest.mark.fault("P7")
async def test_a_wrong_key_is_refused_and_not_shown(kind: str, address: str) -> None:
    async with wired(kind, address, api_key="sk-wrong-0123456789", timeout_s=50) as wire:
        with pytest.raises(AttemptFailed) as raised:
            await wire.complete()
    assert (raised.value.verdict, raised.value.kind) == (Verdict.CLOSED, "no_permission")
    assert "sk-wrong" not in raised.value.message
