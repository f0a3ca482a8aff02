"""What was said in a call, as the conventions write it into a span: JSON, and cut to a bound.

Used only where the operator has content captured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sutlerd.domain.reply import Reply
from sutlerd.telemetry.spans import MAX_CONTENT_CHARS, MAX_TEXT_CHARS

_MAX_ENTRIES = 64


def said(messages: Iterable[Mapping[str, Any]]) -> str:
    """Write the messages of a request, the last ones if they are many."""
    return _bounded([_message(message) for message in list(messages)[-_MAX_ENTRIES:]])


def told(reply: Reply) -> str:
    parts: list[dict[str, Any]] = []
    if reply.reasoning:
        parts.append({"type": "reasoning", "content": _cut(reply.reasoning)})
    if reply.content:
        parts.append({"type": "text", "content": _cut(reply.content)})
    calls = reply.tool_calls[:_MAX_ENTRIES]
    parts += [_tool_call(call.id, call.name, call.arguments) for call in calls]
    reason = reply.raw_finish_reason or reply.finish_reason
    return _bounded([{"role": "assistant", "parts": parts, "finish_reason": _cut(reason)}])


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    parts: list[dict[str, Any]] = []
    if message.get("role") == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        parts.append({**answer, "response": _cut(str(content))})
    elif isinstance(content, str):
        parts.append({"type": "text", "content": _cut(content)})
    elif isinstance(content, list):
        parts += [_part(part) for part in content[:_MAX_ENTRIES]]
    for call in list(message.get("tool_calls") or ())[:_MAX_ENTRIES]:
        function = call["function"]
        parts.append(_tool_call(call["id"], function["name"], function["arguments"]))
    return {"role": message.get("role"), "parts": parts}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(part.get("text"), str):
        return {"type": "text", "content": _cut(part["text"])}
    return {"type": str(part.get("type"))}  # pictures and sound stay where they are


def _tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": _cut(arguments)}


def _bounded(entries: list[dict[str, Any]]) -> str:
    """Write entries, without the first ones if all together are too long."""
    while True:
        text = orjson.dumps(entries).decode()
        if len(text) <= MAX_CONTENT_CHARS or len(entries) <= 1:
            return text[:MAX_CONTENT_CHARS]
        entries = entries[len(entries) // 2 :]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "…"
