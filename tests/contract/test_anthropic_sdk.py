"""What the ``anthropic`` package does on its own account is off: retries, variables of the
environment, files of the user, reports, traces, logs."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from sutlerd.providers.anthropic_dialect import Anthropic
from sutlerd.providers.contract import AttemptFailed, Outcome
from tests.contract.answers import Answer, Close, Hang, Reset, Step
from tests.contract.anthropic_answers import anthropic_error, anthropic_message
from tests.contract.harness import API_KEY, wired
from tests.contract.scripted import ScriptedProvider

pytestmark = pytest.mark.loop("uvloop")

FOREIGN = {
    "ANTHROPIC_API_KEY": "sk-foreign",
    "ANTHROPIC_AUTH_TOKEN": "token-foreign",
    "ANTHROPIC_PROFILE": "foreign",
    "ANTHROPIC_IDENTITY_TOKEN": "foreign",
    "ANTHROPIC_FEDERATION_RULE_ID": "foreign",
    "ANTHROPIC_ORGANIZATION_ID": "foreign",
    "ANTHROPIC_WORKSPACE_ID": "foreign",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:1/foreign",
    "ANTHROPIC_CUSTOM_HEADERS": "x-foreign: foreign\nauthorization: Bearer sk-foreign",
    "ANTHROPIC_WEBHOOK_SIGNING_KEY": "foreign",
    "ANTHROPIC_OPEN_TELEMETRY": "true",
    "ANTHROPIC_LOG": "debug",
    "all_proxy": "http://127.0.0.1:1",
}


@pytest.fixture(autouse=True)
def _answers(provider: ScriptedProvider) -> None:
    provider.always = anthropic_message()


async def test_no_variable_of_the_environment_changes_a_request(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path))
    tmp_path.joinpath("active_config").write_text("foreign")
    for api_key, sent in ((API_KEY, f"Bearer {API_KEY}"), (None, "Bearer none")):
        async with wired(
            "sdk",
            provider.address,
            dialect=Anthropic(provider="x"),
            package="anthropic",
            api_key=api_key,
        ) as wire:
            await wire.complete()
        assert provider.requests[-1].headers["authorization"] == sent
    for request in provider.requests:
        told = repr(request.headers)
        assert "foreign" not in told
        assert "stainless" not in told
        assert "traceparent" not in request.headers
        assert "x-api-key" not in request.headers


async def test_nothing_is_logged_and_nothing_is_sent_twice(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"retry-after-ms": 1, "x-should-retry": "true"}
    provider.always = anthropic_error(529, "overloaded_error", headers=headers)
    async with wired(
        "sdk", provider.address, dialect=Anthropic(provider="x"), package="anthropic"
    ) as wire:
        with pytest.raises(AttemptFailed):
            await wire.complete()
    assert len(provider.requests) == 1
    assert "2 + 2" not in caplog.text
    assert API_KEY not in caplog.text


@pytest.mark.fault("P13")
async def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as sock:
        # Bound and not listening: it refuses.
        sock.bind(("127.0.0.1", 0))
        failed = await failure(f"http://127.0.0.1:{sock.getsockname()[1]}")
    assert (failed.kind, failed.outcome) == ("connect", Outcome.NOT_SENT)


@pytest.mark.fault("P10", "P14")
@pytest.mark.parametrize(
    ("steps", "kind"), [((Hang(),), "timeout"), ((Reset(),), "reset"), ((Close(),), "reset")]
)
async def test_what_happens_after_sending_is_unknown(
    provider: ScriptedProvider, steps: tuple[Step, ...], kind: str
) -> None:
    provider.always = Answer(steps)
    failed = await failure(provider.address)
    assert (failed.kind, failed.outcome) == (kind, Outcome.UNKNOWN)
    assert len(provider.requests) == 1


async def failure(address: str) -> AttemptFailed:
    dialect = Anthropic(provider="x")
    async with wired("sdk", address, dialect=dialect, package="anthropic") as wire:
        with pytest.raises(AttemptFailed) as raised:
            await wire.complete(within_s=1.0)
    return raised.value
