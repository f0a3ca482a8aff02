"""A chat stream in OpenAI's shape, read event by event. Pure.

Complete is a stream that gave its finish reason; ``[DONE]`` or the end only says that nothing
follows. Usage comes before, with or after the finish reason, in a chunk with no choices or in
every chunk (then the last counts). A server that does not stream answers with one JSON body:
that is noticed by its first character and read as the whole reply it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.dialect import MAX_REPLY_CHARS, MAX_STREAM_LINE_BYTES
from sutlerd.providers.error_words import ErrorWords, words_of
from sutlerd.providers.failures import bad_body, lost
from sutlerd.providers.openai_read import (
    BROKEN_OFF,
    listed,
    make_reply,
    read_model,
    read_text,
    read_usage,
)
from sutlerd.providers.sse import Event, EventSplitter
from sutlerd.providers.tool_calls import ToolCallAssembler

#: An answer that begins so is no event stream: JSON, or a page of HTML.
_BODY_STARTS = b"{[<"


class OpenAIStreamReader:
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
        self._provider = provider
        self._judge = judge
        self._read_whole = read_whole
        self._splitter = EventSplitter(MAX_STREAM_LINE_BYTES)
        self._model = asked_model
        self._whole: bytearray | None = None
        self._begun: bool = False
        self._done: bool = False
        self._failure: AttemptFailed | None = None
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._chars = 0
        self._tools = ToolCallAssembler()
        self._finish: str | None = None
        self._usage: Usage = UNKNOWN_USAGE

    def feed(self, data: bytes) -> Sequence[Delta | Reply]:
        if self._failure is not None:
            raise self._failure
        if self._done:
            return ()
        if not self._begun:
            data = data.lstrip()
            if not data:
                return ()
            self._begun = True
            if data[0] in _BODY_STARTS:
                self._whole = bytearray()
        if self._whole is not None:
            self._whole += data
            if len(self._whole) > MAX_STREAM_LINE_BYTES:
                raise bad_body("a body where a stream was asked for, and too long a one")
            return ()
        try:
            events = self._splitter.feed(data)
        except ValueError as error:
            raise _unreadable(error) from None
        return self._read(events, ends=False)

    def eof(self) -> Sequence[Delta | Reply]:
        if self._failure is not None:
            raise self._failure
        if self._done:
            return ()
        if self._whole is not None:
            reply = self._read_whole(bytes(self._whole))
            self._done = True
            return (*_as_pieces(reply), reply)
        return self._read(self._splitter.rest(), ends=True)

    def _read(self, events: Sequence[Event], *, ends: bool) -> list[Delta | Reply]:
        """Read events; keep a failure for the next call if there are pieces to give first."""
        items: list[Delta | Reply] = []
        try:
            for event in events:
                if event.data == b"[DONE]":
                    items.append(self._close())
                    return items
                chunk = read_object(event.data)
                if chunk.get("error") or event.name == "error":
                    raise self._judge(words_of(chunk))
                delta = self._take(chunk)
                if delta is not None:
                    items.append(delta)
            if ends:
                items.append(self._close())
        except AttemptFailed as failure:
            self._failure = failure
        except ValueError as error:
            self._failure = _unreadable(error)
        if self._failure is not None and not items:
            raise self._failure
        return items

    def _take(self, chunk: dict[str, Any]) -> Delta | None:
        """Take one chunk; give what it adds, ``None`` if that is nothing to pass on."""
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self._usage = read_usage(chunk) or self._usage
        if not self._tools.seed:
            self._tools.seed = str(chunk.get("id") or "")
            self._model = read_model(chunk) or self._model
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        choice = choices[0]
        if choice.get("error"):
            raise self._judge(words_of(choice["error"]))
        word = choice.get("finish_reason")
        if isinstance(word, str) and word:
            if word in BROKEN_OFF:
                raise self._judge(ErrorWords(message=f"the provider broke off: {word}"))
            self._finish = word
        delta = choice.get("delta")
        return self._take_delta(delta) if isinstance(delta, dict) else None

    def _take_delta(self, delta: dict[str, Any]) -> Delta | None:
        content, reasoning = read_text(delta)
        if content:
            self._content.append(content)
        if reasoning:
            self._reasoning.append(reasoning)
        refusal = delta.get("refusal")
        if isinstance(refusal, str):
            self._refusal.append(refusal)
            self._chars += len(refusal)
        pieces = self._take_calls(delta) if "tool_calls" in delta else ()
        self._chars += len(content) + len(reasoning)
        if self._chars > MAX_REPLY_CHARS:
            raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")
        if not content and not reasoning and not pieces:
            return None
        return Delta(content=content, reasoning=reasoning, tool_calls=pieces)

    def _take_calls(self, delta: dict[str, Any]) -> tuple[ToolCallDelta, ...]:
        pieces = []
        for call in listed(delta["tool_calls"]):
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            piece = self._tools.add(
                call.get("index"), call.get("id"), function.get("name"), function.get("arguments")
            )
            self._chars += len(piece.arguments)
            if piece.arguments or piece.name:
                pieces.append(piece)
        return tuple(pieces)

    def _close(self) -> Reply:
        """Nothing follows: give the reply, or say that the stream was cut."""
        if self._finish is None:
            raise lost("cut", "the stream ended without a finish reason: the answer is not whole")
        self._done = True
        return make_reply(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            refusal="".join(self._refusal),
            tools=self._tools,
            word=self._finish,
            model=self._model,
            provider=self._provider,
            usage=self._usage,
        )


def _unreadable(error: ValueError) -> AttemptFailed:
    return bad_body(f"the stream cannot be read: {error}")


def _as_pieces(reply: Reply) -> tuple[Delta, ...]:
    """Give a reply that came whole as the one piece that it is."""
    calls = tuple(
        ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(reply.tool_calls)
    )
    if not reply.content and not reply.reasoning and not calls:
        return ()
    return (Delta(content=reply.content, reasoning=reply.reasoning or "", tool_calls=calls),)
