"""A late first route and a second one asked beside it, by the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import sutler
from sutlerd.app import LEDGER
from tests.contract import answers
from tests.contract.answers import Answer, openai_chat, openai_stream
from tests.integration.main_job.test_fallback import Node, outcomes
from tests.support.ledger_file import read_ledger
from tests.support.wire_client import WireClient

LEARNED = 20


@pytest.fixture
def node() -> Iterator[Node]:
    with ExitStack() as stack:
        hedging = "hedging: {enabled: true}\n  retry: {budget_floor_per_minute: 1000}"
        yield Node(stack, hedging)


def learn(node: Node, *, stream: bool = False) -> None:
    for number in range(LEARNED):
        node.daemon.result("chat", prompt=f"learn {number}", stream=stream)


def late(*answered: Answer) -> Answer:
    steps = [step for answer in answered for step in answer.steps]
    return Answer((answers.Gate("never"), *steps))


def test_a_late_answer_is_overtaken_by_the_next_route_and_cut(node: Node) -> None:
    learn(node)
    assert node.asked() == [LEARNED, 0, 0]
    node["first"].always = late(openai_chat("by first"))
    reply = node.daemon.result("chat", prompt="hi")
    assert reply["content"] == "by second"
    assert outcomes(reply["trace"]["attempts"]) == [
        ("first", "small", "cut"),
        ("second", "small", "ok"),
    ]
    node["first"].wait_until(lambda: node["first"].hangups == 1)
    levels = node.daemon.result("status")["buckets"]
    assert all(level["in_flight"] == 0 for level in levels)


def test_a_call_that_never_falls_back_is_never_sent_twice(node: Node) -> None:
    learn(node)
    node["first"].always = late(openai_chat("by first"))
    with sutler.Client(str(node.daemon.socket)) as client, pytest.raises(sutler.Timeout):
        client.chat("hi", labels={"component": "safety"}, timeout_s=3)
    assert node.asked()[1:] == [0, 0]


def test_a_silent_stream_is_overtaken(node: Node) -> None:
    node["first"].always = openai_stream(["by ", "first"])
    node["second"].always = openai_stream(["by ", "second"])
    learn(node, stream=True)
    node["first"].always = late(openai_stream(["by ", "first"]))
    with sutler.Client(str(node.daemon.socket)) as client:
        pieces = [chunk.content for chunk in client.stream("silent")]
    assert pieces == ["by ", "second"]


def test_an_attempt_that_everybody_left_is_drained_though_its_rival_has_ended() -> None:
    """Who beats, or only outlasts, the other attempt is still one that costs money."""
    with ExitStack() as stack:
        prices = "{small: {input_usd: 1, output_usd: 2}, large: {input_usd: 1, output_usd: 2}}"
        hedging = (
            "hedging: {enabled: true}\n  retry: {budget_floor_per_minute: 1000}\n"
            f"  budget: {{daily_limit_usd: 1}}\n  prices: {prices}"
        )
        node = Node(stack, hedging)
        for name in ("first", "second"):
            node[name].always = openai_chat(f"by {name}", model="small")
        learn(node)
        node["first"].always = Answer(
            (answers.Gate("go"), *openai_chat("late", model="small").steps)
        )
        node["second"].always = answers.openai_error(400, "not like this")
        with WireClient(node.daemon.socket) as client:
            asked = client.send("chat", prompt="left alone")
            node["second"].wait_until(lambda: len(node["second"].requests) == 1)
            while len(levels_in_flight(node)) > 1:
                pass
            client.send("cancel", id=asked)
            assert {client.line()["id"], client.line()["id"]} == {asked, asked + 1}
        node["first"].open("go")
        while node.daemon.result("status")["process"]["flights"]:
            pass
        assert node["first"].hangups == 0
        node.daemon.stop()
        records = read_ledger(node.daemon.folder / "state" / LEDGER).records
        (drained,) = [each for each in records if each.held.provider == "first"][LEARNED:]
        assert drained.why is None
        assert drained.cost_nanousd < drained.held.amount_nanousd


def levels_in_flight(node: Node) -> list[str]:
    levels = node.daemon.result("status")["buckets"]
    return [level["boundary"] for level in levels if level["in_flight"]]
