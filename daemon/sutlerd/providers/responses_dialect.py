"""The dialect of OpenAI's Responses. Pure.

Joins the parts: ``responses_build`` and ``responses_items`` spell, ``responses_read`` and
``responses_stream`` read, ``failures`` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, RateLimitView, TokenCount
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.failures import bad_body, judge
from sutlerd.providers.hints import read_limits
from sutlerd.providers.openai_count import read_count
from sutlerd.providers.openai_switches import STANDARD_LIMITS
from sutlerd.providers.responses_build import build_count, build_response
from sutlerd.providers.responses_read import failure_words, read_response
from sutlerd.providers.responses_stream import ResponsesStreamReader
from sutlerd.providers.transport import Response

_AT_200 = Response(status=200, headers={}, body=b"")


class OpenAIResponses:
    """See ``dialect.Dialect``. ``provider`` is the endpoint's name, shown in replies."""

    def __init__(self, *, provider: str) -> None:
        self.provider = provider

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_response(request, model, traits, provider=self.provider)

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        raise InvalidParams("params.provider: there are no embeddings on this wire")

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return build_count(asked, model)

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # Padding against eavesdroppers who count bytes; costs more than it hides from a node
        # that shares one connection.
        return {**body, "stream": True, "stream_options": {"include_obfuscation": False}}

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body)
            words = failure_words(body)
            if words is not None:
                raise judge(response, words=words)
            return read_response(body, asked_model=built.model, provider=self.provider)
        except ValueError as error:
            raise bad_body(f"the reply cannot be used: {error}", status=response.status) from None

    def open_stream(self, built: BuiltRequest) -> ResponsesStreamReader:
        return ResponsesStreamReader(
            asked_model=built.model,
            provider=self.provider,
            judge=lambda words: judge(_AT_200, words=words, in_stream=True),
            read_whole=lambda body: self.read_reply(
                built, Response(status=200, headers={}, body=body)
            ),
        )

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        raise bad_body("there are no embeddings on this wire")

    def read_count(self, response: Response) -> TokenCount:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            return read_count(response.body)
        except ValueError as error:
            raise bad_body(f"the count cannot be used: {error}") from None

    def classify(self, response: Response) -> AttemptFailed:
        return judge(response, limits=self.limits(response))

    def limits(self, response: Response) -> RateLimitView | None:
        return read_limits(response.headers, STANDARD_LIMITS, response.arrived_unix_s)
