from __future__ import annotations

from typing import Any

import pytest

from sutlerd.config.schema import Config
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.config.secret import Secret
from sutlerd.domain.call import ChatRequest
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.endpoint import Endpoint
from sutlerd.providers.kinds import OPENAI_KINDS
from sutlerd.providers.registry import Providers, build_providers
from tests.contract.harness import Events
from tests.support.virtual_clock import VirtualClock

KEY = Secret("sk-unit-0123456789")
ASK = {"role": "user", "content": "What is 2 + 2?"}


def settings(kind: str, **fields: Any) -> ProviderConfig:
    fields = {"base_url": "http://127.0.0.1:9/v1", "default_model": "m", "api_key": KEY, **fields}
    return ProviderConfig(kind=kind, **{k: v for k, v in fields.items() if v is not None})


def build(environ: dict[str, str] | None = None, **providers: ProviderConfig) -> Providers:
    config = Config()
    llm = config.llm.model_copy(update={"providers": providers})
    return build_providers(
        config.model_copy(update={"llm": llm}),
        clock=VirtualClock(),
        log=Events(),
        environ=environ or {},
    )


@pytest.mark.parametrize("kind", OPENAI_KINDS)
@pytest.mark.parametrize("transport", ["lean", "sdk"])
def test_every_server_of_openai_s_wire_is_built_over_each_transport(
    kind: str, transport: str
) -> None:
    providers = build(it=settings(kind, transport=transport))
    built = providers["it"]
    assert isinstance(built, Endpoint)
    assert (built.name, built.default_model) == ("it", "m")
    assert built.health()["transport"] == transport
    assert "sk-unit" not in repr(built.health())


def test_configured_order_is_kept_and_what_is_off_says_why() -> None:
    providers = build(
        b=settings("vllm"),
        a=settings("groq", api_key=Secret.missing("${GROQ_API_KEY}")),
        c=settings("openai_compatible", enabled=False),
        d=settings("openai_compatible", headers={"x-team": Secret.missing("${TEAM}")}),
    )
    assert list(providers) == ["b"]
    assert len(providers) == 1
    assert list(providers.off) == ["a", "c", "d"]
    assert "GROQ_API_KEY" in providers.off["a"]
    assert "${TEAM}" in providers.off["d"]


@pytest.mark.fault("P27")
def test_a_proxy_that_cannot_be_used_turns_the_provider_off_without_its_password() -> None:
    environ = {"all_proxy": "socks5://bob:hunter2@proxy"}
    providers = build(
        environ, far=settings("vllm", base_url="http://far.test"), near=settings("vllm")
    )
    assert list(providers) == ["near"]
    assert "socks5://proxy" in providers.off["far"]
    assert "hunter2" not in providers.off["far"]


def test_capabilities_follow_the_configuration() -> None:
    providers = build(
        it=settings(
            "openai",
            models=("m",),
            embed_models=("e",),
            dimension=256,
            context_tokens=1000,
        )
    )
    chats, embeds = providers["it"].capabilities("m"), providers["it"].capabilities("e")
    assert (chats.chat, chats.embed, chats.max_embed_texts) == (True, False, None)
    assert (embeds.chat, embeds.embed, embeds.dimension) == (False, True, 256)
    assert embeds.max_embed_texts == 1024
    assert chats.context_tokens == 1000


@pytest.mark.parametrize(
    "written", ["http://0.0.0.0:11434", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/api/"]
)
def test_ollama_is_found_under_the_addresses_that_people_have_of_it(written: str) -> None:
    built = build(it=settings("ollama", base_url=written))["it"]
    assert built.health()["address"] == "http://127.0.0.1:11434"


def test_with_no_configuration_there_is_the_embedded_model() -> None:
    providers = build_providers(Config(), clock=VirtualClock(), log=Events(), environ={})
    assert list(providers) == ["embedded"]
    assert providers.off == {}


@pytest.mark.parametrize("transport", ["lean", "sdk"])
@pytest.mark.parametrize("kind", ["anthropic", "anthropic_compatible"])
@pytest.mark.parametrize("written", ["http://127.0.0.1:9", "http://127.0.0.1:9/v1/"])
def test_anthropic_s_wire_is_built_over_each_transport(
    kind: str, transport: str, written: str
) -> None:
    built = build(it=settings(kind, transport=transport, base_url=written))["it"]
    assert built.health()["address"] == "http://127.0.0.1:9"
    assert built.health()["transport"] == transport
    assert built.capabilities("m").embed is False


def test_long_prefixes_are_marked_unless_the_operator_says_no() -> None:
    long = ({"role": "system", "content": "Read the rules. " * 400}, ASK)
    request = ChatRequest(messages=long, max_tokens=1)
    for prompt_caching in (True, False):
        built = build(it=settings("anthropic", prompt_caching=prompt_caching))["it"]
        system = built.build_chat(request, "claude-sonnet-5").body["system"]
        assert isinstance(system, list) is prompt_caching


@pytest.mark.fault("P8")
@pytest.mark.parametrize("transport", ["lean", "sdk"])
async def test_a_model_that_was_shut_down_is_not_asked_for(transport: str) -> None:
    # Nothing listens there: an attempt would fail otherwise.
    built = build(it=settings("anthropic", transport=transport))["it"]
    old = built.build_chat(ChatRequest(messages=(ASK,), max_tokens=1), "claude-opus-4-0")
    with pytest.raises(AttemptFailed, match="shut down on 2026-06-15; use claude-opus") as raised:
        await built.complete(old, deadline_s=1e9)
    assert (raised.value.verdict, raised.value.outcome) == (Verdict.MODEL_GONE, Outcome.NOT_SENT)
    with pytest.raises(AttemptFailed) as raised:
        await built.stream(old, deadline_s=1e9).__aenter__()
    assert raised.value.kind == "model_gone"


async def test_a_vendor_far_away_counts_only_if_it_is_asked_to() -> None:
    # Nothing listens there: an attempt would fail.
    built = build(it=settings("anthropic", transport="lean"))["it"]
    count = await built.count_tokens("hello world", "claude-opus-5-5", deadline_s=2000)
    assert (count.tokens, count.exact) == (3, False)
    assert count.method == "estimate: tiktoken:o200k_base × 1.5"
    with pytest.raises(AttemptFailed, match="no connection"):
        await built.count_tokens("hi", "claude-opus-5-5", deadline_s=2000, ask_provider=True)
