"""The dialect of Ollama's own API. Pure.

Its OpenAI side would be simpler, but there the context cannot be asked for: a prompt that is
longer than the server's default is cut without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.bounded_json import MAX_VECTOR_VALUES, read_object
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, RateLimitView, TokenCount
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.error_words import read_words
from sutlerd.providers.failures import bad_body, judge
from sutlerd.providers.ollama_build import build_chat, build_embed
from sutlerd.providers.ollama_read import (
    amend,
    finish,
    read_text,
    read_vectors,
    take_calls,
    words_without_status,
)
from sutlerd.providers.ollama_stream import OllamaStreamReader
from sutlerd.providers.tool_calls import ToolCallAssembler
from sutlerd.providers.transport import Response

#: Texts in one request: vectors come in decimals.
MAX_EMBED_TEXTS = 256
_AT_200 = Response(status=200, headers={}, body=b"")


class Ollama:
    """See ``dialect.Dialect``. ``keep_alive`` is how long the server keeps a model loaded
    after a call (``5m``, seconds, ``-1`` for ever); ``None`` leaves it to the server."""

    def __init__(self, *, provider: str, keep_alive: str | None = None) -> None:
        self.provider = provider
        self.keep_alive = keep_alive

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        # A local server asks for none; proxies in front of one do.
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_chat(request, model, traits, self.keep_alive)

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_embed(request, model, traits, self.keep_alive)

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return None

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {**body, "stream": True}

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        body = self._body(response)
        try:
            message = body.get("message")
            if not isinstance(message, dict):
                raise ValueError("no message")
            content, reasoning = read_text(message)
            tools = ToolCallAssembler(str(body.get("created_at", "")))
            take_calls(message, tools)
            return finish(
                body,
                body=built.body,
                content=content,
                reasoning=reasoning,
                tools=tools,
                asked_model=built.model,
                provider=self.provider,
            )
        except ValueError as error:
            raise bad_body(f"the reply cannot be used: {error}") from None

    def open_stream(self, built: BuiltRequest) -> OllamaStreamReader:
        return OllamaStreamReader(
            body=built.body,
            asked_model=built.model,
            provider=self.provider,
            judge=lambda error: self._judge_at_200(error, in_stream=True),
        )

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        body = self._body(response, max_values=MAX_VECTOR_VALUES)
        try:
            return read_vectors(
                body,
                texts=len(built.body["input"]),
                dimensions=built.body.get("dimensions"),
                asked_model=built.model,
                provider=self.provider,
            )
        except ValueError as error:
            raise bad_body(f"the vectors cannot be used: {error}") from None

    def read_count(self, response: Response) -> TokenCount:
        raise bad_body("Ollama does not count tokens")

    def classify(self, response: Response) -> AttemptFailed:
        words = read_words(response.body)
        return amend(judge(response, words=words), words)

    def limits(self, response: Response) -> RateLimitView | None:
        return None

    def _body(self, response: Response, **limits: int) -> dict[str, Any]:
        """Give the object that an answer is, unless it is an error of any status."""
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body, **limits)
        except ValueError as error:
            raise bad_body(f"the answer cannot be used: {error}") from None
        if body.get("error"):
            raise self._judge_at_200(body["error"], in_stream=False)
        return body

    def _judge_at_200(self, error: Any, *, in_stream: bool) -> AttemptFailed:
        words = words_without_status(error)
        return amend(judge(_AT_200, words=words, in_stream=in_stream), words)
