"""Endpoints for contract tests: a real dialect over a real transport to a real socket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Delta, Embedded, Reply
from sutlerd.providers.address import Address, Proxy, parse_address, proxy_for
from sutlerd.providers.contract import BuiltRequest, Capabilities
from sutlerd.providers.dialect import Dialect, ModelTraits
from sutlerd.providers.endpoint import Endpoint, EndpointSettings
from sutlerd.providers.kinds import SdkLoader
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import LLAMA_CPP
from sutlerd.providers.sdk_anthropic import anthropic_loader
from sutlerd.providers.sdk_openai import openai_loader
from sutlerd.providers.transport import Transport
from sutlerd.providers.transport_lean import LeanTransport
from sutlerd.providers.transport_sdk import SdkTransport
from sutlerd.system.clock import SystemClock
from sutlerd.telemetry.redact import Redactor

TRANSPORTS = ("lean", "sdk")
LOADERS: Mapping[str, SdkLoader] = {"anthropic": anthropic_loader, "openai": openai_loader}
API_KEY = "sk-scripted-0123456789abcdef"
#: Far above what an attempt here needs, far below a test's own limit.
PATIENCE_S = 20.0
ASK = ChatRequest(messages=({"role": "user", "content": "What is 2 + 2?"},), max_tokens=100)


@dataclass
class Events:
    """An ``EventLog`` that keeps what it is told."""

    told: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    def tells(self, level: str) -> bool:
        return True

    def event(self, level: str, name: str, /, **fields: object) -> None:
        self.told.append((level, name, fields))


def make_transport(
    kind: str,
    address: Address,
    *,
    headers: Mapping[str, str],
    proxy: Proxy | None,
    log: Events,
    api_key: str | None = API_KEY,
    package: str = "openai",
) -> Transport:
    clock = SystemClock()
    if kind == "lean":
        return LeanTransport(address, headers=headers, clock=clock, proxy=proxy)
    load = LOADERS[package](address, api_key=api_key, headers={}, proxy=proxy)
    return SdkTransport(address, package=package, load=load, clock=clock, log=log, proxy=proxy)


@dataclass
class Wired:
    """An endpoint and what a test asks of it."""

    kind: str
    endpoint: Endpoint
    transport: Transport
    log: Events

    def deadline_s(self, within_s: float = PATIENCE_S) -> float:
        return time.monotonic() + within_s

    def chat(self, **fields: Any) -> BuiltRequest:
        request = ChatRequest(messages=ASK.messages, **{"max_tokens": 100, **fields})
        return self.endpoint.build_chat(request, "test-model")

    async def complete(self, within_s: float = PATIENCE_S) -> Reply:
        return await self.endpoint.complete(self.chat(), deadline_s=self.deadline_s(within_s))

    async def embed(self, *texts: str) -> Embedded:
        built = self.endpoint.build_embed(EmbedRequest(texts=texts), "test-embed")
        return await self.endpoint.embed(built, deadline_s=self.deadline_s())

    async def stream(
        self, within_s: float = PATIENCE_S, *, into: list[Delta | Reply] | None = None
    ) -> Reply:
        """Take a whole stream; what came goes ``into`` the list, even if it fails later."""
        taken: list[Delta | Reply] = [] if into is None else into
        deadline_s = self.deadline_s(within_s)
        async with self.endpoint.stream(self.chat(), deadline_s=deadline_s) as batches:
            async for batch in batches:
                taken += batch
        assert isinstance(taken[-1], Reply)
        return taken[-1]


@asynccontextmanager
async def wired(
    kind: str,
    base_url: str,
    *,
    dialect: Dialect | None = None,
    environ: Mapping[str, str] | None = None,
    api_key: str | None = API_KEY,
    timeout_s: float = PATIENCE_S,
    silence_s: float = PATIENCE_S,
    preload: bool = True,
    package: str = "openai",
    traits: Callable[[str], ModelTraits] | None = None,
) -> AsyncIterator[Wired]:
    """Give an endpoint that talks to ``base_url``. ``environ`` may name a proxy.

    An SDK is loaded before, unless that is what a test is about: it takes time of the first
    attempt, which a test may have little of.
    """
    address = parse_address(base_url)
    dialect = dialect or OpenAIChat(provider="scripted", switches=LLAMA_CPP)
    log = Events()
    transport = make_transport(
        kind,
        address,
        headers=dialect.auth_headers(api_key),
        proxy=proxy_for(address, environ or {}),
        log=log,
        api_key=api_key,
        package=package,
    )
    endpoint = Endpoint(
        settings=EndpointSettings(
            name="scripted",
            address=str(address),
            transport=kind,
            default_model="test-model",
            models=("test-model",),
            embed_models=("test-embed",),
            timeout_s=timeout_s,
            silence_s=silence_s,
        ),
        dialect=dialect,
        transport=transport,
        traits=traits or _plain_traits,
        clock=SystemClock(),
        mask=Redactor([api_key] if api_key else []).text,
    )
    async with endpoint:
        if preload and isinstance(transport, SdkTransport):
            await transport.loaded()
        yield Wired(kind, endpoint, transport, log)


def _plain_traits(model: str) -> ModelTraits:
    return ModelTraits(capabilities=Capabilities(embed=model == "test-embed"))


def contents(pieces: Sequence[Delta | Reply]) -> list[str]:
    return [piece.content for piece in pieces if isinstance(piece, Delta)]
