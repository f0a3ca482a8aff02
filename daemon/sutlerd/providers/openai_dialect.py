"""OpenAI's own service, which has two interfaces: each request goes to the one that takes it.

Newer models take functions only by the Responses interface, unless they are asked for no
reasoning, and some models have no other. Nobody who asks has to know. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, RateLimitView, TokenCount
from sutlerd.providers.dialect import Dialect, ModelTraits, StreamReader
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import OPENAI
from sutlerd.providers.responses_build import PATH
from sutlerd.providers.responses_dialect import OpenAIResponses
from sutlerd.providers.transport import Response


class OpenAI:
    """See ``dialect.Dialect``. ``provider`` is the endpoint's name, shown in replies."""

    def __init__(self, *, provider: str) -> None:
        self.provider = provider
        self._chat = OpenAIChat(provider=provider, switches=OPENAI)
        self._responses = OpenAIResponses(provider=provider)

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        return self._chat.auth_headers(api_key)

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        dialect = self._responses if _needs_responses(request, traits) else self._chat
        return dialect.build_chat(request, model, traits)

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        return self._chat.build_embed(request, model, traits)

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return self._responses.build_count(asked, model, traits)

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        dialect = self._chat if "messages" in body else self._responses
        return dialect.stream_body(body)

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        return self._of(built).read_reply(built, response)

    def open_stream(self, built: BuiltRequest) -> StreamReader:
        return self._of(built).open_stream(built)

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        return self._chat.read_embed(built, response)

    def read_count(self, response: Response) -> TokenCount:
        return self._responses.read_count(response)

    def classify(self, response: Response) -> AttemptFailed:
        return self._chat.classify(response)

    def limits(self, response: Response) -> RateLimitView | None:
        return self._chat.limits(response)

    def _of(self, built: BuiltRequest) -> Dialect:
        return self._responses if built.path == PATH else self._chat


def _needs_responses(request: ChatRequest, traits: ModelTraits) -> bool:
    if traits.api == "responses":
        return True
    at_no_effort = request.extra.get("reasoning_effort") == "none"
    return traits.api == "responses_for_functions" and bool(request.functions) and not at_no_effort
