"""The dialect of Voyage: embeddings, and nothing else. Pure.

Near OpenAI's in shape, with other names: ``output_dimension``, ``input_type``, ``detail``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Embedded, Reply
from sutlerd.providers.bounded_json import MAX_VECTOR_VALUES, read_object
from sutlerd.providers.contract import AttemptFailed, BuiltRequest, RateLimitView, TokenCount
from sutlerd.providers.dialect import ModelTraits, StreamReader
from sutlerd.providers.failures import bad_body, judge
from sutlerd.providers.openai_embed import read_vectors
from sutlerd.providers.transport import Response

#: Texts in one request, and their tokens together by the first pattern in the model's name.
MAX_EMBED_TEXTS = 1000
CONTEXT_TOKENS = 32_000
_REQUEST_TOKENS: Final = (
    ("-lite", 1_000_000),
    ("-large", 120_000),
    ("-code", 120_000),
    ("-finance", 120_000),
    ("-law", 120_000),
    ("", 320_000),
)
#: Keys of the other house that serves the same models.
_OTHER_KEYS, _OTHER_ADDRESS = "al-", "https://ai.mongodb.com/v1"
_INPUT_TYPES = (None, "query", "document")
_NO_CHAT = (
    "params.provider: Voyage gives embeddings only; for an answer name a provider that has "
    "chat, such as anthropic, openai, ollama or the embedded model"
)


def max_request_tokens(model: str) -> int:
    """Give how many tokens the texts of one request may have together."""
    return next(tokens for pattern, tokens in _REQUEST_TOKENS if pattern in model)


def address_for(api_key: str | None, base_url: str, usual: str | None) -> str:
    """Give the address that a key belongs to, unless the operator named one."""
    if api_key is not None and api_key.startswith(_OTHER_KEYS) and base_url == usual:
        return _OTHER_ADDRESS
    return base_url


class Voyage:
    """See ``dialect.Dialect``."""

    def __init__(self, *, provider: str) -> None:
        self.provider = provider

    def auth_headers(self, api_key: str | None) -> Mapping[str, str]:
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        raise InvalidParams(_NO_CHAT)

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        problems = [
            f"params.extra.{name}: Voyage takes input_type only"
            for name in request.extra
            if name != "input_type"
        ]
        input_type = request.extra.get("input_type")
        if input_type not in _INPUT_TYPES:
            problems.append("params.extra.input_type: must be query, document or null")
        if problems:
            raise InvalidParams(problems)
        body: dict[str, Any] = {
            "model": model,
            "input": list(request.texts),
            "encoding_format": "base64",
            # By default it cuts what is too long, and nobody hears of it.
            "truncation": False,
        }
        if input_type is not None:
            body["input_type"] = input_type
        if request.dimensions is not None:
            body["output_dimension"] = request.dimensions
        return BuiltRequest(model=model, path="/embeddings", body=body)

    def build_count(
        self, asked: str | Sequence[dict[str, Any]], model: str, traits: ModelTraits
    ) -> BuiltRequest | None:
        return None

    def stream_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        raise InvalidParams(_NO_CHAT)

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        raise InvalidParams(_NO_CHAT)

    def open_stream(self, built: BuiltRequest) -> StreamReader:
        raise InvalidParams(_NO_CHAT)

    def read_embed(self, built: BuiltRequest, response: Response) -> Embedded:
        if not 200 <= response.status < 300:
            raise self.classify(response)
        try:
            body = read_object(response.body, max_values=MAX_VECTOR_VALUES)
            return read_vectors(
                body,
                texts=len(built.body["input"]),
                dimensions=built.body.get("output_dimension"),
                asked_model=built.model,
                provider=self.provider,
            )
        except ValueError as error:
            raise bad_body(f"the vectors cannot be used: {error}") from None

    def read_count(self, response: Response) -> TokenCount:
        raise bad_body("Voyage does not count tokens")

    def classify(self, response: Response) -> AttemptFailed:
        return judge(response)

    def limits(self, response: Response) -> RateLimitView | None:
        return None
