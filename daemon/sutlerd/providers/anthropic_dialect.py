"""The dialect of Anthropic's Messages, version 2026-10-21, and of servers that speak it. Pure.

Joins the parts: ``anthropic_build`` spells, ``anthropic_read`` and ``anthropic_stream`` read,
``failures`` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.anthropic_build import build_count, build_messages
from sutlerd.providers.anthropic_read import read_message
from sutlerd.providers.anthropic_stream import AnthropicStreamReader
from sutlerd.providers.bounded_json import read_object
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, RateLimitView, TokenCount
from sutlerd.providers.dialect import ModelTraits
from sutlerd.providers.error_words import words_of
from sutlerd.providers.failures import bad_body, judge
from sutlerd.providers.hints import LimitHeaders, read_limits
from sutlerd.providers.openai_read import read_tokens
from sutlerd.providers.transport import Response

VERSION: Final = "2026-10-21"
#: ``tokens`` is whichever limit is the tightest now.
LIMITS: Final = tuple(
    LimitHeaders(
        kind=kind,
        limit=f"anthropic-ratelimit-{stem}-limit",
        remaining=f"anthropic-ratelimit-{stem}-remaining",
        reset=f"anthropic-ratelimit-{stem}-reset",
    )
    for kind, stem in (
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("tokens_in", "input-tokens"),
        ("tokens_out", "output-tokens"),
    )
)
_AT_200 = Response(status=200, headers={}, body=b"")


class Anthropic:
    """See ``dialect.Dialect``. ``provider`` is the endpoint's name, shown in replies.

    ``mark_prefix``: long tools and instructions are marked for the provider's cache.
    ``old_key_header``: the key goes under ``x-api-key``, too, for servers that have not followed.
    """

    def __init__(
        self,
        *,
        provider: str,
        mark_prefix: bool = True,
        old_key_header: bool = False,
    ) -> None:
        self.provider = provider
        self._mark_prefix = mark_prefix
        self._old_key_header = old_key_header

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        headers = {"anthropic-version": VERSION}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
            if self._old_key_header:
                headers["x-api-key"] = api_key
        return headers

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return build_messages(
            request, model, traits, mark_prefix=self._mark_prefix, provider=self.provider
        )

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        raise InvalidParams(
            "params.provider: Anthropic has no embeddings; name a provider that has, such as "
            "voyage, openai, ollama or the embedded model"
        )

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return build_count(asked, model)

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {**body, "stream": True}

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body)
            if body.get("type") == "error" or body.get("error"):
                raise judge(response, words=words_of(body))
            return read_message(body, asked_model=built.model, provider=self.provider)
        except ValueError as error:
            raise bad_body(f"the reply cannot be used: {error}", status=response.status) from None

    def open_stream(self, built: BuiltRequest) -> AnthropicStreamReader:
        return AnthropicStreamReader(
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
            tokens = read_tokens(read_object(response.body).get("input_tokens"))
        except ValueError as error:
            raise bad_body(f"the count cannot be used: {error}") from None
        if tokens is None:
            raise bad_body("no count in the answer")
        # The provider itself calls it an estimate.
        return TokenCount(tokens=tokens, exact=False, method="provider")

    def classify(self, response: Response) -> AttemptFailed:
        return judge(response, limits=self.limits(response))

    def limits(self, response: Response) -> RateLimitView | None:
        return read_limits(response.headers, LIMITS, response.arrived_unix_s)
