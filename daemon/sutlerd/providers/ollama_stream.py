"""A chat stream of Ollama's: a JSON object a line, the last one with ``done``. Pure.

Lines have no limit but ours: a whole tool call or an image may stand in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sutlerd.domain.reply import Delta, Reply
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed
from sutlerd.providers.dialect import MAX_REPLY_CHARS, MAX_STREAM_LINE_BYTES
from sutlerd.providers.failures import bad_body, lost
from sutlerd.providers.ollama_read import finish, read_text, take_calls
from sutlerd.providers.tool_calls import ToolCallAssembler


class LineSplitter:
    """Feed it bytes, get whole lines; blank ones are skipped."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Give the lines that are whole now. Raises ``ValueError`` over the limit."""
        searched = len(self._buffer)
        self._buffer += data
        # Only what is new is searched: a long line in small pieces would be quadratic.
        end = self._buffer.rfind(b"\n", searched)
        if end < 0:
            if len(self._buffer) > self._max_bytes:
                raise ValueError(f"a line over {self._max_bytes} bytes")
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        lines = [line for line in whole.split(b"\n") if line.strip()]
        if any(len(line) > self._max_bytes for line in lines):
            raise ValueError(f"a line over {self._max_bytes} bytes")
        return lines

    def rest(self) -> list[bytes]:
        """Give the line that lacked only its end."""
        return self.feed(b"\n")


class OllamaStreamReader:
    """See ``dialect.StreamReader``. ``judge`` makes the failure of an error within."""

    def __init__(
        self,
        *,
        body: dict[str, Any],
        asked_model: str,
        provider: str,
        judge: Callable[[Any], AttemptFailed],
    ) -> None:
        self._body = body
        self._asked_model = asked_model
        self._provider = provider
        self._judge = judge
        self._splitter = LineSplitter(MAX_STREAM_LINE_BYTES)
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._chars = 0
        self._tools = ToolCallAssembler()
        self._done = False
        self._failure: AttemptFailed | None = None

    def feed(self, data: bytes) -> Sequence[Delta | Reply]:
        return self._read(data, ends=False)

    def eof(self) -> Sequence[Delta | Reply]:
        return self._read(b"", ends=True)

    def _read(self, data: bytes, *, ends: bool) -> Sequence[Delta | Reply]:
        """Read lines; keep a failure for the next call if there are pieces to give first."""
        if self._failure is not None:
            raise self._failure
        items: list[Delta | Reply] = []
        try:
            for line in () if self._done else self._splitter.feed(data):
                items += self._take(read_object(line))
                if self._done:
                    return items
            if ends and not self._done:
                items += self._take_rest()
        except AttemptFailed as failure:
            self._failure = failure
        except ValueError as error:
            self._failure = bad_body(f"the stream cannot be read: {error}")
        if self._failure is not None and not items:
            raise self._failure
        return items

    def _take_rest(self) -> list[Delta | Reply]:
        """Take the line that lacked only its end; without a last one the stream was cut."""
        items: list[Delta | Reply] = []
        for line in self._splitter.rest():
            try:
                value = read_object(line)
            except ValueError:
                break
            items += self._take(value)
        if not self._done:
            raise lost("cut", "the stream ended before its last line: the answer is not whole")
        return items

    def _take(self, line: dict[str, Any]) -> list[Delta | Reply]:
        if line.get("error"):
            raise self._judge(line["error"])
        if not self._tools.seed:
            self._tools.seed = str(line.get("created_at") or "")
        message = line.get("message")
        items: list[Delta | Reply] = []
        if isinstance(message, dict):
            content, reasoning = read_text(message)
            pieces = tuple(take_calls(message, self._tools))
            self._content.append(content)
            self._reasoning.append(reasoning)
            self._chars += len(content) + len(reasoning)
            self._chars += sum(len(piece.arguments) for piece in pieces)
            if self._chars > MAX_REPLY_CHARS:
                raise ValueError(f"a reply over {MAX_REPLY_CHARS} characters")
            if content or reasoning or pieces:
                items.append(Delta(content=content, reasoning=reasoning, tool_calls=pieces))
        if line.get("done") is True:
            items.append(self._reply(line))
        return items

    def _reply(self, last: dict[str, Any]) -> Reply:
        reply = finish(
            last,
            body=self._body,
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            tools=self._tools,
            asked_model=self._asked_model,
            provider=self._provider,
        )
        self._done = True
        return reply
