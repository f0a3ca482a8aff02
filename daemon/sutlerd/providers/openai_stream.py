"""A chat stream in OpenAI's shape, read event by event. Pure.

Complete is a stream that gave its finish reason; ``[DONE]`` or the end only says that nothing
follows. Usage comes before, with or after the finish reason, in a chunk with no choices or in
every chunk (then the last counts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sutlerd.domain.reply import Delta, Reply, ToolCallDelta
from sutlerd.domain.usage import UNKNOWN_USAGE, Usage
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.error_words import ErrorWords, words_of
from sutlerd.providers.event_reader import EventReader
from sutlerd.providers.failures import lost
from sutlerd.providers.openai_read import (
    BROKEN_OFF,
    listed,
    make_reply,
    read_model,
    read_text,
    read_usage,
)
from sutlerd.providers.sse import Event
from sutlerd.providers.tool_calls import ToolCallAssembler


class OpenAIStreamReader(EventReader):
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
        self._model = asked_model
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._tools = ToolCallAssembler()
        self._finish: str | None = None
        self._usage: Usage = UNKNOWN_USAGE

    def take_event(self, event: Event) -> Delta | Reply | None:
        if event.data == b"[DONE]":
            return self.close()
        chunk = read_object(event.data)
        if chunk.get("error") or event.name == "error":
            raise self._judge(words_of(chunk))
        return self._take(chunk)

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
            self.count_chars(len(refusal))
        pieces = self._take_calls(delta) if "tool_calls" in delta else ()
        self.count_chars(len(content) + len(reasoning))
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
            self.count_chars(len(piece.arguments))
            if piece.arguments or piece.name:
                pieces.append(piece)
        return tuple(pieces)

    def close(self) -> Reply:
        if self._finish is None:
            raise lost("cut", "the stream ended without a finish reason: the answer is not whole")
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
