"""A key whose money is used up: asked once, then left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.answers import Answer, openai_chat, openai_error
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess

CONFIG = """\
llm:
  default_provider: broke
  fallback_providers: [{fallback}]
  providers:
    broke:
      kind: openai_compatible
      base_url: {broke}
      api_key: not-a-real-key-1234
      default_model: m
      models: [m]
    other:
      kind: openai_compatible
      base_url: {other}
      api_key: not-a-real-key-5678
      default_model: n
      models: [n]
"""


@pytest.fixture
def broke() -> Iterator[ScriptedProvider]:
    def no_credit(request: Received) -> Answer:
        return openai_error(429, "you have no credit", type="insufficient_quota")

    with ScriptedProvider.in_thread(always=no_credit) as provider:
        yield provider


@pytest.mark.fault("P4")
def test_a_key_without_credit_is_asked_once_and_not_again(
    broke: ScriptedProvider, folder: Path
) -> None:
    config = CONFIG.format(broke=broke.base_url, other=broke.base_url, fallback="")
    with DaemonProcess(folder / "d", config=config) as daemon:
        first = daemon.ask("complete", prompt="one", temperature=1.0)["error"]
        assert (first["data"]["type"], first["data"]["retryable"]) == ("provider_error", False)
        assert len(broke.requests) == 1, "no retry can mend it"
        for number in range(3):
            again = daemon.ask("complete", prompt=f"again {number}", temperature=1.0)["error"]
            assert "broke" in str(again)
        assert len(broke.requests) == 1, "its circuit is open"
        usage = daemon.result("budget")["budgets"]
        assert all(budget["settled_nanousd"] == 0 for budget in usage)
        opened = [line for line in daemon.log().splitlines() if "circuit" in line]
    assert len(opened) == 1, "said once"


@pytest.mark.fault("P4")
def test_a_chain_goes_past_a_key_without_credit(broke: ScriptedProvider, folder: Path) -> None:
    with ScriptedProvider.in_thread(always=openai_chat("here")) as other:
        config = CONFIG.format(broke=broke.base_url, other=other.base_url, fallback="other")
        with DaemonProcess(folder / "d", config=config) as daemon:
            replies = [
                daemon.result("complete", prompt=f"p {number}", temperature=1.0)
                for number in range(4)
            ]
    assert {reply["provider"] for reply in replies} == {"other"}
    assert len(broke.requests) == 1
