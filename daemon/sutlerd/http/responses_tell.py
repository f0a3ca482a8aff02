"""From replies to OpenAI's Responses shape: whole, and as the events of a stream. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

Reply = Mapping[str, Any]
Item = dict[str, Any]


def response(
    reply: Reply | None, *, answer_id: str, created_unix_s: int, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the response object; without a reply, that of one under way."""
    told: dict[str, Any] = {
        "id": f"resp_{answer_id}",
        "object": "response",
        "created_at": created_unix_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "metadata": asked.get("metadata") or {},
        "model": str(asked.get("model") or ""),
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": asked.get("temperature"),
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": asked.get("tools") or [],
        "top_p": asked.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": asked.get("user"),
    }
    if reply is None:
        return told
    told["model"] = reply["model"]
    told["output"] = _items(reply, answer_id)
    told["usage"] = _usage(reply["usage"])
    told["status"] = "completed"
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}
    if reply["finish_reason"] in why:
        told["status"] = "incomplete"
        told["incomplete_details"] = {"reason": why[reply["finish_reason"]]}
    return told


def _items(reply: Reply, answer_id: str) -> list[Item]:
    items: list[Item] = []
    if reply["reasoning"]:
        items.append(reasoning_item(answer_id, reply["reasoning"]))
    if reply["content"] or not reply["tool_calls"]:
        items.append(message_item(answer_id, reply["content"], "completed"))
    for place, call in enumerate(reply["tool_calls"] or ()):
        function = call["function"]
        items.append(
            call_item(f"{answer_id}_{place}", call["id"], function["name"], function["arguments"])
        )
    return items


def reasoning_item(answer_id: str, text: str) -> Item:
    return {
        "id": f"rs_{answer_id}",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}],
    }


def message_item(answer_id: str, text: str | None, status: str) -> Item:
    content = [] if text is None else [text_part(text)]
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(
    item_id: str, call_id: str, name: str, arguments: str, status: str = "completed"
) -> Item:
    return {
        "id": f"fc_{item_id}",
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def _usage(counts: Mapping[str, int | None]) -> dict[str, Any] | None:
    if counts["prompt_tokens"] is None or counts["completion_tokens"] is None:
        return None
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": counts["cached_tokens"] or 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": counts["reasoning_tokens"] or 0},
        "total_tokens": counts["total_tokens"],
    }


class ResponseEvents:
    """The events of one stream, numbered. An item is open until one of another kind begins."""

    def __init__(self, *, answer_id: str, created_unix_s: int, asked: Mapping[str, Any]) -> None:
        self._answer_id = answer_id
        self._whole: dict[str, Any] = {"created_unix_s": created_unix_s, "asked": asked}
        self._sequence = -1
        self._index = -1
        self._place: tuple[str, int] | None = None
        self._item: Item = {}
        self._text: list[str] = []
        self.output: list[Item] = []

    def start(self) -> bytes:
        begun = response(None, answer_id=self._answer_id, **self._whole)
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def pieces(self, pieces: Sequence[bytes]) -> bytes:
        written: list[bytes] = []
        for piece in pieces:
            read = orjson.loads(b"{" + piece + b"}")
            if read.get("reasoning"):
                self._reason(read["reasoning"], written)
            if read["delta"]:
                self._say(read["delta"], written)
            for call in read.get("tool_calls") or ():
                self._call(call, written)
        return b"".join(written)

    def end(self, reply: Reply) -> bytes:
        written: list[bytes] = []
        if not reply["tool_calls"] and not reply["content"]:
            self._say("", written)
        self._close(written)
        whole = response(reply, answer_id=self._answer_id, **self._whole)
        whole["output"] = self.output
        name = "response.completed" if whole["status"] == "completed" else "response.incomplete"
        written.append(self._event(name, response=whole))
        return b"".join(written)

    def failed(self, error: Mapping[str, Any]) -> bytes:
        """Give the events that end a stream which had begun."""
        told = {"code": error["code"] or "server_error", "message": error["message"]}
        return self._event("error", **told, param=error["param"])

    def _reason(self, text: str, written: list[bytes]) -> None:
        if self._place != ("reasoning", 0):
            item = {**reasoning_item(self._answer_id, ""), "summary": []}
            self._open(("reasoning", 0), item, written)
            part = {"type": "summary_text", "text": ""}
            written.append(self._in("response.reasoning_summary_part.added", 0, part=part))
        self._text.append(text)
        written.append(self._in("response.reasoning_summary_text.delta", 0, delta=text))

    def _say(self, text: str, written: list[bytes]) -> None:
        if self._place != ("message", 0):
            item = message_item(self._answer_id, None, "in_progress")
            self._open(("message", 0), item, written)
            written.append(self._in("response.content_part.added", None, part=text_part("")))
        self._text.append(text)
        if text:
            written.append(self._in("response.output_text.delta", None, delta=text, logprobs=[]))

    def _call(self, call: Mapping[str, Any], written: list[bytes]) -> None:
        function = call["function"]
        place = ("function_call", call["index"])
        if self._place != place:
            item = call_item(
                f"{self._answer_id}_{call['index']}",
                call.get("id") or "",
                function.get("name") or "",
                "",
                "in_progress",
            )
            self._open(place, item, written)
        arguments = function.get("arguments")
        if arguments:
            self._text.append(arguments)
            name = "response.function_call_arguments.delta"
            written.append(self._event(name, **self._where(), delta=arguments))

    def _open(self, place: tuple[str, int], item: Item, written: list[bytes]) -> None:
        self._close(written)
        self._place, self._item, self._text = place, item, []
        self._index += 1
        written.append(
            self._event("response.output_item.added", output_index=self._index, item=item)
        )

    def _close(self, written: list[bytes]) -> None:
        if self._place is None:
            return
        text, kind = "".join(self._text), self._place[0]
        if kind == "message":
            written.append(self._in("response.output_text.done", None, text=text, logprobs=[]))
            written.append(self._in("response.content_part.done", None, part=text_part(text)))
            done = message_item(self._answer_id, text, "completed")
        elif kind == "reasoning":
            part = {"type": "summary_text", "text": text}
            written.append(self._in("response.reasoning_summary_text.done", 0, text=text))
            written.append(self._in("response.reasoning_summary_part.done", 0, part=part))
            done = reasoning_item(self._answer_id, text)
        else:
            done = {**self._item, "arguments": text, "status": "completed"}
            named = {"name": done["name"], "arguments": text}
            written.append(
                self._event("response.function_call_arguments.done", **self._where(), **named)
            )
        written.append(
            self._event("response.output_item.done", output_index=self._index, item=done)
        )
        self.output.append(done)
        self._place = None

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._item["id"], "output_index": self._index}

    def _in(self, name: str, summary: int | None, **fields: Any) -> bytes:
        part = {"content_index": 0} if summary is None else {"summary_index": summary}
        return self._event(name, **self._where(), **part, **fields)

    def _event(self, name: str, /, **fields: Any) -> bytes:
        self._sequence += 1
        data = orjson.dumps({"type": name, "sequence_number": self._sequence, **fields})
        return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
