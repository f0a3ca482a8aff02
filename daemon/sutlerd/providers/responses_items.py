"""Messages as input items of OpenAI's Responses. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.errors import InvalidParams
from sutlerd.providers.reasoning_state import in_order
from sutlerd.providers.responses_reasoning import WIRE, own_item

Item = dict[str, Any]
_INSTRUCTIONS = ("system", "developer")


def spell_items(
    messages: Sequence[Mapping[str, Any]], dropped: list[str], *, route: str = ""
) -> tuple[str, list[Item]]:
    """Give the instructions that come before all else, and the items of the rest in order.

    Later instructions stay where they stand. ``route`` is who will answer: reasoning goes back
    to whose it is, and to nobody else. Raises ``InvalidParams``.
    """
    instructions: list[str] = []
    items: list[Item] = []
    #: Calls that have no result yet, by their ids.
    waiting: dict[str, str] = {}
    for place, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if "name" in message and role != "function":
            dropped.append("name")
        if role in _INSTRUCTIONS and not items:
            instructions.append(_text(content))
        elif role in _INSTRUCTIONS:
            items.append({"role": "developer", "content": _text(content)})
        elif role == "assistant":
            for call in message.get("tool_calls") or ():
                waiting[call["id"]] = call["function"]["name"]
            items += _said(message, dropped, route)
        elif role == "user":
            items.append({"role": "user", "content": _parts(content)})
        else:
            items.append(_result(message, waiting, f"params.messages[{place}]"))
    if not items:
        raise InvalidParams("params.messages: there are only instructions among them")
    return "\n\n".join(instructions), items


def _said(message: Mapping[str, Any], dropped: list[str], route: str) -> list[Item]:
    calls = [
        {"type": "function_call", "call_id": call["id"], **call["function"]}
        for call in message.get("tool_calls") or ()
    ]
    thought = in_order(message, wire=WIRE, route=route, own=own_item, text=_assistant, calls=calls)
    if thought is not None:
        return thought
    if "reasoning_state" in message:
        dropped.append("reasoning_state")
    said = _text(message.get("content"))
    return [*([_assistant(said)] if said else []), *calls]


def _assistant(said: str) -> Item:
    return {"role": "assistant", "content": said}


def _result(message: Mapping[str, Any], waiting: dict[str, str], path: str) -> Item:
    own = message.get("tool_call_id")
    if own is None:
        # The old spelling names the function only: the first call of it that waits.
        own = next((id for id, name in waiting.items() if name == message["name"]), None)
    if own is None or own not in waiting:
        raise InvalidParams(f"{path}: answers no call that is before it")
    del waiting[own]
    output = _text(message.get("content"))
    return {"type": "function_call_output", "call_id": own, "output": output}


def _parts(content: Any) -> str | list[Item]:
    if not isinstance(content, list):
        return content or ""
    parts: list[Item] = []
    for part in content:
        if part.get("type") == "text":
            parts.append({"type": "input_text", "text": part["text"]})
        else:
            image = part["image_url"]
            detail = image.get("detail") or "auto"
            parts.append({"type": "input_image", "image_url": image["url"], "detail": detail})
    return parts


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""
