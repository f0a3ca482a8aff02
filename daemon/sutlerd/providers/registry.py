"""The configured providers: which there are, which are off and why. The one table of kinds.

Building is cheap and silent: nothing is imported that is heavy, nothing contacted. A provider
that cannot be used is left out with a reason an operator can act on; the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from sutlerd.config.schema import Config, ProviderConfig
from sutlerd.domain.ports import Clock, EventLog
from sutlerd.providers.address import Address, Proxy, parse_address, proxy_for
from sutlerd.providers.contract import Capabilities, Provider
from sutlerd.providers.dialect import Dialect, ModelTraits
from sutlerd.providers.embedded import EmbeddedProvider
from sutlerd.providers.endpoint import Endpoint, EndpointSettings
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
from sutlerd.providers.sdk_openai import openai_loader
from sutlerd.providers.transport import Transport
from sutlerd.providers.transport_lean import LeanTransport
from sutlerd.providers.transport_sdk import SdkTransport
from sutlerd.telemetry.redact import Redactor

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
#: Texts in one request: with base64 the largest vectors make some 20 MB, in decimals as much.
_MAX_TEXTS = {"base64": 1024, "float": 256}
#: Models whose traits are kept made.
_MAX_TRAITS = 1024


class Providers(Mapping[str, Provider]):
    """Those in service, by name, in configured order; ``off`` tells why others are not."""

    def __init__(self, in_service: Mapping[str, Provider], off: Mapping[str, str]) -> None:
        self._in_service = dict(in_service)
        self.off = dict(off)

    def __getitem__(self, name: str) -> Provider:
        return self._in_service[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._in_service)

    def __len__(self) -> int:
        return len(self._in_service)


def build_providers(
    config: Config, *, clock: Clock, log: EventLog, environ: Mapping[str, str] | None = None
) -> Providers:
    """Build what the configuration names. ``environ`` is looked at for proxies."""
    mask = Redactor(config.secret_values()).text
    builder = _Builder(
        config, clock=clock, log=log, mask=mask, environ=os.environ if environ is None else environ
    )
    in_service: dict[str, Provider] = {}
    off: dict[str, str] = {}
    for name, settings in config.llm.providers.items():
        try:
            in_service[name] = builder.build(name, settings)
        except _Off as reason:
            off[name] = str(reason)
            log.event("warning", "provider_off", provider=name, reason=str(reason))
    return Providers(in_service, off)


class _Off(Exception):
    """A provider cannot be used; the text says why and what mends it."""


class _Builder:
    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        log: EventLog,
        mask: Callable[[str], str],
        environ: Mapping[str, str],
    ) -> None:
        self._config = config
        self._clock = clock
        self._log = log
        self._mask = mask
        self._environ = environ

    def build(self, name: str, settings: ProviderConfig) -> Provider:
        reason = self._config.off(name)
        if reason is not None:
            raise _Off(reason)
        if settings.kind == "embedded":
            return EmbeddedProvider(
                name=name,
                settings=settings,
                config=self._config.embedded,
                clock=self._clock,
                log=self._log,
                environ=self._environ,
            )
        dialect, switches = _dialect(name, settings)
        try:
            address = parse_address(settings.base_url)
            proxy = proxy_for(address, self._environ)
        except ValueError as error:
            raise _Off(f"base_url or its proxy cannot be used: {error}") from None
        return Endpoint(
            settings=EndpointSettings(
                name=name,
                address=str(address),
                transport=settings.transport,
                default_model=settings.default_model,
                models=settings.models,
                embed_models=settings.embed_models,
                timeout_s=settings.timeout_seconds,
            ),
            dialect=dialect,
            transport=self._transport(settings, dialect, address, proxy),
            traits=_traits(settings, switches),
            clock=self._clock,
            mask=self._mask,
        )

    def _transport(
        self, settings: ProviderConfig, dialect: Dialect, address: Address, proxy: Proxy | None
    ) -> Transport:
        api_key = settings.api_key.reveal() if settings.api_key is not None else None
        unset = [header.origin for header in settings.headers.values() if not header.is_set]
        if unset:
            raise _Off(f"{unset[0]} is not set, and a header needs it")
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        if settings.transport == "lean":
            return LeanTransport(
                address,
                headers={**dialect.auth_headers(api_key), **headers},
                clock=self._clock,
                proxy=proxy,
            )
        return SdkTransport(
            address,
            package="openai",
            load=openai_loader(address, api_key=api_key, headers=headers, proxy=proxy),
            clock=self._clock,
            log=self._log,
            proxy=proxy,
        )


def _dialect(name: str, settings: ProviderConfig) -> tuple[Dialect, OpenAISwitches]:
    switches = OPENAI_KINDS.get(settings.kind)
    if switches is None:
        raise _Off(f"this build has no dialect for kind {settings.kind}")
    return OpenAIChat(provider=name, switches=switches), switches


def _traits(settings: ProviderConfig, switches: OpenAISwitches) -> Callable[[str], ModelTraits]:
    """Give what is known of each model of a provider."""

    @lru_cache(maxsize=_MAX_TRAITS)
    def traits(model: str) -> ModelTraits:
        embeds = model in settings.embed_models
        return ModelTraits(
            capabilities=Capabilities(
                chat=not embeds or model in settings.models,
                embed=embeds,
                count_tokens_exact=switches.counts is not None,
                context_tokens=settings.context_tokens,
                max_embed_texts=_MAX_TEXTS[switches.embed_encoding] if embeds else None,
                dimension=settings.dimension if embeds else None,
            )
        )

    return traits
