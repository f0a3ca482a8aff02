"""Encrypted reasoning of OpenAI's Responses, in its place among an answer's items. Pure.

The daemon has nothing kept by the vendor, so reasoning is given back by whoever goes on with the
conversation: unread, and only to the model that made it.
"""

from __future__ import annotations

from typing import Any

from sutlerd.providers.openai_read import listed
from sutlerd.providers.reasoning_state import Part, State, state_of

WIRE = "responses"
#: What a request asks for, so that its answer can be gone on with.
INCLUDE = "reasoning.encrypted_content"


def read_state(output: Any, route: str) -> State | None:
    """Give the state of an answer's items."""
    parts: list[Part] = []
    for item in listed(output):
        kind = item.get("type")
        if kind == "message":
            texts = [part.get("text") for part in listed(item.get("content"))]
            chars = sum(len(text) for text in texts if isinstance(text, str))
            parts.append({"type": "text", "chars": chars})
        elif kind == "function_call":
            parts.append({"type": "call"})
        elif kind == "reasoning":
            own = own_item(item)
            if own is None:
                return None  # without its content it cannot be found again
            parts.append(own)
    return state_of(WIRE, route, parts)


def own_item(item: Part) -> Part | None:
    """Give an item that may go back, with the fields that it has and no others."""
    content = item.get("encrypted_content")
    if item.get("type") != "reasoning" or not isinstance(content, str) or not content:
        return None
    summary = [
        {"type": "summary_text", "text": part["text"]}
        for part in listed(item.get("summary"))
        if isinstance(part.get("text"), str)
    ]
    own: Part = {"type": "reasoning", "summary": summary, "encrypted_content": content}
    return {**own, "id": item["id"]} if isinstance(item.get("id"), str) else own
