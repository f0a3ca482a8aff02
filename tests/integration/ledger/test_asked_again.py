"""A request asked again under its id is paid for once, whoever left, joined or was killed."""

from __future__ import annotations

import shutil

import pytest

from tests.contract.answers import Answer, Gate, openai_chat, openai_embeddings
from tests.contract.scripted import ScriptedProvider
from tests.integration.ledger.conftest import NANO_IN, NANO_OUT, Start, ledger_of
from tests.support.wire_client import WireClient, request_line

COST = 9 * NANO_IN + 3 * NANO_OUT


def gated(name: str) -> Answer:
    usual = openai_chat()
    return Answer((Gate(name), *usual.steps), tokens_in=usual.tokens_in, tokens_out=3)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_asked_again_while_it_is_drained_is_not_bought_twice(
    start: Start, provider: ScriptedProvider, stream: bool
) -> None:
    provider.always = gated("go")
    daemon = start(budget={"daily_limit_usd": 1})
    asked = {"prompt": "x", "request_id": "mine", "cache": "off", "stream": stream}
    with WireClient(daemon.socket) as client:
        left = client.send("chat", **asked)
        provider.wait_until(lambda: len(provider.requests) == 1)
        client.send("cancel", id=left)
        assert {client.line()["id"], client.line()["id"]} == {left, left + 1}
        again = client.send("chat", **asked)
        assert client.result("ping") == {}
        provider.open("go")
        answer = client.final(again)[1]["result"]
        assert (answer["coalesced"], answer["cost_nanousd"]) == (True, 0)
        assert client.result("status")["process"]["request_ids_under_way"] == 0
    assert len(provider.requests) == 1
    daemon.stop()
    assert ledger_of(daemon).settled() == COST


@pytest.mark.fault("S10")
def test_the_ids_of_all_that_shared_a_call_at_a_kill_are_of_unknown_outcome(
    start: Start, provider: ScriptedProvider
) -> None:
    provider.always = gated("never")
    daemon = start(budget={"daily_limit_usd": 1})
    with WireClient(daemon.socket) as client:
        client.send("chat", prompt="x")  # which has no id of its caller's own
        client.send("chat", prompt="x", request_id="before-it-was-sent")
        provider.wait_until(lambda: len(provider.requests) == 1)
        client.send("chat", prompt="x", request_id="after-it-was-sent")
        # What was queued for the disk before this reservation is there with it.
        client.send("chat", prompt="y", request_id="another")
        provider.wait_until(lambda: len(provider.requests) == 2)
        daemon.kill()
    provider.always = openai_chat()
    for ends in (daemon.kill, daemon.stop):
        daemon.start()
        for name in ("before-it-was-sent", "after-it-was-sent"):
            refused = daemon.ask("chat", prompt="x", request_id=name)["error"]["data"]
            assert refused["type"] == "outcome_unknown", name
        ends()
    daemon.start()
    assert daemon.result("chat", prompt="x", request_id="new")["cost_nanousd"] == COST


@pytest.mark.fault("S10")
def test_an_id_that_was_refused_is_not_of_unknown_outcome_because_another_went_on(
    start: Start, provider: ScriptedProvider
) -> None:
    provider.always = gated("never")
    rules = [{"name": "poor", "per": "component", "match": "poor", "period": "day", "limit_usd": 0}]
    daemon = start(budget={"daily_limit_usd": 1, "rules": rules})
    poor = {"prompt": "x", "labels": {"component": "poor"}}
    rich = {"prompt": "x", "labels": {"component": "rich"}}
    with WireClient(daemon.socket) as client:
        lines = [
            request_line("chat", "opens", request_id="opens", **poor),
            request_line("chat", "follows", request_id="follows", **rich),
            request_line("chat", "too", request_id="too", **rich),
        ]
        client.send_raw(b"".join(lines))
        assert client.line()["error"]["data"]["type"] == "budget_exceeded"
        provider.wait_until(lambda: len(provider.requests) == 1)
        assert client.result("status")["process"]["request_ids_under_way"] == 2
        daemon.kill()
    daemon.start()
    for name, asked, outcome in (
        ("opens", poor, "budget_exceeded"),
        ("follows", rich, "outcome_unknown"),
        ("too", rich, "outcome_unknown"),
    ):
        refused = daemon.ask("chat", request_id=name, **asked)["error"]["data"]
        assert refused["type"] == outcome, name


