"""A stream of OpenAI's Responses, read event by event. Pure.

Complete is a stream that gave ``response.completed`` or ``response.incomplete``; its usage
stands there. Events are told by the type in their data, and unknown ones are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.error_words import ErrorWords, words_of
from sutlerd.providers.event_reader import EventReader, as_pieces
from sutlerd.providers.failures import lost
from sutlerd.providers.responses_read import ReplyParts, failure_words, judged_words
from sutlerd.providers.sse import Event

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponsesStreamReader(EventReader):
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
        self._asked_model = asked_model
        self._provider = provider
        self._judge = judge
        self._parts = ReplyParts()
        #: Numbers of the calls by the names that events give their items.
        self._calls: dict[str, int] = {}
        #: By number: whether its arguments have begun to come.
        self._given: list[bool] = []
        self._ended: Reply | None = None

    def take_event(self, event: Event) -> Delta | Reply | None:
        if self._ended is not None or event.data == b"[DONE]":
            return self.close()
        data = read_object(event.data)
        kind = data.get("type", event.name)
        match kind:
            case "response.output_text.delta":
                return self._take_text(data, self._parts.content)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._take_text(data, self._parts.reasoning)
            case "response.refusal.delta":
                self._take_text(data, self._parts.refusal)
            case "response.output_item.added":
                return self._begin_item(data)
            case "response.function_call_arguments.delta":
                return self._take_arguments(
                    data, data.get("item_id"), data.get("delta"), whole=False
                )
            case "response.output_item.done":
                return self._end_item(data)
            case "response.created":
                response = data.get("response")
                if isinstance(response, dict):
                    self._parts.tools.seed = str(response.get("id") or "")
            case "error":
                raise self._judge(judged_words(words_of(data)))
        return self._end(data.get("response")) if kind in _ENDS else None

    def close(self) -> Reply:
        if self._ended is None:
            raise lost("cut", "the stream ended without response.completed: it is not whole")
        return self._ended

    def _end(self, response: Any) -> Delta | Reply:
        if not isinstance(response, dict):
            raise ValueError("no response in the last event")
        words = failure_words(response)
        if words is not None:
            raise self._judge(words)
        parts = self._parts
        came_whole = not (parts.content or parts.reasoning or parts.refusal or self._calls)
        if came_whole:
            parts.take_output(response.get("output"))
        reply = parts.reply(response, asked_model=self._asked_model, provider=self._provider)
        pieces = as_pieces(reply) if came_whole else ()
        if not pieces:
            return reply
        # What was never streamed is passed on first; the reply follows with the next event, or
        # with the stream's end.
        self._ended = reply
        return pieces[0]

    def _take_text(self, data: dict[str, Any], into: list[str]) -> Delta | None:
        text = data.get("delta")
        if not isinstance(text, str) or not text:
            return None
        self.count_chars(len(text))
        into.append(text)
        if into is self._parts.content:
            return Delta(content=text)
        return Delta(reasoning=text) if into is self._parts.reasoning else None

    def _begin_item(self, data: dict[str, Any]) -> Delta | None:
        item = data.get("item")
        if not isinstance(item, dict) or item.get("type") != "function_call":
            return None
        number = len(self._given)
        self._given.append(False)
        for name in _names(data, item.get("id")):
            self._calls[name] = number
        return _calling(self._parts.tools.add(number, item.get("call_id"), item.get("name")))

    def _end_item(self, data: dict[str, Any]) -> Delta | None:
        """Take the arguments of a call that was given no pieces of them."""
        item = data.get("item")
        if not isinstance(item, dict) or item.get("type") != "function_call":
            return None
        return self._take_arguments(data, item.get("id"), item.get("arguments"), whole=True)

    def _take_arguments(
        self, data: dict[str, Any], item_id: Any, arguments: Any, *, whole: bool
    ) -> Delta | None:
        known = (self._calls.get(name) for name in _names(data, item_id))
        number = next((number for number in known if number is not None), None)
        if number is None or (whole and self._given[number]):
            return None
        self._given[number] = True
        piece = self._parts.tools.add(number, None, None, arguments)
        self.count_chars(len(piece.arguments))
        return _calling(piece)


def _calling(piece: ToolCallDelta) -> Delta | None:
    return Delta(tool_calls=(piece,)) if piece.name or piece.arguments else None


def _names(data: dict[str, Any], item_id: Any) -> list[str]:
    """Give the names under which an event's item may be known."""
    index = data.get("output_index")
    names = [f"index {index}"] if isinstance(index, int) else []
    return [*names, f"id {item_id}"] if isinstance(item_id, str) else names
