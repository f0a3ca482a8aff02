"""From replies to OpenAI's shapes: chat completions and completions, whole and in chunks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Reply = Mapping[str, Any]
DONE = b"data: [DONE]\n\n"


def usage(counts: Mapping[str, int | None]) -> dict[str, Any] | None:
    """Give the counts, or ``None`` where the provider did not say."""
    if counts["prompt_tokens"] is None or counts["completion_tokens"] is None:
        return None
    return {
        "prompt_tokens": counts["prompt_tokens"],
        "completion_tokens": counts["completion_tokens"],
        "total_tokens": counts["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": counts["cached_tokens"] or 0},
        "completion_tokens_details": {"reasoning_tokens": counts["reasoning_tokens"] or 0},
    }


def summed(replies: Sequence[Reply]) -> dict[str, Any] | None:
    """Give the usage of all samples together; ``None`` if one is unknown."""
    total: dict[str, int | None] = {}
    for reply in replies:
        for name, count in reply["usage"].items():
            before = total.get(name, 0)
            total[name] = None if before is None or count is None else before + count
    return usage(total)


def chat(replies: Sequence[Reply], *, answer_id: str, created_unix_s: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer_id}",
        "object": "chat.completion",
        "created": created_unix_s,
        "model": replies[0]["model"],
        "choices": [
            {
                "index": number,
                "message": _message(reply),
                "logprobs": None,
                "finish_reason": reply["finish_reason"],
            }
            for number, reply in enumerate(replies)
        ],
        "usage": summed(replies),
        "system_fingerprint": None,
    }


def _message(reply: Reply) -> dict[str, Any]:
    calls = reply["tool_calls"]
    told: dict[str, Any] = {
        "role": "assistant",
        "content": reply["content"] if reply["content"] or not calls else None,
        "refusal": None,
    }
    if calls:
        told["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": call["function"]} for call in calls
        ]
    if reply["reasoning"]:
        told["reasoning_content"] = reply["reasoning"]
    return told


def completion(replies: Sequence[Reply], *, answer_id: str, created_unix_s: int) -> dict[str, Any]:
    return {
        "id": f"cmpl-{answer_id}",
        "object": "text_completion",
        "created": created_unix_s,
        "model": replies[0]["model"],
        "choices": [
            {
                "index": number,
                "text": reply["content"],
                "logprobs": None,
                "finish_reason": _text_finish(reply),
            }
            for number, reply in enumerate(replies)
        ],
        "usage": summed(replies),
    }


def _text_finish(reply: Reply) -> str:
    finish: str = reply["finish_reason"]
    return "stop" if finish == "tool_calls" else finish


class ChatChunks:
    """The events of one chat stream. ``model`` is what was asked for, until a reply says more."""

    def __init__(self, *, answer_id: str, created_unix_s: int, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{answer_id}",
            "object": "chat.completion.chunk",
            "created": created_unix_s,
            "model": model,
        }
        self._begun: set[int] = set()
        self._named: set[tuple[int, int]] = set()

    def pieces(self, number: int, pieces: Sequence[bytes]) -> bytes:
        """Write what came of sample ``number``."""
        written = [] if number in self._begun else [self._first(number)]
        written += [self._chunk(number, self._delta(number, piece)) for piece in pieces]
        return b"".join(written)

    def end(self, number: int, reply: Reply) -> bytes:
        first = b"" if number in self._begun else self._first(number)
        self._head["model"] = reply["model"]
        return first + self._chunk(number, {}, reply["finish_reason"])

    def usage(self, replies: Sequence[Reply]) -> bytes:
        return event({**self._head, "choices": [], "usage": summed(replies)})

    def _first(self, number: int) -> bytes:
        self._begun.add(number)
        return self._chunk(number, {"role": "assistant", "content": ""})

    def _delta(self, number: int, piece: bytes) -> dict[str, Any]:
        read = orjson.loads(b"{" + piece + b"}")
        delta: dict[str, Any] = {}
        if read["delta"]:
            delta["content"] = read["delta"]
        if read.get("reasoning"):
            delta["reasoning_content"] = read["reasoning"]
        if read.get("tool_calls"):
            delta["tool_calls"] = [self._call(number, call) for call in read["tool_calls"]]
        return delta

    def _call(self, number: int, call: dict[str, Any]) -> dict[str, Any]:
        place = (number, call["index"])
        if place not in self._named:
            self._named.add(place)
            return {**call, "type": "function"}
        return call

    def _chunk(self, number: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**self._head, "choices": [choice]})


class CompletionChunks:
    """The events of one stream of completions."""

    def __init__(self, *, answer_id: str, created_unix_s: int, model: str) -> None:
        self._head = {
            "id": f"cmpl-{answer_id}",
            "object": "text_completion",
            "created": created_unix_s,
            "model": model,
        }

    def pieces(self, number: int, pieces: Sequence[bytes]) -> bytes:
        texts = [orjson.loads(b"{" + piece + b"}")["delta"] for piece in pieces]
        return b"".join(self._chunk(number, text) for text in texts if text)

    def end(self, number: int, reply: Reply) -> bytes:
        self._head["model"] = reply["model"]
        return self._chunk(number, "", _text_finish(reply))

    def usage(self, replies: Sequence[Reply]) -> bytes:
        return event({**self._head, "choices": [], "usage": summed(replies)})

    def _chunk(self, number: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": number, "text": text, "logprobs": None, "finish_reason": finish}
        return event({**self._head, "choices": [choice]})


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
