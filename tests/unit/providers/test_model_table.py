from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from sutlerd.config.retired import RETIRED
from sutlerd.config.schema_provider import ProviderConfig
from sutlerd.domain.call import ChatRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.model_table import FAMILIES, gone, known_traits, traits_of
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import OPENAI
from sutlerd.providers.refusals import refuse_unfit

ASK = {"role": "user", "content": "What is 2 + 2?"}
TODAY = date(2026, 11, 23)


def settings(kind: str, **fields: Any) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"kind": kind, "base_url": "http://h", "default_model": "m", **fields}
    )


def taken(traits: ModelTraits) -> dict[str, bool]:
    return {
        "temperature": "temperature" not in traits.drops_at("high"),
        "plain temperature": "temperature" not in traits.drops_at("none"),
        "stop": "stop" not in traits.refuses,
        "functions": "functions" not in traits.refuses,
        "forced": "forced_choice" not in traits.refuses,
        "prefill": "prefill" not in traits.refuses,
        "schema": traits.native_schema,
    }


@pytest.mark.parametrize(
    ("kind", "model", "not_taken"),
    [
        ("openai", "gpt-4o", ""),
        ("openai", "gpt-4o-mini-2024-07-18", ""),
        ("openai", "ft:gpt-4o:acme::1", ""),
        ("openai", "gpt-4", "schema"),
        ("openai", "gpt-3.5-turbo", "schema"),
        ("openai", "o1-preview", "temperature, stop, functions, schema"),
        ("openai", "o1-mini", "temperature, stop, functions, schema"),
        ("openai", "o3", "temperature, plain temperature, stop"),
        ("openai", "gpt-5-mini", "temperature, plain temperature, stop"),
        ("openai", "gpt-5-chat-latest", ""),
        ("openai", "gpt-5.1", "temperature, stop"),
        ("openai", "gpt-5.4-mini", "temperature, stop"),
        ("openai", "gpt-7-nova", "temperature, stop"),
        ("openai", "a-model-of-ones-own", ""),
        (
            "anthropic",
            "claude-opus-5-5",
            "temperature, plain temperature, forced, prefill",
        ),
        ("anthropic", "claude-sonnet-5", "temperature, plain temperature, prefill"),
        ("anthropic", "claude-haiku-4-5-20251001", "temperature, plain temperature"),
        ("anthropic", "claude-3-5-haiku-20241022", "temperature, plain temperature, schema"),
        ("anthropic", "claude-nova-7", "temperature, plain temperature, prefill"),
        ("anthropic_compatible", "claude-sonnet-5", "temperature, plain temperature, prefill"),
        ("anthropic_compatible", "smollm2", "schema"),
        ("ollama", "llama3.1:8b", ""),
        ("ollama", "llama3.1:70b", ""),
        ("ollama", "codellama:13b", "functions"),
        ("ollama", "mistral:7b", ""),
        ("openai_compatible", "gpt-5", ""),
        ("vllm", "meta-llama/Llama-3.1-8B-Instruct", ""),
    ],
)
def test_families_take_what_their_vendors_say(kind: str, model: str, not_taken: str) -> None:
    got = taken(known_traits(kind, model))
    assert ", ".join(name for name, takes in got.items() if not takes) == not_taken


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_family_hides_behind_an_earlier_one(kind: str) -> None:
    for patterns, traits in FAMILIES[kind]:
        for pattern in patterns:
            # The shortest name that the pattern is for.
            name = pattern.replace("[123]", "1").replace("*", "")
            assert known_traits(kind, name or "anything else") is traits, pattern


def test_the_prefix_that_is_worth_a_mark_is_the_familys() -> None:
    told = {
        "claude-opus-5-5": 512,
        "claude-opus-5": 512,
        "claude-haiku-5-5": 512,
        "claude-sonnet-5": 1024,
        "claude-sonnet-4-6": 1024,
        "claude-opus-4-7": 2048,
        "claude-opus-4-5": 4096,
        "claude-haiku-4-5": 4096,
    }
    got = {model: known_traits("anthropic", model).cache_from_tokens for model in told}
    assert got == told
    assert known_traits("anthropic_compatible", "smollm2").cache_from_tokens is None


