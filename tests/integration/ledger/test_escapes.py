"""No parameter escapes the reservation, and prices are those of the time it was made."""

from __future__ import annotations

import json

import pytest

from tests.contract.answers import Answer, Gate, openai_chat
from tests.contract.scripted import ScriptedProvider
from tests.integration.ledger.conftest import NANO_IN, NANO_OUT, Start, configured, ledger_of
from tests.support.wire_client import WireClient

COST = 9 * NANO_IN + 3 * NANO_OUT
ESCAPES = {
    "max_tokens": 9,
    "max_completion_tokens": 9,
    "num_predict": 9,
    "n": 50,
    "best_of": 5,
    "model": "dearer",
    "stream": True,
    "service_tier": "priority",
    "tools": [{"type": "web_search"}],
    "web_search_options": {},
    "modalities": ["audio"],
    "prediction": {"type": "content", "content": "x"},
}


@pytest.mark.fault("X8")
def test_no_parameter_escapes_the_reservation(start: Start, provider: ScriptedProvider) -> None:
    daemon = start(budget={"daily_limit_usd": 1})
    for name, value in ESCAPES.items():
        refused = daemon.ask("chat", prompt="x", extra={name: value})["error"]["data"]
        assert refused["type"] == "invalid_params", name
    assert not provider.requests
    daemon.result("chat", prompt="x")
    sent = provider.requests[-1].json
    assert 100 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    daemon.stop()
    (record,) = ledger_of(daemon).records
    assert record.held.amount_nanousd >= 100 * NANO_OUT + 9 * NANO_IN


@pytest.mark.fault("T8")
def test_prices_that_change_under_way_hold_for_what_comes_after(
    start: Start, provider: ScriptedProvider
) -> None:
    usual = openai_chat()
    provider.always = Answer((Gate("go"), *usual.steps), tokens_in=9, tokens_out=3)
    daemon = start(budget={"daily_limit_usd": 1})
    with WireClient(daemon.socket) as client:
        asked = client.send("chat", prompt="before")
        provider.wait_until(lambda: len(provider.requests) == 1)
        dearer = {"test-model": {"input_usd": 10, "output_usd": 20}}
        text = configured(provider, budget={"daily_limit_usd": 1}, prices=dearer)
        assert json.loads(text)
        (daemon.folder / "sutler.yaml").write_text(text)
        assert daemon.result("reload")["applied"]
        provider.open("go")
        assert client.final(asked)[1]["result"]["cost_nanousd"] == COST
        assert client.result("chat", prompt="after")["cost_nanousd"] == 10 * COST
    daemon.stop()
    before, after = ledger_of(daemon).records
    assert before.held.prices != after.held.prices
    assert before.held.prices


def test_a_check_of_the_providers_is_paid_like_any_call(
    start: Start, provider: ScriptedProvider
) -> None:
    daemon = start(budget={"daily_limit_usd": 1})
    checks = daemon.result("providers.check")["checks"]
    paid = sum(row["cost_nanousd"] or 0 for row in checks)
    daemon.stop()
    ledger = ledger_of(daemon)
    assert 0 < paid == ledger.settled()
    assert {each.held.component for each in ledger.records} == {"providers.check"}
