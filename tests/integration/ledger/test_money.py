"""The real daemon and a provider that bills: what may be spent, what was, what is refused."""

from __future__ import annotations

import pytest

from tests.contract.answers import Answer, Gate, Reset, openai_chat, openai_error
from tests.contract.scripted import ScriptedProvider
from tests.integration.ledger.conftest import NANO_IN, NANO_OUT, Start, ledger_of
from tests.support.wire_client import WireClient

COST = 9 * NANO_IN + 3 * NANO_OUT
USD = 10**9


def gated(name: str) -> Answer:
    """The usual answer, after a gate."""
    usual = openai_chat()
    return Answer((Gate(name), *usual.steps), tokens_in=usual.tokens_in, tokens_out=3)


def test_a_budget_ends_the_spending_and_nothing_that_is_free(
    start: Start, provider: ScriptedProvider
) -> None:
    daemon = start(budget={"daily_limit_usd": 0.002})
    answered = 0
    while "result" in (reply := daemon.ask("chat", prompt=f"q{answered}")):
        answered += 1
        assert reply["result"]["cost_nanousd"] == COST
    refusal = reply["error"]["data"]
    assert refusal["type"] == "budget_exceeded"
    assert refusal["budget"] == "daily"
    assert refusal["limit_nanousd"] == 2_000_000
    assert refusal["settled_nanousd"] == answered * COST
    assert refusal["pending_nanousd"] == 0
    assert refusal["settled_nanousd"] + refusal["needed_nanousd"] > 2_000_000
    assert refusal["resets_at"].endswith("T00:00:00+00:00")
    assert len(provider.bill) == answered
    assert daemon.result("chat", prompt="q0")["cached"]
    assert daemon.stop() == 0
    ledger = ledger_of(daemon)
    assert ledger.settled() == answered * COST
    assert ledger.is_consistent()
    assert not ledger.open
    daemon.start()
    assert daemon.ask("chat", prompt="new")["error"]["data"]["settled_nanousd"] == answered * COST


@pytest.mark.fault("P32")
def test_a_model_without_a_price_is_refused_while_a_budget_is_on(
    start: Start, provider: ScriptedProvider
) -> None:
    daemon = start(budget={"daily_limit_usd": 1})
    refused = daemon.ask("chat", prompt="x", model="unpriced", provider="scripted")["error"]
    assert refused["data"]["type"] == "price_unknown"
    assert not provider.requests
    provider.always = openai_chat(model="unheard-of")
    full = daemon.result("chat", prompt="served by another model that nobody has priced")
    assert full["cost_nanousd"] > COST
    assert full["model"] == "unheard-of"
    daemon.stop()
    (record,) = ledger_of(daemon).records
    assert (record.why, record.cost_nanousd) == ("charged_in_full", full["cost_nanousd"])
    allowed = start(budget={"daily_limit_usd": 1, "unknown_price": "allow"})
    answer = allowed.result("chat", prompt="x", model="unpriced", provider="scripted")
    assert answer["cost_nanousd"] is None
    # Who serves it has a price: that is booked, and held from the second time on.
    provider.always = openai_chat(model="test-model")
    unpriced = {"model": "unpriced", "provider": "scripted"}
    for prompt in ("a", "b", "c"):
        assert allowed.result("chat", prompt=prompt, **unpriced)["cost_nanousd"] == COST
    allowed.stop()
    assert "overrun" not in allowed.log()
    later = ledger_of(allowed).records[1:]
    assert [each.cost_nanousd for each in later] == [COST] * 3
    assert [each.held.amount_nanousd > COST for each in later] == [False, True, True]
    again = start(budget={"daily_limit_usd": 1})
    refused = again.ask("chat", prompt="d", **unpriced)["error"]["data"]
    assert refused["type"] == "price_unknown", "what served once promises nothing"


