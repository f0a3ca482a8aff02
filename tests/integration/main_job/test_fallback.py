"""Chains of routes in front of real bytes: who is asked, who answers, who is left alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import sutler
from tests.contract import answers
from tests.contract.answers import Answer, openai_chat, openai_error, openai_stream
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess

NAMES = ("first", "second", "third")
CONFIG = """\
llm:
  default_provider: first
  fallback_providers: [second, third]
  fallback_models: {{third: large}}
  never_fall_back: [safety]
  max_retries: 2
  {llm}
  aliases: {{safety: first/small}}
  providers:
"""
PROVIDER = """\
    {name}:
      kind: openai_compatible
      base_url: {base_url}
      api_key: not-a-real-key-{name}
      default_model: small
      models: [small, large]
"""


class Node:
    """A daemon with three providers; each says its own name until it is told otherwise."""

    def __init__(self, stack: ExitStack, llm: str = "") -> None:
        self.providers = {
            name: stack.enter_context(ScriptedProvider.in_thread(always=openai_chat(f"by {name}")))
            for name in NAMES
        }
        config = CONFIG.format(llm=llm)
        for name, provider in self.providers.items():
            config += PROVIDER.format(name=name, base_url=provider.base_url)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="st-")))
        self.daemon = stack.enter_context(DaemonProcess(self.folder, config=config))

    def __getitem__(self, name: str) -> ScriptedProvider:
        return self.providers[name]

    def asked(self) -> list[int]:
        return [len(provider.requests) for provider in self.providers.values()]

    def fails(self, method: str = "chat", **params: Any) -> dict[str, Any]:
        error: dict[str, Any] = self.daemon.ask(method, **params)["error"]
        return error

    def circuit(self, name: str, model: str | None = None) -> dict[str, Any]:
        rows = self.daemon.result("status")["circuits"]
        (row,) = [row for row in rows if (row["provider"], row["model"]) == (name, model)]
        return dict(row)


@pytest.fixture
def node() -> Iterator[Node]:
    with ExitStack() as stack:
        yield Node(stack)


def outcomes(attempts: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["provider"], each["model"], each["outcome"]) for each in attempts]


@pytest.mark.fault("P9")
def test_fallback_chain(node: Node) -> None:
    node["first"].always = openai_error(503, "down")
    node["second"].always = openai_error(500, "broken")
    reply = node.daemon.result("chat", prompt="hi")
    assert (reply["content"], reply["provider"]) == ("by third", "third")
    assert outcomes(reply["trace"]["attempts"]) == [
        ("first", "small", "http_503"),
        ("second", "small", "http_500"),
        ("third", "large", "ok"),
    ]
    # Nobody was sent another provider's model, and the answer is stored under who gave it.
    assert node["third"].requests[0].json["model"] == "large"
    assert node.daemon.result("chat", prompt="hi", model="third/large")["cached"]
    assert not node.daemon.result("chat", prompt="hi", model="third/small")["cached"]
    node["first"].always = openai_chat("by first")
    again = node.daemon.result("chat", prompt="hi")
    assert (again["content"], again["cached"]) == ("by first", False)


def test_an_answer_that_a_chain_has_fallen_back_to_is_found_when_it_does_so_again(
    node: Node,
) -> None:
    node["first"].always = openai_error(503, "down")
    given = node.daemon.result("chat", prompt="hi")
    assert (given["provider"], given["cached"]) == ("second", False)
    again = node.daemon.result("chat", prompt="hi")
    assert (again["content"], again["provider"], again["cached"]) == ("by second", "second", True)
    assert again["cost_nanousd"] == 0
    assert node.asked() == [2, 1, 0]
    with sutler.Client(str(node.daemon.socket)) as client:
        pieces = list(client.stream("hi", fallback=True, model="first"))
        assert "".join(piece.content for piece in pieces) == "by second"
    assert node.asked() == [3, 1, 0]
    # Who reads nothing that is stored, or wants another sample, is given a new one.
    assert not node.daemon.result("chat", prompt="hi", cache="write_only")["cached"]
    assert not node.daemon.result("chat", prompt="hi", sample=1)["cached"]
    assert node.asked()[1] == 3


def test_client_fallback(node: Node) -> None:
    node["first"].always = openai_error(503, "down")
    with sutler.Client(str(node.daemon.socket)) as client:
        reply = client.complete("hi")
        assert (reply.content, reply.provider) == ("by second", "second")
        assert [attempt["outcome"] for attempt in reply.trace["attempts"]] == ["http_503", "ok"]
        with pytest.raises(sutler.ProviderUnavailable) as alone:
            client.complete("hi", fallback=False, timeout_s=5)
        assert {row["provider"] for row in alone.value.data["attempts"]} == {"first"}
        named = client.complete("hi", model="first/large", fallback=["third/small"])
        assert (named.content, named.model) == ("by third", "test-model")
        assert client.complete("hi", model="first/large", fallback=True).provider == "second"
        with pytest.raises(sutler.ProviderUnavailable):
            client.complete("hi", model="first/large", timeout_s=5)
        node["second"].always = openai_stream(["by ", "second"])
        pieces = [chunk.content for chunk in client.stream("hello")]
        assert pieces == ["by ", "second"]


@pytest.mark.fault("P6")
def test_what_no_other_provider_mends_is_told_at_once(node: Node) -> None:
    node["first"].always = openai_error(400, "temperature is not supported")
    told = node.fails(prompt="hi")
    assert (told["data"]["type"], told["data"]["retryable"]) == ("provider_error", False)
    assert node.asked() == [1, 0, 0]
    for _ in range(20):
        node.fails(prompt="hi")
    assert node.circuit("first")["state"] == "closed"
    assert node.circuit("first")["failures"] == 0


def test_a_class_that_never_falls_back_does_not_whatever_the_call_says(node: Node) -> None:
    node["first"].always = openai_error(503, "down")
    for params in ({"labels": {"component": "safety"}}, {"model": "safety"}):
        told = node.fails(prompt="hi", fallback=["second", "third"], **params)
        assert told["data"]["type"] == "provider_unavailable"
    assert node.asked()[1:] == [0, 0]
    other = node.daemon.result("chat", prompt="hi", labels={"component": "planner"})
    assert other["provider"] == "second"


def test_a_call_that_never_falls_back_joins_none_that_may(node: Node) -> None:
    down = openai_error(503, "down")
    node["first"].always = Answer((answers.Gate("asked"), *down.steps))
    told: dict[str, dict[str, Any]] = {}

    def ask(component: str) -> None:
        labels = {"component": component}
        told[component] = node.daemon.ask("chat", prompt="hi", labels=labels)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("planner", "safety")]
    for number, thread in enumerate(threads, 1):
        thread.start()
        node["first"].wait_until(lambda asked=number: len(node["first"].requests) == asked)
    node["first"].open("asked")
    for thread in threads:
        thread.join()
    assert told["planner"]["result"]["provider"] == "second"
    assert told["safety"]["error"]["data"]["type"] == "provider_unavailable"


@pytest.mark.fault("P7")
def test_a_refused_key_closes_its_circuit_and_is_not_asked_again(node: Node) -> None:
    node["first"].always = openai_error(401, "Incorrect API key provided: not-a-real-key-first")
    for number in range(3):
        assert node.daemon.result("chat", prompt=f"q {number}")["provider"] == "second"
    assert node.asked() == [1, 3, 0]
    told = node.fails(prompt="hi", provider="first")
    assert (told["data"]["type"], told["data"]["retryable"]) == ("provider_error", False)
    assert 3500 < told["data"]["retry_after_s"] <= 3600
    assert outcomes(told["data"]["attempts"]) == [("first", "small", "circuit_open")]
    row = node.circuit("first")
    assert (row["state"], row["model"]) == ("open", None)
    shown = subprocess.run(
        [sys.executable, "-m", "sutler", "--socket", str(node.daemon.socket), "status"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "circuits" in shown
    assert "no" in [(row["available"] and "yes") or "no" for row in _models(node, "first")]
    alerts = [line for line in node.daemon.log().splitlines() if "circuit_open" in line]
    assert len(alerts) == 1
    for text in (shown, str(told), node.daemon.log()):
        assert "not-a-real-key" not in text
    # An operator who has mended the key says so by trying it.
    node["first"].always = openai_chat("by first")
    node.daemon.result("providers.check", names=["first"])
    assert node.daemon.result("chat", prompt="q 4")["provider"] == "first"


def _models(node: Node, provider: str) -> list[dict[str, Any]]:
    models = node.daemon.result("models")["models"]
    return [row for row in models if row["provider"] == provider]


@pytest.mark.fault("P8")
def test_a_model_that_is_not_there_is_closed_and_the_others_go_on(node: Node) -> None:
    def only_large(request: Received) -> Answer:
        if request.json["model"] == "large":
            return openai_chat("large")
        return openai_error(404, "no such model", code="model_not_found")

    node["first"].always = only_large
    told = node.fails(prompt="hi", model="first/small")
    assert told["data"]["type"] == "provider_error"
    assert "large is served there" in told["message"]
    again = node.fails(prompt="hi", model="first/small")
    assert (again["data"]["type"], again["data"]["retryable"]) == ("provider_error", False)
    assert again["data"]["retry_after_s"] is None
    assert "large is served there" in again["message"]
    assert node.asked() == [1, 0, 0]
    assert {row["id"]: row["available"] for row in _models(node, "first")} == {
        "small": False,
        "large": True,
    }
    assert node.daemon.result("chat", prompt="hi", model="first/large")["content"] == "large"
    assert node.daemon.result("chat", prompt="hi")["provider"] == "second"


@pytest.mark.fault("P9")
def test_what_may_have_been_billed_is_tried_again_only_if_the_operator_lets_it() -> None:
    with ExitStack() as stack:
        node = Node(stack, "retry: {retry_after_sent: false}")
        node["first"].always = Answer((answers.Reset(),))
        told = node.fails(prompt="hi")
        assert told["data"]["type"] == "provider_unavailable"
        assert outcomes(told["data"]["attempts"]) == [("first", "small", "reset")]
        assert node.asked() == [1, 0, 0]


@pytest.mark.fault("P14")
def test_a_reset_after_sending_is_tried_once_more(node: Node) -> None:
    node["first"].queue.append(Answer((answers.Reset(),)))
    reply = node.daemon.result("chat", prompt="hi", provider="first")
    assert reply["content"] == "by first"
    assert [row["outcome"] for row in reply["trace"]["attempts"]] == ["reset", "ok"]


@pytest.mark.fault("P9")
def test_retries_stop_when_their_budget_is_spent() -> None:
    with ExitStack() as stack:
        node = Node(stack, "retry: {budget_pct: 0, budget_floor_per_minute: 2}")
        node["first"].always = openai_error(500, "broken")
        asked = []
        for number in range(4):
            node.fails(prompt=f"q {number}", provider="first")
            asked.append(node.asked()[0])
        assert asked == [3, 4, 5, 6]


@pytest.mark.fault("P28")
def test_an_endpoint_that_fails_too_often_is_left_alone_and_says_until_when() -> None:
    with ExitStack() as stack:
        node = Node(stack, "circuit: {least_calls: 4}")
        node["first"].always = openai_error(500, "broken")
        while node.asked()[0] < 4:
            node.fails(prompt="hi", provider="first")
        told = node.fails(prompt="hi", provider="first")
        assert told["data"]["type"] == "provider_unavailable"
        assert told["data"]["retryable"]
        assert 0 < told["data"]["retry_after_s"] <= 2
        assert node.asked()[0] == 4
        assert node.circuit("first", "small")["state"] == "open"
        reply = node.daemon.result("chat", prompt="hi")
        assert outcomes(reply["trace"]["attempts"])[0] == ("first", "small", "circuit_open")
        # It comes back by itself: one probe, and all is well.
        node["first"].always = openai_chat("by first")
        for number in range(200):
            reply = node.daemon.result("chat", prompt=f"again {number}")
            if reply["provider"] == "first":
                break
            time.sleep(0.05)
        assert reply["provider"] == "first"
        assert node.asked()[0] == 5
