"""Signed thinking through the HTTP side: the provider gets back what it signed, in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx2

from tests.contract import answers
from tests.contract.anthropic_answers import (
    anthropic_message,
    block,
    end,
    given,
    start,
    text,
    thought,
    tool_use,
)
from tests.contract.scripted import ScriptedProvider
from tests.integration.http.rig import HTTP, http_socket
from tests.support.daemon_process import DaemonProcess

THINKING = {"type": "thinking", "thinking": "hm", "signature": "signed"}
HIDDEN = {"type": "redacted_thinking", "data": "only-theirs"}
CALL = tool_use("t1", "weather", place="Bern")
STREAM = answers.stream_answer(
    start()
    + block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        thought("hm"),
        {"type": "signature_delta", "signature": "signed"},
    )
    + block(1, HIDDEN)
    + block(2, tool_use("t1", "weather"), given('{"place": "Bern"}'))
    + end("tool_use")
)


def test_a_tool_loop_with_thinking_hands_back_what_the_provider_signed(folder: Path) -> None:
    with ScriptedProvider.in_thread() as provider:
        scripted = {
            "kind": "anthropic_compatible",
            "base_url": provider.base_url.removesuffix("/v1"),
            "api_key": "sk-scripted-key-of-the-test",
            "default_model": "thinker",
            "models": ["thinker"],
        }
        llm = {"default_provider": "scripted", "providers": {"scripted": scripted}}
        with DaemonProcess(folder, config=json.dumps({"llm": llm, "http": HTTP})) as daemon:
            transport = httpx2.HTTPTransport(uds=str(http_socket(daemon)))
            with anthropic.Anthropic(
                base_url="http://localhost",
                api_key="none-is-needed",
                max_retries=0,
                http_client=httpx2.Client(transport=transport),
            ) as client:
                asked: dict[str, Any] = {
                    "model": "thinker",
                    "max_tokens": 2000,
                    "thinking": {"type": "enabled", "budget_tokens": 1024},
                    "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
                    "messages": [{"role": "user", "content": "sun in Bern?"}],
                }
                provider.queue.append(
                    anthropic_message(THINKING, HIDDEN, CALL, stop_reason="tool_use")
                )
                whole = client.messages.create(**asked)
                assert _given_back(client, provider, asked, whole.content) == [
                    THINKING,
                    HIDDEN,
                    CALL,
                ]
                provider.queue.append(STREAM)
                asked["messages"] = [{"role": "user", "content": "and now?"}]
                with client.messages.stream(**asked) as stream:
                    streamed = stream.get_final_message()
                assert _given_back(client, provider, asked, streamed.content) == [
                    THINKING,
                    HIDDEN,
                    CALL,
                ]


def _given_back(
    client: anthropic.Anthropic, provider: ScriptedProvider, asked: dict[str, Any], said: Any
) -> Any:
    """Give the tool's result, with the whole answer before it; tell what the provider got."""
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    provider.queue.append(anthropic_message(text("It shines.")))
    messages = [
        *asked["messages"],
        {"role": "assistant", "content": said},
        {"role": "user", "content": [result]},
    ]
    reply = client.messages.create(**{**asked, "messages": messages})
    assert reply.content[-1].text == "It shines."
    return provider.requests[-1].json["messages"][1]["content"]
