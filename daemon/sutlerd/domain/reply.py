"""What a model said: whole replies, the pieces of a stream, and embeddings."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sutlerd.domain.record import record
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage


@record
class ToolCall:
    """A function the model wants called; ``arguments`` is always a JSON string, as sent.

    ``broken`` says that the string is not JSON: it is handed on as it is.
    """

    id: str
    name: str
    arguments: str
    broken: bool = False

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }
        if self.broken:
            wire["broken"] = True
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> ToolCall:
        function = wire["function"]
        return cls(
            id=wire["id"],
            name=function["name"],
            arguments=function["arguments"],
            broken=wire.get("broken", False),
        )


@record
class ToolCallDelta:
    """A piece of the tool call number ``index``; ``id`` and ``name`` come with its first."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""

    def to_wire(self) -> dict[str, Any]:
        function: dict[str, Any] = {"arguments": self.arguments}
        wire: dict[str, Any] = {"index": self.index, "function": function}
        if self.id is not None:
            wire["id"] = self.id
        if self.name is not None:
            function["name"] = self.name
        return wire


@record
class Delta:
    """One piece of a stream. Empty pieces are never passed on."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


@record
class Reply:
    """A whole answer of a model.

    ``finish_reason`` is one of ``stop``, ``length``, ``tool_calls``, ``content_filter``;
    a word of the provider's that no dialect knows becomes ``stop``, and stands in
    ``raw_finish_reason``, which is ``None`` for all known words.
    ``model`` is the one that served, ``provider`` the configured endpoint's name.
    ``reasoning_state`` is for the provider alone, with the results of ``tool_calls``.
    """

    content: str
    finish_reason: str
    model: str
    provider: str
    usage: Usage = UNKNOWN_USAGE
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    parsed: Any = None
    raw_finish_reason: str | None = None
    reasoning_state: dict[str, Any] | None = None

    def to_wire(self) -> dict[str, Any]:
        """Give the part of a wire reply that is the same for everyone who is given it."""
        carried = {} if self.reasoning_state is None else {"reasoning_state": self.reasoning_state}
        return {
            **carried,
            "content": self.content,
            "finish_reason": self.finish_reason,
            "tool_calls": [call.to_wire() for call in self.tool_calls] or None,
            "reasoning": self.reasoning,
            "parsed": self.parsed,
            "model": self.model,
            "provider": self.provider,
            "usage": self.usage.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Reply:
        return cls(
            content=wire["content"],
            finish_reason=wire["finish_reason"],
            model=wire["model"],
            provider=wire["provider"],
            usage=Usage.from_wire(wire["usage"]),
            tool_calls=tuple(ToolCall.from_wire(call) for call in wire["tool_calls"] or ()),
            reasoning=wire["reasoning"],
            parsed=wire["parsed"],
            reasoning_state=wire.get("reasoning_state"),
        )


@record
class Embedded:
    """Vectors for the texts of one call, in their order.

    Each of ``vectors`` is ``dimension`` little-endian float32 values.
    """

    vectors: tuple[bytes, ...]
    dimension: int
    model: str
    provider: str
    usage: Usage = field(default=UNKNOWN_USAGE)