@pytest.mark.fault("P32")
def test_another_served_model_is_settled_at_the_dearer_price(
    start: Start, provider: ScriptedProvider
) -> None:
    prices = {
        "test-model": {"input_usd": 1, "output_usd": 2},
        "cheap": {"input_usd": "0.1", "output_usd": "0.1"},
        "dear": {"input_usd": 1, "output_usd": 3},
    }
    prices = {m: {k: float(v) for k, v in p.items()} for m, p in prices.items()}
    daemon = start(prices=prices, budget={"daily_limit_usd": 1})
    for served, cost in (("cheap", COST), ("dear", COST + 3 * 1000)):
        provider.always = openai_chat(model=served)
        answer = daemon.result("chat", prompt=served)
        assert (answer["model"], answer["cost_nanousd"]) == (served, cost)


@pytest.mark.fault("S10")
def test_an_id_under_way_at_a_kill_is_of_unknown_outcome_and_charged_in_full(
    start: Start, provider: ScriptedProvider
) -> None:
    provider.always = gated("never")
    daemon = start(budget={"daily_limit_usd": 1})
    with WireClient(daemon.socket) as client:
        client.send("chat", prompt="x", request_id="mine")
        client.send("chat", prompt="y")
        provider.wait_until(lambda: len(provider.requests) == 2)
        daemon.kill()
    ledger = ledger_of(daemon)
    held = ledger.held()
    assert len(ledger.open) == 2
    provider.always = openai_chat()
    for _ in range(2):
        daemon.start()
        refused = daemon.ask("chat", prompt="x", request_id="mine")["error"]["data"]
        assert refused["type"] == "outcome_unknown"
        daemon.kill()
        ledger = ledger_of(daemon)
        assert (ledger.settled(), ledger.open, len(ledger.unknown)) == (held, [], 2)
    daemon.start()
    assert daemon.result("chat", prompt="x", request_id="another")["cost_nanousd"] == COST


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("on_disconnect", ["drain", "cancel"])
def test_an_answer_that_everybody_left_is_paid_for(
    start: Start, provider: ScriptedProvider, on_disconnect: str, stream: bool
) -> None:
    provider.always = gated("go")
    daemon = start(budget={"daily_limit_usd": 1}, ledger={"on_disconnect": on_disconnect})
    with WireClient(daemon.socket) as client:
        client.send("chat", prompt="x", stream=stream)
        provider.wait_until(lambda: len(provider.requests) == 1)
    with WireClient(daemon.socket) as client:
        if on_disconnect == "cancel":
            provider.wait_until(lambda: provider.hangups == 1)
        provider.open("go")
        while client.result("status")["process"]["flights"]:
            pass
    daemon.stop()
    (record,) = ledger_of(daemon).records
    if on_disconnect == "drain":
        assert (record.why, record.cost_nanousd) == (None, COST)
    else:
        assert (record.why, record.cost_nanousd) == ("charged_in_full", record.held.amount_nanousd)


def test_each_way_an_attempt_ends_is_booked_as_what_it_is(
    start: Start, provider: ScriptedProvider
) -> None:
    daemon = start(budget={"daily_limit_usd": 1})
    provider.queue.extend(
        [openai_error(400, "bad"), openai_chat(), Answer((Reset(),), tokens_in=9, tokens_out=3)]
    )
    for prompt in ("refused", "answered", "reset after it was sent"):
        daemon.ask("chat", prompt=prompt)
    provider.port, port = 1, provider.port  # nothing listens there
    daemon.stop()
    provider.port = port
    ends = [(each.why, each.cost_nanousd) for each in ledger_of(daemon).records]
    held = ledger_of(daemon).records[-1].held.amount_nanousd
    assert ends == [("not_billed", 0), (None, COST), ("charged_in_full", held)]


def test_waiting_for_money_ends_when_what_is_open_settles(
    start: Start, provider: ScriptedProvider
) -> None:
    # Room for one reservation at a time, and for many settlements.
    daemon = start(budget={"daily_limit_usd": 0.0006})
    with WireClient(daemon.socket) as client:
        ids = [client.send("chat", prompt=f"question {number}") for number in range(8)]
        finals = {}
        while len(finals) < len(ids):
            line = client.line()
            finals[line["id"]] = line
    assert all("result" in line for line in finals.values())
    daemon.stop()
    assert ledger_of(daemon).settled() == 8 * COST
