"""The embedded model as the daemon runs it: one thread, few tokens, one server for all tests
that do no harm to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from sutlerd.config.schema import EmbeddedConfig, ProviderConfig
from sutlerd.domain.call import ChatRequest
from sutlerd.providers.contract import BuiltRequest
from sutlerd.providers.embedded import EmbeddedProvider
from sutlerd.system.clock import SystemClock
from tests.integration.embedded.charges import Notices

MakeProvider = Callable[..., EmbeddedProvider]

#: A coverage run measures the child, too, if it is told so.
FOR_COVERAGE = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def embedded_provider(
    environ: Mapping[str, str] | None = None, log: Notices | None = None, **config: Any
) -> EmbeddedProvider:
    return EmbeddedProvider(
        name="embedded",
        settings=ProviderConfig.model_validate({"kind": "embedded"}),
        config=EmbeddedConfig.model_validate({"threads": 1, **config}),
        clock=SystemClock(),
        log=log or Notices(),
        environ=environ,
    )


def deadline_s(after_s: float = 50.0) -> float:
    return SystemClock().monotonic_s() + after_s


def ask(provider: EmbeddedProvider, text: str, max_tokens: int = 12, **more: Any) -> BuiltRequest:
    """Build a request for an answer at temperature 0."""
    request = ChatRequest(
        messages=({"role": "user", "content": text},),
        max_tokens=max_tokens,
        temperature=0.0,
        **more,
    )
    return provider.build_chat(request, provider.default_model)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def model() -> AsyncIterator[EmbeddedProvider]:
    """The one that all share. Tests that use it run on the session's loop."""
    async with embedded_provider() as provider:
        yield provider


@pytest.fixture
def provider() -> MakeProvider:
    """Make a provider whose server is the test's own."""
    return embedded_provider
