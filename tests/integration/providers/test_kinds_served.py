"""The real daemon in front of Ollama, of Voyage, and of two servers that are one provider."""

from __future__ import annotations

import base64
import json
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract import answers
from tests.contract.answers import Answer
from tests.contract.scripted import Received, ScriptedProvider
from tests.support.daemon_process import DaemonProcess

CONFIG = """\
llm:
  default_provider: ollama
  max_retries: 1
  providers:
    ollama:
      base_url: {node}
      models: [llama3.2]
      keep_alive: 10m
    voyage:
      base_url: {voyage}/v1
      api_key: not-a-real-key-1234
    servers:
      kind: vllm
      base_url: {one}/v1
      default_model: m
      endpoints:
        - base_url: {two}/v1
    openai:
      api_key: not-a-real-key-5678
      models: [gpt-4o]
"""


def reply(content: str, **fields: Any) -> dict[str, Any]:
    ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3}
    message = {"role": "assistant", "content": content}
    return {"model": "llama3.2", "created_at": "t", "message": message, **ending, **fields}


def of_ollama(request: Received) -> Answer:
    asked = request.json
    prompt = asked["messages"][-1]["content"]
    if "break" in prompt:
        return answers.http_answer({"error": "an error was encountered"})
    if len(prompt) > 10_000:
        return answers.http_answer(reply("nonsense", prompt_eval_count=2048))
    if not asked["stream"]:
        return answers.http_answer(reply(f"to {prompt}"))
    pieces = [reply("to ", done=False), reply(prompt)]
    return answers.stream_answer(*(json.dumps(piece).encode() + b"\n" for piece in pieces))


def of_voyage(request: Received) -> Answer:
    vectors = [struct.pack("<2f", len(text), 1) for text in request.json["input"]]
    data = [
        {"index": place, "embedding": base64.b64encode(vector).decode()}
        for place, vector in enumerate(vectors)
    ]
    usage = {"total_tokens": len(vectors)}
    return answers.http_answer({"data": data, "model": "voyage-4", "usage": usage})


class Node:
    """A daemon and the servers behind it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        always = {"node": of_ollama, "voyage": of_voyage}
        self.servers = {
            name: stack.enter_context(
                ScriptedProvider.in_thread(always=always.get(name, answers.openai_chat(name)))
            )
            for name in ("node", "voyage", "one", "two")
        }
        addresses = {name: server.address for name, server in self.servers.items()}
        config = CONFIG.format(**addresses)
        self.daemon = stack.enter_context(DaemonProcess(folder, config=config))


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="st-"))
        yield Node(stack, Path(folder))


def test_ollama_answers_through_the_daemon_and_from_its_cache(node: Node) -> None:
    first = node.daemon.result("chat", prompt="hello", temperature=0)
    again = node.daemon.result("chat", prompt="hello", temperature=0)
    assert (first["content"], first["provider"], first["model"]) == (
        "to hello",
        "ollama",
        "llama3.2",
    )
    assert (first["cached"], again["cached"]) == (False, True)
    sent = node.servers["node"].requests[0].json
    assert (sent["keep_alive"], sent["truncate"], sent["think"]) == ("10m", False, False)


@pytest.mark.fault("P33")
@pytest.mark.fault("P35")
@pytest.mark.parametrize(
    ("prompt", "error", "tries"),
    [("break", "provider_unavailable", 2), ("word " * 5000, "provider_error", 1)],
)
def test_a_broken_answer_and_one_to_a_cut_prompt_are_errors_and_never_cached(
    node: Node, prompt: str, error: str, tries: int
) -> None:
    server = node.servers["node"]
    for _ in range(2):
        before = len(server.requests)
        told = node.daemon.ask("chat", prompt=prompt, temperature=0)["error"]
        assert told["data"]["type"] == error
        assert len(server.requests) - before == tries


def test_voyage_gives_vectors_and_says_who_has_chat(node: Node) -> None:
    got = node.daemon.result("embed", texts=["a", "bcd"], provider="voyage")
    assert got["embeddings"] == [[1.0, 1.0], [3.0, 1.0]]
    assert (got["dimension"], got["usage"]["prompt_tokens"]) == (2, 2)
    refused = node.daemon.ask("chat", prompt="hi", provider="voyage")["error"]
    assert refused["data"]["type"] == "invalid_params"
    assert "embeddings only" in refused["message"]


def test_two_servers_are_one_provider_and_status_shows_each(node: Node) -> None:
    said = {
        node.daemon.result("chat", prompt=f"{n}", provider="servers", cache="off")["content"]
        for n in range(4)
    }
    assert said == {"one", "two"}
    health = node.daemon.result("status")["providers"]["servers"]
    assert [each["attempts"] for each in health["endpoints"]] == [2, 2]


def test_tokens_are_counted_on_the_node_without_a_network(node: Node) -> None:
    exact = node.daemon.result("count_tokens", text="hello world", model="gpt-4o")
    assert (exact["tokens"], exact["exact"], exact["method"]) == (2, True, "tiktoken:o200k_base")
    about = node.daemon.result("count_tokens", text="hello world", model="llama3.2")
    assert not about["exact"]
