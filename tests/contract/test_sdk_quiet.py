"""What an SDK does on its own account is off: retries, variables, reports, logs."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

from sutlerd.providers.address import parse_address
from sutlerd.providers.contract import AttemptFailed, Outcome, Verdict
from sutlerd.providers.sdk import Sdk
from sutlerd.providers.transport import Request
from sutlerd.providers.transport_sdk import SdkTransport
from sutlerd.system.clock import SystemClock
from tests.contract import answers
from tests.contract.harness import API_KEY, Events, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")

FOREIGN = {
    "OPENAI_API_KEY": "sk-foreign",
    "OPENAI_ADMIN_KEY": "sk-foreign-admin",
    "OPENAI_ORG_ID": "org-foreign",
    "OPENAI_PROJECT_ID": "proj-foreign",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/foreign",
    "OPENAI_CUSTOM_HEADERS": "x-foreign: foreign\nauthorization: Bearer sk-foreign",
    "OPENAI_LOG": "debug",
    "http_proxy": "http://127.0.0.1:1",
    "all_proxy": "http://127.0.0.1:1",
}


async def test_no_variable_of_the_environment_changes_a_request(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    for api_key, sent in ((API_KEY, f"Bearer {API_KEY}"), (None, "Bearer none")):
        async with wired("sdk", provider.base_url, api_key=api_key) as wire:
            await wire.complete()
        assert provider.requests[-1].headers["authorization"] == sent
    for request in provider.requests:
        told = repr(request.headers)
        assert "foreign" not in told
        assert "stainless" not in told
        assert "openai-organization" not in request.headers
        assert "openai-project" not in request.headers
        assert "cookie" not in request.headers


async def test_nothing_is_logged_by_the_packages(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with wired("sdk", provider.base_url) as wire:
        await wire.complete()
    assert "2 + 2" not in caplog.text
    assert API_KEY not in caplog.text


async def test_a_cookie_is_not_kept(provider: ScriptedProvider) -> None:
    provider.always = answers.openai_chat(headers={"set-cookie": "a=b"})
    async with wired("sdk", provider.base_url) as wire:
        await wire.complete()
        await wire.complete()
    assert "cookie" not in provider.requests[1].headers


async def test_the_package_is_loaded_once_for_all_who_wait_and_the_stall_is_told(
    provider: ScriptedProvider,
) -> None:
    async with wired("sdk", provider.base_url, preload=False) as wire:
        leaves = asyncio.create_task(wire.complete())
        stay = [asyncio.create_task(wire.complete()) for _ in range(5)]
        await asyncio.sleep(0)
        leaves.cancel()
        assert {reply.content for reply in await asyncio.gather(*stay)} == {"4"}
        (event,) = wire.log.told
    level, name, fields = event
    assert (level, name, fields["package"]) == ("info", "sdk_loaded", "openai")
    assert "loop_stall_ms" in fields


async def test_a_package_that_is_missing_is_named_with_the_way_out() -> None:
    def load() -> Sdk:
        raise ImportError("No module named 'openai'")

    transport = SdkTransport(
        parse_address("http://127.0.0.1:1"),
        package="openai",
        load=load,
        clock=SystemClock(),
        log=Events(),
    )
    async with transport:
        with pytest.raises(AttemptFailed, match="transport: lean") as raised:
            await transport.send(Request(path="/x"), timeout_s=5)
    assert (raised.value.verdict, raised.value.outcome) == (Verdict.CLOSED, Outcome.NOT_SENT)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, sutlerd.providers.registry as r\n"
        "from sutlerd.config.schema import Config\n"
        "r.build_providers(Config(), clock=None, log=None)\n"
        "heavy = ('aiohttp', 'openai', 'anthropic', 'httpx2', 'tiktoken', 'xllamacpp')\n"
        "sys.exit(repr([m for m in heavy if m in sys.modules]) if "
        "any(m in sys.modules for m in heavy) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
