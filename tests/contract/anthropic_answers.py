"""Answers in the shape of Anthropic's Messages, for the scripted provider."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.contract.answers import Answer, Step, http_answer, stream_answer


def counts(tokens_in: int = 9, tokens_out: int = 3, **more: Any) -> dict[str, Any]:
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, **more}


def message(
    *content: dict[str, Any], stop_reason: str | None = "end_turn", **fields: Any
) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-served",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": counts(),
        **fields,
    }


def text(words: str = "4") -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool_use(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def anthropic_message(
    *content: dict[str, Any], headers: Mapping[str, str | int] | None = None, **fields: Any
) -> Answer:
    body = message(*(content or (text(),)), **fields)
    return http_answer(
        body, headers={"request-id": "req_1", **(headers or {})}, tokens_in=9, tokens_out=3
    )


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (
        kind.encode(),
        json.dumps({"type": kind, **fields}).encode(),
    )


def start(**usage: Any) -> bytes:
    begun = message(stop_reason=None, usage=counts(tokens_out=1, **usage))
    return event("message_start", message=begun)


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """Give one block's events, from its start to its stop."""
    parts = [event("content_block_start", index=index, content_block=content)]
    parts += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join([*parts, event("content_block_stop", index=index)])


def said(words: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": words}


def thought(words: str) -> dict[str, Any]:
    return {"type": "thinking_delta", "thinking": words}


def given(partial_json: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": partial_json}


def end(stop_reason: str | None = "end_turn", **usage: Any) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    usage = {"output_tokens": 3, **usage}
    return event("message_delta", delta=delta, usage=usage) + event("message_stop")


PING = event("ping")


def anthropic_stream(
    pieces: Sequence[str] = ("The", " answer", " is 4"),
    *,
    between: Iterable[Step] = (),
    headers: Mapping[str, str | int] | None = None,
) -> Answer:
    """Give a whole stream; ``between`` follows the first piece."""
    parts: list[bytes | Step] = [
        start() + event("content_block_start", index=0, content_block=text("")) + PING
    ]
    for number, piece in enumerate(pieces):
        parts.append(event("content_block_delta", index=0, delta=said(piece)))
        if number == 0:
            parts += between
    parts.append(event("content_block_stop", index=0) + end())
    return stream_answer(*parts, headers=headers, tokens_in=9, tokens_out=3)


def anthropic_error(
    status: int,
    type: str,
    message: str = "scripted failure",
    *,
    error_code: str | None = None,
    headers: Mapping[str, str | int] | None = None,
) -> Answer:
    error: dict[str, Any] = {"type": type, "message": message}
    if error_code is not None:
        error["details"] = {"error_code": error_code}
    body = {"type": "error", "error": error, "request_id": "req_1"}
    return http_answer(body, status=status, headers=headers)
