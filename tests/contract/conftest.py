"""A scripted provider, and an endpoint of each transport in front of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.harness import TRANSPORTS, Wired, wired
from tests.contract.scripted import ScriptedProvider

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as scripted:
        yield scripted


@pytest.fixture(params=TRANSPORTS)
async def wire(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[Wired]:
    """The dialect of OpenAI's chat over each transport, talking to ``provider``."""
    async with wired(request.param, provider.base_url) as made:
        yield made


@pytest.fixture(scope="session")
def llama_address() -> Iterator[str]:
    """The address of a server that nobody here wrote; see ``llama_server``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.llama_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("address "))
            yield line.removeprefix("address ").strip()
        finally:
            process.kill()
