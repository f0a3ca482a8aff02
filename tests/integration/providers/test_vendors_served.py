"""The real daemon in front of Anthropic and OpenAI, by their own packages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract import answers
from tests.contract.answers import Answer
from tests.contract.anthropic_answers import anthropic_message, anthropic_stream, text
from tests.contract.responses_answers import called, openai_response
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess

#: The default model is one of those that are long gone, as in files that people have.
CONFIG = """\
llm:
  default_provider: anthropic
  fallback_providers: [openai]
  providers:
    anthropic:
      base_url: {anthropic}
      api_key: not-a-real-key-1234
      default_model: claude-sonnet-4-20250514
      models: [claude-sonnet-4-20250514, claude-sonnet-5-5]
    openai:
      base_url: {openai}/v1
      api_key: not-a-real-key-5678
      models: [gpt-4o, gpt-5.4-mini]
"""
WEATHER = {"name": "weather", "parameters": {"type": "object"}}


def of_anthropic(request: Received) -> Answer:
    said = f"to {request.json['messages'][-1]['content']}"
    if request.json.get("stream"):
        return anthropic_stream(["to ", said.removeprefix("to ")])
    return anthropic_message(text(said))


def of_openai(request: Received) -> Answer:
    if request.path == "/v1/responses":
        return openai_response(called("c1", "weather", "{}"))
    return answers.openai_chat("from openai")


class Node:
    """A daemon and the vendors behind it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.anthropic = stack.enter_context(ScriptedProvider.in_thread(always=of_anthropic))
        self.openai = stack.enter_context(ScriptedProvider.in_thread(always=of_openai))
        config = CONFIG.format(anthropic=self.anthropic.address, openai=self.openai.address)
        self.daemon = stack.enter_context(DaemonProcess(folder, config=config))


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="st-"))
        yield Node(stack, Path(folder))


@pytest.mark.fault("P8")
def test_a_default_model_that_is_gone_is_left_for_the_next_route_unasked(node: Node) -> None:
    reply = node.daemon.result("chat", prompt="hello")
    assert (reply["content"], reply["provider"]) == ("from openai", "openai")
    outcomes = [attempt["outcome"] for attempt in reply["trace"]["attempts"]]
    assert outcomes == ["model_gone", "ok"]
    assert node.anthropic.requests == []


@pytest.mark.fault("P8")
def test_a_model_that_is_gone_says_when_it_went_and_what_to_ask_for(node: Node) -> None:
    told = node.daemon.ask("chat", prompt="hello", model="claude-sonnet-4-20250514")["error"]
    assert told["data"]["type"] == "provider_error"
    assert told["data"]["retryable"] is False
    assert "was shut down on 2026-06-15; use claude-sonnet-5-5" in told["message"]
    assert node.anthropic.requests == []


def test_claude_answers_and_what_it_does_not_take_is_told(node: Node) -> None:
    asked = {"prompt": "hi", "model": "claude-sonnet-5-5", "temperature": 0.2}
    first = node.daemon.result("chat", **asked)
    again = node.daemon.result("chat", **asked)
    assert (first["content"], first["model"]) == ("to hi", "claude-served")
    assert first["trace"]["dropped"] == ["temperature"]
    assert (first["cached"], again["cached"]) == (False, True)
    assert again["content"] == first["content"]
    assert len(node.anthropic.requests) == 1
    refused = node.daemon.ask("complete", **asked, functions=[WEATHER], function_call="required")
    assert refused["error"]["data"]["type"] == "invalid_params"
    assert "params.function_call: claude-sonnet-5-5" in refused["error"]["message"]


def test_functions_find_their_way_to_the_interface_that_takes_them(node: Node) -> None:
    reply = node.daemon.result(
        "complete", prompt="What is the weather?", model="gpt-5.4-mini", functions=[WEATHER]
    )
    assert reply["finish_reason"] == "tool_calls"
    assert reply["tool_calls"][0]["id"] == "c1"
    assert node.openai.requests[-1].path == "/v1/responses"


def test_there_are_no_embeddings_and_the_error_says_who_has_them(node: Node) -> None:
    told = node.daemon.ask("embed", texts=["a"], provider="anthropic")["error"]
    assert told["data"]["type"] == "invalid_params"
    assert "openai" in told["message"]
