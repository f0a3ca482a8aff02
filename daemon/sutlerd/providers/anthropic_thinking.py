"""Thinking blocks of Anthropic's Messages, in the order in which an answer gave them. Pure.

They go back unchanged, signature and all, and only to the model that made them.
"""

from __future__ import annotations

from typing import Any

from sutlerd.providers.reasoning_state import Part, State, state_of

WIRE = "anthropic"


class Thoughts:
    """What an answer consists of, block by block, whole or in a stream."""

    def __init__(self) -> None:
        self._parts: dict[Any, Part] = {}

    def begin(self, index: Any, block: dict[str, Any]) -> None:
        kind = block.get("type")
        if kind == "thinking":
            said = {name: block.get(name) or "" for name in ("thinking", "signature")}
            self._parts[index] = {"type": kind, **said}
        elif kind == "redacted_thinking":
            self._parts[index] = {"type": kind, "data": block.get("data")}
        elif kind == "text":
            self._parts[index] = {"type": "text", "chars": len(block.get("text") or "")}
        elif kind == "tool_use":
            self._parts[index] = {"type": "call"}

    def go_on(self, index: Any, delta: dict[str, Any]) -> None:
        part = self._parts.get(index)
        if part is None:
            return
        for name in ("thinking", "signature"):
            if part["type"] == "thinking" and isinstance(delta.get(name), str):
                part[name] += delta[name]
        if part["type"] == "text" and isinstance(delta.get("text"), str):
            part["chars"] += len(delta["text"])

    def state(self, route: str) -> State | None:
        parts = list(self._parts.values())
        if not all(own_block(part) for part in parts if part["type"] not in ("text", "call")):
            return None  # without its signature thinking is refused
        return state_of(WIRE, route, parts)


def own_block(part: Part) -> Part | None:
    """Give a block that may go back, with the fields that it has and no others."""
    kind = part.get("type")
    names = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}.get(str(kind))
    if names is None or not all(isinstance(part.get(name), str) for name in names):
        return None
    if not part[names[-1]]:
        return None
    return {"type": kind, **{name: part[name] for name in names}}
