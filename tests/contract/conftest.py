"""A scripted provider, and an endpoint of each transport in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.harness import TRANSPORTS, Wired, wired
from tests.contract.scripted import ScriptedProvider


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


@pytest.fixture(params=TRANSPORTS)
async def wire(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[Wired]:
    """The dialect of OpenAI's chat over each transport, talking to ``provider``."""
    async with wired(request.param, provider.base_url) as made:
        yield made
