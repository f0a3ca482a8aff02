"""No parameter escapes the reservation, and prices are those of the time it was made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.answers import Answer, Close, Gate, openai_chat
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


#: What only some wires have; the fields above are refused before any wire is looked at.
OF_ONE_WIRE = {
    "openai_compatible": ("plugins", "search_parameters", "background", "audio", "store"),
    "anthropic_compatible": ("inference_geo", "mcp_servers", "container", "cache_control"),
    "ollama": ("keep_alive", "raw", "template"),
}
TOP_LEVEL = {
    "n": 50,
    "best_of": 5,
    "num_predict": 9,
    "service_tier": "priority",
    "tools": [{"type": "web_search"}],
    "functions": [{"type": "web_search_20250305", "name": "web_search"}],
    "max_tokens": -1,
    "max_completion_tokens": 0,
}


@pytest.mark.fault("X8")
def test_no_wire_has_a_parameter_that_escapes(start: Start, provider: ScriptedProvider) -> None:
    providers = {
        kind: {"kind": kind, "base_url": provider.address, "default_model": "m", "models": ["m"]}
        for kind in OF_ONE_WIRE
    }
    daemon = start(
        providers=providers,
        default_provider="openai_compatible",
        prices={"m": {"input_usd": 1, "output_usd": 2}},
        budget={"daily_limit_usd": 1},
    )
    with WireClient(daemon.socket) as client:

        def refused(**params: Any) -> str:
            reply = client.ask("chat", prompt="x", **params)
            return str(reply["error"]["data"]["type"]) if "error" in reply else "answered"

        for kind, names in OF_ONE_WIRE.items():
            for name in (*ESCAPES, *names):
                kinds = {refused(provider=kind, extra={name: ESCAPES.get(name, "x")})}
                assert kinds == {"invalid_params"}, (kind, name)
        for name, value in TOP_LEVEL.items():
            assert refused(**{name: value}) == "invalid_params", name
        assert not provider.requests
        # A length that is given is what is held, by either name of it.
        client.result("chat", prompt="x", max_completion_tokens=7)
        client.result("chat", prompt="x", max_tokens=70)
    daemon.stop()
    short, long = (record.held.amount_nanousd for record in ledger_of(daemon).records)
    assert long - short == (70 - 7) * NANO_OUT


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
    # One that is broken off is charged in full, and said so.
    provider.always = Answer((Close(),), tokens_in=9, tokens_out=3)
    broken = daemon.result("providers.check")["checks"]
    charged = [row["cost_nanousd"] for row in broken if row["verdict"] == "failed"]
    assert charged and all(charged)
    paid = sum(row["cost_nanousd"] or 0 for row in [*checks, *broken])
    daemon.stop()
    ledger = ledger_of(daemon)
    assert 0 < paid == ledger.settled()
    assert {each.held.component for each in ledger.records} == {"providers.check"}
