"""What stands behind each kind of provider: its dialect, its package. The one table of kinds.

A new kind is a new entry here, beside its preset in the configuration. A dialect is imported
when a provider that speaks it is made: the start waits for no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from sutlerd.config.schema import ProviderConfig
from sutlerd.domain.record import record
from sutlerd.providers.address import Address, Proxy
from sutlerd.providers.counting import tokenizer_of
from sutlerd.providers.dialect import Dialect, ModelTraits
from sutlerd.providers.model_list import PATHS
from sutlerd.providers.model_table import traits_of
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import (
    COMPATIBLE,
    DEEPSEEK,
    GEMINI,
    GROQ,
    LLAMA_CPP,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    TOGETHER,
    VLLM,
    OpenAISwitches,
)
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.sdk_anthropic import anthropic_loader
from sutlerd.providers.sdk_openai import openai_loader

#: Texts in one request: with base64 the largest vectors make some 20 MB, in decimals as much.
_MAX_TEXTS = {"base64": 1024, "float": 256}
#: Tokens in one request, all texts together.
_OPENAI_REQUEST_TOKENS = 300_000
_NO_CHAT = dict.fromkeys(("chat", "stream", "functions", "json_mode", "schema"), False)
#: Models whose traits are kept made.
_MAX_TRAITS = 1024


class SdkLoader(Protocol):
    """Gives what imports a package and makes its client, to be run in a thread."""

    def __call__(
        self,
        address: Address,
        *,
        api_key: str | None,
        headers: Mapping[str, str],
        proxy: Proxy | None,
    ) -> Callable[[], Sdk]: ...


@record
class Spoken:
    """How one configured provider speaks. ``package`` is that of ``load_sdk``, which is
    ``None`` where there is none. ``exact_counts``: its server counts tokens itself;
    ``counts_if_asked``: it can, at the price of a call far away."""

    dialect: Dialect
    package: str = ""
    load_sdk: SdkLoader | None = None
    exact_counts: bool = False
    counts_if_asked: bool = False
    max_embed_texts: int | None = None
    max_embed_tokens: Callable[[str], int] | None = None
    chats: bool = True
    #: ``openai_models``: so is their tokenizer, whatever the models' names.
    openai_models: bool = False
    models_path: str | None = None
    #: The address to be used in place of the configured one.
    base_url: str | None = None
    #: Whether a stream may be silent as long as the attempt lasts: a model is being loaded.
    loads_models: bool = False


def _openai_tokens(_model: str) -> int:
    return _OPENAI_REQUEST_TOKENS


def _ollama(name: str, settings: ProviderConfig) -> Spoken:
    from sutlerd.providers import ollama

    # Many know the address of its other wire only, or the one that it listens on.
    base_url = settings.base_url.rstrip("/").removesuffix("/v1").removesuffix("/api")
    base_url = base_url.replace("//0.0.0.0", "//127.0.0.1", 1)
    return Spoken(
        dialect=ollama.Ollama(provider=name, keep_alive=settings.keep_alive),
        max_embed_texts=ollama.MAX_EMBED_TEXTS,
        models_path=PATHS["ollama"],
        base_url=base_url,
        loads_models=True,
    )


def _voyage(name: str, settings: ProviderConfig) -> Spoken:
    from sutlerd.providers import voyage

    api_key = settings.api_key.reveal() if settings.api_key is not None else None
    return Spoken(
        dialect=voyage.Voyage(provider=name),
        chats=False,
        max_embed_texts=voyage.MAX_EMBED_TEXTS,
        max_embed_tokens=voyage.max_request_tokens,
        base_url=voyage.address_for(api_key, settings.base_url, settings.preset.base_url),
    )


def _anthropic(name: str, settings: ProviderConfig) -> Spoken:
    from sutlerd.providers.anthropic_dialect import Anthropic

    # Some write the version into the address, as with OpenAI's wire.
    base_url = settings.base_url.rstrip("/").removesuffix("/v1")
    return Spoken(
        dialect=Anthropic(
            provider=name,
            mark_prefix=settings.prompt_caching,
            old_key_header=settings.kind == "anthropic_compatible",
        ),
        package="anthropic",
        load_sdk=anthropic_loader,
        counts_if_asked=True,
        models_path=PATHS["anthropic"],
        base_url=base_url,
    )


def _openai_wire(switches: OpenAISwitches) -> Callable[[str, ProviderConfig], Spoken]:
    def speak(name: str, _settings: ProviderConfig) -> Spoken:
        dialect: Dialect = OpenAIChat(provider=name, switches=switches)
        if switches is OPENAI:
            from sutlerd.providers.openai_dialect import OpenAI

            dialect = OpenAI(provider=name)
        return Spoken(
            dialect=dialect,
            package="openai",
            load_sdk=openai_loader,
            exact_counts=switches.counts is not None,
            max_embed_texts=_MAX_TEXTS[switches.embed_encoding],
            max_embed_tokens=_openai_tokens if switches is OPENAI else None,
            openai_models=switches is OPENAI,
            counts_if_asked=switches is OPENAI,
            models_path=PATHS["openai_chat"],
        )

    return speak


#: Servers that speak OpenAI's chat completions, each in its own way.
OPENAI_KINDS: Mapping[str, OpenAISwitches] = {
    "openai": OPENAI,
    "vllm": VLLM,
    "together": TOGETHER,
    "groq": GROQ,
    "llama_cpp": LLAMA_CPP,
    "openrouter": OPENROUTER,
    "deepseek": DEEPSEEK,
    "mistral": MISTRAL,
    "gemini": GEMINI,
    "openai_compatible": COMPATIBLE,
}

#: All but the embedded model, which is a provider of its own making.
KINDS: Mapping[str, Callable[[str, ProviderConfig], Spoken]] = {
    **{kind: _openai_wire(switches) for kind, switches in OPENAI_KINDS.items()},
    "anthropic": _anthropic,
    "anthropic_compatible": _anthropic,
    "ollama": _ollama,
    "voyage": _voyage,
}


def traits_function(settings: ProviderConfig, spoken: Spoken) -> Callable[[str], ModelTraits]:
    """Give what tells what is known of each model of a provider."""

    @lru_cache(maxsize=_MAX_TRAITS)
    def traits(model: str) -> ModelTraits:
        known = traits_of(settings, model)
        embeds, most = known.capabilities.embed, spoken.max_embed_tokens
        capabilities = replace(
            known.capabilities,
            count_tokens_exact=spoken.exact_counts or tokenizer_of(model) is not None,
            max_embed_texts=spoken.max_embed_texts if embeds else None,
            max_embed_tokens=most(model) if embeds and most is not None else None,
        )
        if not spoken.chats:
            capabilities = replace(capabilities, **_NO_CHAT)
        return replace(known, capabilities=capabilities)

    return traits
