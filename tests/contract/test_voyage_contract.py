"""Voyage on real bytes, as an operator has it."""

from __future__ import annotations

import base64
import struct
import time

import pytest

from sutlerd.config.schema import Config
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.config.secret import Secret
from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.usage import Usage
from sutlerd.providers.contract import AttemptFailed, Provider, Verdict
from sutlerd.providers.registry import build_providers
from sutlerd.system.clock import SystemClock
from tests.contract import answers
from tests.contract.harness import Events
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")
KEY = "pa-0123456789abcdef"


def voyage(address: str) -> Provider:
    settings = ProviderConfig(kind="voyage", base_url=address, api_key=Secret(KEY))
    config = Config()
    llm = config.llm.model_copy(update={"providers": {"voyage": settings}})
    whole = config.model_copy(update={"llm": llm})
    return build_providers(whole, clock=SystemClock(), log=Events(), environ={})["voyage"]


async def test_voyage_embed(provider: ScriptedProvider) -> None:
    vectors = [struct.pack("<2f", 1, 0), struct.pack("<2f", 0, 1)]
    data = [
        {"object": "embedding", "index": i, "embedding": base64.b64encode(v).decode()}
        for i, v in enumerate(vectors)
    ]
    body = {"object": "list", "data": data[::-1], "model": "voyage-4", "usage": {"total_tokens": 6}}
    provider.queue += [
        answers.http_answer(body),
        answers.http_answer({"detail": "Please pass a shorter input"}, status=400),
        answers.http_answer({"detail": f"Provided API key {KEY} is invalid"}, status=401),
    ]
    async with voyage(provider.base_url) as it:
        request = EmbedRequest(texts=("a", "b"), extra={"input_type": "document"})
        built = it.build_embed(request, it.embed_models[0])
        got = await it.embed(built, deadline_s=time.monotonic() + 20)
        assert got.vectors == tuple(vectors)
        assert got.usage == Usage(tokens_in=6, tokens_out=0)
        told = []
        for _ in range(2):
            with pytest.raises(AttemptFailed) as raised:
                await it.embed(built, deadline_s=time.monotonic() + 20)
            told.append(raised.value)
    assert [failure.verdict for failure in told] == [Verdict.REFUSED, Verdict.CLOSED]
    assert "shorter input" in told[0].message
    assert KEY not in told[1].message
    sent = provider.requests[0]
    assert (sent.path, sent.headers["authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")
    assert sent.json == built.body


def test_voyage_s_limits_split_calls_and_it_says_that_it_has_no_chat() -> None:
    it = voyage("http://127.0.0.1:9/v1")
    can = it.capabilities("voyage-4-large")
    assert (can.embed, can.max_embed_texts, can.max_embed_tokens) == (True, 1000, 120_000)
    assert not (can.chat or can.stream or can.functions or can.count_tokens_exact)
    request = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=1)
    with pytest.raises(InvalidParams, match="embeddings only"):
        it.build_chat(request, "voyage-4")
