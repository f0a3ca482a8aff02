"""From replies to Anthropic's shapes: whole messages, and the events of a stream in order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sutlerd.http import thoughts

Reply = Mapping[str, Any]

_STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def message(reply: Reply, *, answer_id: str) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    if reply["reasoning"]:
        blocks.append({"type": "thinking", "thinking": reply["reasoning"], "signature": ""})
    if reply["content"]:
        blocks.append({"type": "text", "text": reply["content"], "citations": None})
    for call in reply["tool_calls"] or ():
        function = call["function"]
        blocks.append(
            {
                "type": "tool_use",
                "id": call["id"],
                "name": function["name"],
                "input": _input(function["arguments"]),
            }
        )
    carrying = thoughts.carrying(reply)
    blocks += [carrying] if carrying is not None else []
    return {
        **_head(answer_id, reply["model"]),
        "content": blocks,
        "stop_reason": _STOPS[reply["finish_reason"]],
        "usage": usage(reply["usage"]),
    }


def usage(counts: Mapping[str, int | None]) -> dict[str, Any]:
    """Give the counts as they count: what was cached is no part of the input there.

    Their clients take numbers only; what the provider did not say is 0.
    """
    read, written = counts["cached_tokens"] or 0, counts["cache_write_tokens"] or 0
    return {
        "input_tokens": max(0, (counts["prompt_tokens"] or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": counts["completion_tokens"] or 0,
    }


def _head(answer_id: str, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }


def _input(arguments: str) -> Any:
    """Give a tool's input as JSON; arguments that are none stay the text that they are."""
    try:
        read = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return {"raw_arguments": arguments}
    return read if isinstance(read, dict) else {"raw_arguments": arguments}


class Events:
    """The events of one stream. A block is open until something of another kind comes."""

    def __init__(self, *, answer_id: str, model: str) -> None:
        self._head = _head(answer_id, model)
        self._index = -1
        self._open: tuple[str, int] | None = None

    def start(self) -> bytes:
        return event("message_start", message=self._head) + event("ping")

    def pieces(self, pieces: Sequence[bytes]) -> bytes:
        written: list[bytes] = []
        for piece in pieces:
            read = orjson.loads(b"{" + piece + b"}")
            if read.get("reasoning"):
                block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
                self._in(("thinking", 0), block, written)
                self._delta({"type": "thinking_delta", "thinking": read["reasoning"]}, written)
            if read["delta"]:
                self._in(("text", 0), {"type": "text", "text": ""}, written)
                self._delta({"type": "text_delta", "text": read["delta"]}, written)
            for call in read.get("tool_calls") or ():
                self._call(call, written)
        return b"".join(written)

    def end(self, reply: Reply) -> bytes:
        written: list[bytes] = []
        carrying = thoughts.carrying(reply)
        if carrying is not None:
            self._in(("redacted_thinking", 0), carrying, written)
        self._close(written)
        stop = {"stop_reason": _STOPS[reply["finish_reason"]], "stop_sequence": None}
        written.append(event("message_delta", delta=stop, usage=usage(reply["usage"])))
        written.append(event("message_stop"))
        return b"".join(written)

    def _call(self, call: Mapping[str, Any], written: list[bytes]) -> None:
        function = call["function"]
        block: dict[str, Any] = {
            "type": "tool_use",
            "id": call.get("id") or "",
            "name": function.get("name") or "",
            "input": {},
        }
        self._in(("tool_use", call["index"]), block, written)
        if function.get("arguments"):
            delta = {"type": "input_json_delta", "partial_json": function["arguments"]}
            self._delta(delta, written)

    def _in(self, place: tuple[str, int], block: dict[str, Any], written: list[bytes]) -> None:
        if self._open == place:
            return
        self._close(written)
        self._open = place
        self._index += 1
        written.append(event("content_block_start", index=self._index, content_block=block))

    def _delta(self, delta: dict[str, Any], written: list[bytes]) -> None:
        written.append(event("content_block_delta", index=self._index, delta=delta))

    def _close(self, written: list[bytes]) -> None:
        if self._open is not None:
            written.append(event("content_block_stop", index=self._index))
            self._open = None


def event(name: str, **fields: Any) -> bytes:
    return (
        f"event: {name}\n".encode() + b"data: " + orjson.dumps({"type": name, **fields}) + b"\n\n"
    )
