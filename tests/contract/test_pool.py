"""Several endpoints of one provider: who is asked, who is passed over, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from sutlerd.config.schema import Config
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.config.secret import Secret
from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Reply
from sutlerd.providers.contract import AttemptFailed, Provider, Verdict
from sutlerd.providers.endpoint import Endpoint
from sutlerd.providers.pool import LONGEST_PAUSE_S, Pool
from sutlerd.providers.registry import Providers, build_providers
from tests.contract import answers
from tests.contract.harness import Events
from tests.contract.scripted import ScriptedProvider
from tests.support.virtual_clock import VirtualClock

ASK = ChatRequest(messages=({"role": "user", "content": "hi"},), max_tokens=9)
FAR_S = 10.0**9


@pytest.fixture
async def servers() -> AsyncIterator[list[ScriptedProvider]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(ScriptedProvider()) for _ in range(2)]


def build(clock: VirtualClock, log: Events | None = None, **fields: Any) -> Providers:
    settings = ProviderConfig(**{"kind": "vllm", "default_model": "m", **fields})
    config = Config()
    llm = config.llm.model_copy(update={"providers": {"it": settings}})
    whole = config.model_copy(update={"llm": llm})
    return build_providers(whole, clock=clock, log=log or Events(), environ={})


@asynccontextmanager
async def pooled(
    clock: VirtualClock, first: str, *others: Mapping[str, Any], **fields: Any
) -> AsyncIterator[Pool]:
    pool = build(clock, base_url=first, endpoints=others, **fields)["it"]
    assert isinstance(pool, Pool)
    async with pool:
        yield pool


async def complete(pool: Provider) -> Reply:
    return await pool.complete(pool.build_chat(ASK, "m"), deadline_s=FAR_S)


async def stream(pool: Provider) -> Reply:
    async with pool.stream(pool.build_chat(ASK, "m"), deadline_s=FAR_S) as batches:
        items = [item async for batch in batches for item in batch]
    assert isinstance(items[-1], Reply)
    return items[-1]


def counts(servers: list[ScriptedProvider]) -> list[int]:
    return [len(server.requests) for server in servers]


async def dead_address() -> str:
    async with ScriptedProvider() as gone:
        return gone.base_url


async def test_calls_go_where_the_fewest_are_outstanding(servers: list[ScriptedProvider]) -> None:
    one, two = servers
    one.always = answers.Answer((answers.Gate("go"), *answers.openai_chat("one").steps))
    async with pooled(VirtualClock(), one.base_url, {"base_url": two.base_url}) as pool:
        slow = asyncio.create_task(complete(pool))
        await one.until(lambda: len(one.requests) == 1)
        for _ in range(3):
            assert (await complete(pool)).content == "4"
        assert counts(servers) == [1, 3]
        assert pool.health()["in_flight"] == 1
        one.open("go")
        assert (await slow).content == "one"
        # Equals take turns.
        for _ in range(4):
            await complete(pool)
    assert counts(servers) == [3, 5]


async def test_streams_texts_and_counts_go_through_the_pool(
    servers: list[ScriptedProvider],
) -> None:
    one, two = servers
    async with pooled(
        VirtualClock(), one.base_url, {"base_url": two.base_url}, embed_models=("e",)
    ) as pool:
        for server in servers:
            server.always = answers.openai_stream()
        for _ in range(2):
            assert (await stream(pool)).content == "The answer is 4"
        for server in servers:
            server.always = answers.openai_embeddings([[1.0]])
        texts = pool.build_embed(EmbedRequest(texts=("a",)), "e")
        for _ in range(2):
            assert (await pool.embed(texts, deadline_s=FAR_S)).dimension == 1
        for server in servers:
            server.always = answers.http_answer({"count": 3})
        assert (await pool.count_tokens("a b", "m", deadline_s=FAR_S)).tokens == 3
        for server in servers:
            server.always = answers.http_answer({"data": [{"id": "m"}]})
        assert await pool.served_models(deadline_s=FAR_S) == ("m",)
        assert pool.capabilities("e").embed
        assert pool.limits_seen(texts) is None
    assert counts(servers) == [3, 3]


@pytest.mark.fault("P25")
async def test_an_endpoint_that_is_down_is_passed_over_for_a_while_that_grows(
    servers: list[ScriptedProvider],
) -> None:
    clock, one = VirtualClock(), servers[0]
    async with pooled(clock, await dead_address(), {"base_url": one.base_url}) as pool:
        pauses = []
        for tries in range(1, 9):
            with pytest.raises(AttemptFailed) as raised:
                await complete(pool)
            assert raised.value.verdict is Verdict.RETRY
            for ask in (complete, complete):
                assert (await ask(pool)).content == "4"
            down, up = pool.health()["endpoints"]
            assert (down["failures_in_a_row"], up["failures_in_a_row"]) == (tries, 0)
            pauses.append(down["passed_over_s"])
            clock.advance(pauses[-1])
        assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


async def test_an_endpoint_that_comes_back_is_tried_with_one_call_and_used_again(
    servers: list[ScriptedProvider],
) -> None:
    clock, one = VirtualClock(), servers[0]
    async with ScriptedProvider() as gone:
        port = gone.port
        one.always = answers.openai_chat("up")
        async with pooled(clock, gone.base_url, {"base_url": one.base_url}) as pool:
            await gone.__aexit__()
            with pytest.raises(AttemptFailed):
                await complete(pool)
            assert (await complete(pool)).content == "up"
            clock.advance(1)
            async with ScriptedProvider(port=port) as back:
                back.always = answers.Answer((answers.Gate("go"), *answers.openai_chat().steps))
                first = asyncio.create_task(complete(pool))
                await back.until(lambda: len(back.requests) == 1)
                said = await asyncio.gather(*(complete(pool) for _ in range(5)))
                assert {reply.content for reply in said} == {"up"}
                back.open("go")
                assert (await first).content == "4"
                await asyncio.gather(*(complete(pool) for _ in range(4)))
                assert len(back.requests) == 3


@pytest.mark.fault("P7")
async def test_a_key_that_is_refused_closes_its_own_endpoint_only(
    servers: list[ScriptedProvider],
) -> None:
    (one, _), clock, log = servers, VirtualClock(), Events()
    keys = {"sk-good-0123456789": answers.openai_chat()}
    refusal = answers.openai_error(401, "wrong key", code="invalid_api_key")
    one.always = lambda request: keys.get(request.headers["authorization"][7:], refusal)
    bad, good = Secret("sk-wrong-0123456789"), Secret("sk-good-0123456789")
    async with pooled(clock, one.base_url, {"api_key": good}, api_key=bad) as pool:
        with pytest.raises(AttemptFailed, match="wrong key") as raised:
            await stream(pool)
        assert raised.value.verdict is Verdict.RETRY
        for _ in range(3):
            assert (await complete(pool)).content == "4"
        assert "sk-" not in repr(pool.health()) + repr(log.told)
        # With none left, the provider's own word stands.
        keys.clear()
        with pytest.raises(AttemptFailed) as raised:
            await complete(pool)
        assert raised.value.verdict is Verdict.CLOSED


async def test_busy_refusing_and_slow_endpoints_are_not_dead_ones(
    servers: list[ScriptedProvider],
) -> None:
    one, two = servers
    one.always = answers.openai_error(503, "busy")
    async with pooled(VirtualClock(), one.base_url, {"base_url": two.base_url}) as pool:
        for _ in range(2):
            with pytest.raises(AttemptFailed):
                await complete(pool)
            await complete(pool)
        assert [told["failures_in_a_row"] for told in pool.health()["endpoints"]] == [0, 0]
        assert pool.health()["failures"] == 2


def test_an_endpoint_that_cannot_be_used_is_told_and_the_others_are_the_provider() -> None:
    log = Events()
    providers = build(
        VirtualClock(),
        log,
        base_url="http://127.0.0.1:9/v1",
        endpoints=({"api_key": Secret.missing("${SECOND_KEY}")},),
    )
    assert isinstance(providers["it"], Endpoint)
    ((_, name, fields),) = log.told
    assert (name, fields["provider"]) == ("endpoint_off", "it")
    assert "SECOND_KEY" in str(fields["reason"])
    none = build(
        VirtualClock(),
        base_url="http://127.0.0.1:9/v1",
        headers={"x-team": Secret.missing("${TEAM}")},
        endpoints=({"base_url": "http://127.0.0.1:8/v1"},),
    )
    assert "it" not in none
    assert "${TEAM}" in none.off["it"]
