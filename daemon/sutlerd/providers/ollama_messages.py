"""Messages in Ollama's spelling: flat text, images in base64, arguments as objects. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.domain.errors import InvalidParams

_IMAGE = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_ROLES = {"developer": "system", "function": "tool"}


def spell_messages(
    messages: Sequence[Mapping[str, Any]], dropped: list[str]
) -> list[dict[str, Any]]:
    """Spell all; raise ``InvalidParams`` for what this wire cannot carry."""
    problems: list[str] = []
    names: dict[str, str] = {}
    spelt = [
        _spell(message, f"params.messages[{place}]", names, dropped, problems)
        for place, message in enumerate(messages)
    ]
    if problems:
        raise InvalidParams(problems)
    return spelt


def instruct(messages: list[dict[str, Any]], text: str) -> None:
    """Add to the first instruction, or put one in front."""
    if messages and messages[0]["role"] == "system":
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": text})


def _spell(
    message: Mapping[str, Any],
    path: str,
    names: dict[str, str],
    dropped: list[str],
    problems: list[str],
) -> dict[str, Any]:
    """Spell one. ``names`` keeps the functions' names by the ids of their calls."""
    role = message["role"]
    spelt: dict[str, Any] = {"role": _ROLES.get(role, role)}
    text, images = _content(message.get("content"), path, problems)
    spelt["content"] = text
    if images:
        spelt["images"] = images
    if isinstance(message.get("reasoning"), str):
        spelt["thinking"] = message["reasoning"]
    if message.get("tool_calls"):
        spelt["tool_calls"] = [
            _call(call, f"{path}.tool_calls[{place}]", names, problems)
            for place, call in enumerate(message["tool_calls"])
        ]
    if "tool_call_id" in message:
        spelt["tool_call_id"] = message["tool_call_id"]
    name = message.get("name")
    if spelt["role"] == "tool":
        name = name or names.get(message.get("tool_call_id", ""))
        if name:
            spelt["tool_name"] = name
    elif name is not None:
        dropped.append("name")
    return spelt


def _content(content: Any, path: str, problems: list[str]) -> tuple[str, list[str]]:
    if not isinstance(content, list):
        return content or "", []
    texts, images = [], []
    for place, part in enumerate(content):
        if part.get("type") == "text":
            texts.append(part["text"])
            continue
        url = part["image_url"]["url"]
        start = _IMAGE.match(url)
        if start is None:
            problems.append(
                f"{path}.content[{place}]: Ollama takes images as data:image/…;base64 alone; "
                "fetch it and send it so"
            )
        else:
            images.append(url[start.end() :])
    return "\n".join(texts), images


def _call(
    call: Mapping[str, Any], path: str, names: dict[str, str], problems: list[str]
) -> dict[str, Any]:
    function = call["function"]
    names[call["id"]] = function["name"]
    try:
        arguments = orjson.loads(function["arguments"] or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        problems.append(f"{path}.function.arguments: must be a JSON object for Ollama")
    return {
        "id": call["id"],
        "function": {"name": function["name"], "arguments": arguments},
    }
