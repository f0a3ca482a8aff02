"""A stream of Anthropic's Messages, read event by event. Pure.

Complete is a stream that gave ``message_stop``. Events are told by the type in their data;
pings, new events and new kinds of deltas are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.providers.anthropic_read import make_reply, merge_counts, read_usage
from sutlerd.providers.anthropic_thinking import Thoughts
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.error_words import ErrorWords, words_of
from sutlerd.providers.event_reader import EventReader
from sutlerd.providers.failures import lost
from sutlerd.providers.openai_read import read_model
from sutlerd.providers.sse import Event
from sutlerd.providers.tool_calls import ToolCallAssembler


class AnthropicStreamReader(EventReader):
    """See ``dialect.StreamReader``. ``judge`` makes the failure of an error that came inside,
    ``read_whole`` reads a body that turned out to be no stream."""

    def __init__(
        self,
        *,
        asked_model: str,
        provider: str,
        judge: Callable[[ErrorWords], AttemptFailed],
        read_whole: Callable[[bytes], Reply],
    ) -> None:
        super().__init__(read_whole=read_whole)
        self._provider = provider
        self._judge = judge
        self._asked_model = asked_model
        self._model = asked_model
        self._thoughts = Thoughts()
        self._started = False
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._tools = ToolCallAssembler()
        #: Arguments that a block began with, for those that are given no pieces of them.
        self._whole_input: dict[Any, str] = {}
        self._stop_reason: str | None = None
        self._counts: dict[str, Any] = {}

    def take_event(self, event: Event) -> Delta | Reply | None:
        data = read_object(event.data)
        match data.get("type", event.name):
            case "content_block_delta":
                return self._take_delta(data)
            case "content_block_start":
                return self._begin_block(data)
            case "content_block_stop":
                return self._end_block(data.get("index"))
            case "message_start":
                self._begin(data.get("message"))
            case "message_delta":
                self._take_message_delta(data)
            case "message_stop":
                return self._finish()
            case "error":
                raise self._judge(words_of(data))
        return None

    def close(self) -> Reply:
        raise lost("cut", "the stream ended without message_stop: the answer is not whole")

    def _begin(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("no message in message_start")
        self._started = True
        self._tools.seed = str(message.get("id") or "")
        self._model = read_model(message) or self._model
        merge_counts(self._counts, message.get("usage"))

    def _begin_block(self, data: dict[str, Any]) -> Delta | None:
        block = data.get("content_block")
        if not isinstance(block, dict):
            return None
        self._thoughts.begin(data.get("index"), block)
        self.count_chars(len(str(block.get("data") or "")))
        if block.get("type") == "tool_use":
            index, given = data.get("index"), block.get("input")
            piece = self._tools.add(index, block.get("id"), block.get("name"))
            if isinstance(given, dict) and given:
                self._whole_input[_key(index)] = orjson.dumps(given).decode()
            return _calling(piece)
        text, thinking = block.get("text"), block.get("thinking")
        if block.get("type") == "text" and isinstance(text, str) and text:
            return self._said(text)
        if block.get("type") == "thinking" and isinstance(thinking, str) and thinking:
            return self._thought(thinking)
        return None

    def _take_delta(self, data: dict[str, Any]) -> Delta | None:
        delta = data.get("delta")
        if not isinstance(delta, dict):
            return None
        self._thoughts.go_on(data.get("index"), delta)
        kind = delta.get("type")
        if kind == "signature_delta":
            self.count_chars(len(str(delta.get("signature"))))
        if kind == "text_delta" and isinstance(delta.get("text"), str):
            return self._said(delta["text"])
        if kind == "thinking_delta" and isinstance(delta.get("thinking"), str):
            return self._thought(delta["thinking"])
        if kind == "input_json_delta" and delta.get("partial_json"):
            index = data.get("index")
            self._whole_input.pop(_key(index), None)
            return self._call(index, delta["partial_json"])
        return None

    def _end_block(self, index: Any) -> Delta | None:
        given = self._whole_input.pop(_key(index), None)
        return None if given is None else self._call(index, given)

    def _take_message_delta(self, data: dict[str, Any]) -> None:
        delta = data.get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
            self._stop_reason = delta["stop_reason"]
        merge_counts(self._counts, data.get("usage"))

    def _said(self, text: str) -> Delta | None:
        self.count_chars(len(text))
        self._content.append(text)
        return Delta(content=text) if text else None

    def _thought(self, text: str) -> Delta | None:
        self.count_chars(len(text))
        self._reasoning.append(text)
        return Delta(reasoning=text) if text else None

    def _call(self, index: Any, arguments: Any) -> Delta | None:
        piece = self._tools.add(index, None, None, arguments)
        self.count_chars(len(piece.arguments))
        return _calling(piece)

    def _finish(self) -> Reply:
        if not self._started:
            raise ValueError("message_stop without message_start")
        return make_reply(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            tools=self._tools,
            word=self._stop_reason,
            model=self._model,
            provider=self._provider,
            usage=read_usage(self._counts),
            reasoning_state=self._thoughts.state(f"{self._provider}/{self._asked_model}"),
        )


def _calling(piece: ToolCallDelta) -> Delta | None:
    return Delta(tool_calls=(piece,)) if piece.name or piece.arguments else None


def _key(index: Any) -> Any:
    return index if isinstance(index, int) else None