@pytest.mark.fault("S10")
def test_an_answer_lost_in_a_crash_is_not_bought_again_after_clean_restarts_either(
    start: Start, provider: ScriptedProvider
) -> None:
    daemon = start(budget={"daily_limit_usd": 1})
    assert daemon.result("chat", prompt="x", request_id="mine")["cost_nanousd"] == COST
    daemon.kill()
    shutil.rmtree(daemon.folder / "cache")
    for _ in range(2):
        daemon.start()
        refused = daemon.ask("chat", prompt="x", request_id="mine")["error"]["data"]
        assert refused["type"] == "outcome_unknown"
        assert daemon.stop() == 0
    assert len(provider.requests) == 1


@pytest.mark.fault("S10")
def test_who_asks_the_same_as_a_request_of_unknown_outcome_buys_for_itself(
    start: Start, provider: ScriptedProvider
) -> None:
    provider.always = lambda request: (
        openai_embeddings([[1.0]]) if request.path.endswith("/embeddings") else openai_chat()
    )
    daemon = start(embeds=True, budget={"daily_limit_usd": 1})
    daemon.result("chat", prompt="x", request_id="mine")
    daemon.result("embed", texts=["x"], request_id="my-texts")
    daemon.kill()
    shutil.rmtree(daemon.folder / "cache")
    daemon.start()
    with WireClient(daemon.socket) as client:
        for method, asked, name in (
            ("chat", {"prompt": "x"}, "mine"),
            ("embed", {"texts": ["x"]}, "my-texts"),
        ):
            doubted = request_line(method, f"{method} doubted", request_id=name, **asked)
            others = [request_line(method, f"{method} {n}", **asked) for n in "ab"]
            client.send_raw(b"".join([doubted, *others]))
            lines = {line["id"]: line for line in (client.line(), client.line(), client.line())}
            refused = lines[f"{method} doubted"]["error"]["data"]
            assert refused["type"] == "outcome_unknown"
            first, second = (lines[f"{method} {n}"]["result"] for n in "ab")
            assert first["cost_nanousd"] > 0 == second["cost_nanousd"]
    assert len(provider.requests) == 4


@pytest.mark.fault("P32")
def test_a_model_that_should_be_free_and_is_billed_as_another_is_in_the_budget(
    start: Start, provider: ScriptedProvider
) -> None:
    prices = {
        "test-model": {"input_usd": 0, "output_usd": 0},
        "dear": {"input_usd": 1, "output_usd": 2},
    }
    limited = {"prices": prices, "budget": {"daily_limit_usd": 0.0006}}
    daemon = start(**limited)
    assert daemon.result("chat", prompt="free indeed")["cost_nanousd"] == 0
    provider.always = openai_chat(model="dear")
    assert daemon.result("chat", prompt="a")["cost_nanousd"] == COST
    daemon.stop()
    ledger = ledger_of(daemon)
    assert (ledger.settled(), ledger.is_consistent()) == (COST, True)
    assert [each.held.amount_nanousd for each in ledger.records] == [0]
    daemon.start()
    answered = 1
    while "result" in (reply := daemon.ask("chat", prompt=f"b{answered}")):
        answered += 1
    # From the second one on the price of what may serve is held: the budget is kept.
    assert reply["error"]["data"]["type"] == "budget_exceeded"
    daemon.stop()
    ledger = ledger_of(daemon)
    assert ledger.settled() == answered * COST <= 600_000
    assert ledger.records[-1].held.amount_nanousd > COST
    assert ledger.is_consistent()
