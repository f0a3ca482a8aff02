"""Answers in the shape of OpenAI's Responses, for the scripted provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.contract.answers import Answer, Step, http_answer, sse, stream_answer

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 4},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 29,
}


def said(text: str = "4") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


def refused(text: str = "I cannot") -> dict[str, Any]:
    part = {"type": "refusal", "refusal": text}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


def called(call_id: str | None, name: str, arguments: str = "", **fields: Any) -> dict[str, Any]:
    item = {"type": "function_call", "name": name, "arguments": arguments, **fields}
    return item if call_id is None else {"call_id": call_id, **item}


def thought(*texts: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "x"}


def response(*output: dict[str, Any], status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "gpt-served",
        "error": None,
        "incomplete_details": None,
        "output": list(output),
        "usage": USAGE,
        **fields,
    }


def openai_response(*output: dict[str, Any], **fields: Any) -> Answer:
    return http_answer(response(*(output or (said(),)), **fields), tokens_in=20, tokens_out=9)


def event(kind: str, **fields: Any) -> bytes:
    return sse({"type": f"response.{kind}", "sequence_number": 1, **fields})


def begin() -> bytes:
    begun = {"response": response(status="in_progress", usage=None)}
    return event("created", **begun) + event("in_progress", **begun)


def delta(text: str, *, kind: str = "output_text") -> bytes:
    return event(f"{kind}.delta", item_id="msg_1", output_index=0, delta=text, obfuscation="zz")


def end(*output: dict[str, Any], kind: str = "completed", **fields: Any) -> bytes:
    return event(kind, response=response(*output, status=kind, **fields))


def openai_response_stream(
    pieces: Sequence[str] = ("The", " answer", " is 4"),
    *,
    between: Iterable[Step] = (),
    headers: Mapping[str, str | int] | None = None,
) -> Answer:
    """Give a whole stream; ``between`` follows the first piece."""
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    parts: list[bytes | Step] = [begin() + event("output_item.added", output_index=0, item=item)]
    for number, piece in enumerate(pieces):
        parts.append(delta(piece))
        if number == 0:
            parts += between
    parts.append(end(said("".join(pieces))))
    return stream_answer(*parts, headers=headers, tokens_in=20, tokens_out=9)