def test_hints_that_a_reasoning_model_refuses_are_dropped_and_told() -> None:
    def built(model: str, **fields: Any) -> Any:
        request = ChatRequest(messages=(ASK,), max_tokens=5, temperature=0.0, **fields)
        dialect = OpenAIChat(provider="x", switches=OPENAI)
        return dialect.build_chat(request, model, known_traits("openai", model))

    assert built("o3", top_p=0.5).dropped == ("temperature", "top_p")
    assert built("gpt-5.1").dropped == ("temperature",)
    assert built("gpt-5.1", extra={"reasoning_effort": "none"}).body["temperature"] == 0.0
    assert built("gpt-4o").body["temperature"] == 0.0
    assert built("o3").body["max_completion_tokens"] == 5
    with pytest.raises(InvalidParams, match=r"params\.stop: o3: "):
        built("o3", stop=("x",))
    with pytest.raises(InvalidParams, match=r"reasoning_effort: must be one of"):
        built("gpt-5", extra={"reasoning_effort": "none"})
    with pytest.raises(InvalidParams, match=r"reasoning_effort: is not taken"):
        built("gpt-4o", extra={"reasoning_effort": "low"})
    system = {"role": "system", "content": "Be brief."}
    request = ChatRequest(messages=(system, ASK), max_tokens=5)
    dialect = OpenAIChat(provider="x", switches=OPENAI)
    asked = dialect.build_chat(request, "o3", known_traits("openai", "o3")).body
    assert asked["messages"][0]["role"] == "developer"


def test_the_operator_knows_better_than_the_table() -> None:
    capabilities = {
        "o3*": {"temperature": True, "stop": True, "seed": False, "context_tokens": 7},
        "mine*": {
            "functions": False,
            "forced_function": False,
            "images": False,
            "schema": False,
            "json_mode": False,
            "reasoning": True,
            "max_output_tokens": 10,
            "dimension": 64,
        },
        "mine-7b": {"functions": True},
    }
    openai = settings("openai", capabilities=capabilities)
    o3 = traits_of(openai, "o3-2025-04-16")
    assert "temperature" not in o3.drops_at("high")
    assert "stop" not in o3.refuses
    assert "seed" in o3.drops
    assert o3.capabilities.context_tokens == 7
    mine = traits_of(openai, "mine-13b")
    assert mine.refuses == {"functions", "forced_choice", "images"}
    assert (mine.native_schema, mine.native_json_mode, mine.reasoning) == (False, False, True)
    assert mine.max_output_tokens == 10
    assert mine.capabilities.functions is False
    assert mine.capabilities.dimension == 64
    # The last pattern that fits counts.
    assert traits_of(openai, "mine-7b").capabilities.functions is True


def test_settings_of_the_provider_are_among_what_is_known_of_its_models() -> None:
    provider = settings(
        "openai_compatible", context_tokens=4096, embed_models=["e", "both"], models=["both"]
    )
    assert traits_of(provider, "m").capabilities.context_tokens == 4096
    assert traits_of(provider, "e").capabilities.chat is False
    assert traits_of(provider, "both").capabilities.chat is True
    assert traits_of(provider, "both").capabilities.embed is True


def test_a_model_that_only_embeds_is_not_asked_for_an_answer() -> None:
    provider = settings("openai")
    traits = traits_of(provider, "text-embedding-3-small")
    with pytest.raises(InvalidParams, match=r"params\.model: text-embedding-3-small gives no"):
        refuse_unfit(ChatRequest(messages=(ASK,), max_tokens=1), "text-embedding-3-small", traits)


@pytest.mark.fault("P8")
def test_a_model_that_was_shut_down_is_told_with_its_day_and_its_successor() -> None:
    anthropic = settings("anthropic")
    assert gone(anthropic, "claude-sonnet-4-20250514", TODAY) == (
        "claude-sonnet-4-20250514 was shut down on 2026-06-15; use claude-sonnet-5-5"
    )
    assert gone(anthropic, "claude-sonnet-4-5", TODAY) is None
    assert gone(anthropic, "claude-sonnet-4-5", date(2026, 11, 30)) is not None
    assert gone(anthropic, "claude-nova-7", TODAY) is None
    assert gone(settings("vllm"), "o1-mini", TODAY) is None
    still = settings("openai", capabilities={"o1-*": {"chat": True}})
    assert gone(still, "o1-mini", TODAY) is None
    assert gone(settings("openai"), "o1-mini", TODAY) is not None


def test_every_successor_is_in_a_family_that_is_known() -> None:
    for kind, models in RETIRED.items():
        for model, retirement in models.items():
            assert known_traits(kind, retirement.successor) != ModelTraits()
            assert known_traits(kind, model) != ModelTraits(), model
