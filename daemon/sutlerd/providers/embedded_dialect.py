"""How llama.cpp's server in the embedded child speaks: OpenAI's chat completions, and where it
falls short of them. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sutlerd.domain.call import ChatRequest, EmbedRequest
from sutlerd.domain.errors import InvalidParams
from sutlerd.domain.reply import Reply
from sutlerd.providers.contract import (
    AttemptFailed,
    BuiltRequest,
    Capabilities,
    Outcome,
    Verdict,
)
from sutlerd.providers.dialect import ModelTraits, StreamReader
from sutlerd.providers.embedded_calls import (
    CallReader,
    as_call,
    as_schema,
    is_forced,
    is_marked,
    marked,
)
from sutlerd.providers.error_words import read_words
from sutlerd.providers.openai_chat import OpenAIChat
from sutlerd.providers.openai_switches import LLAMA_CPP
from sutlerd.providers.transport import Response

#: Texts in one attempt. They are embedded one after the other, and all again if one fails.
MAX_EMBED_TEXTS = 32

#: Sampling and nothing else: further fields of the server choose slots, lengths and files.
_EXTRA_FIELDS = frozenset(
    {
        "chat_template_kwargs",
        "dry_allowed_length",
        "dry_base",
        "dry_multiplier",
        "dynatemp_exponent",
        "dynatemp_range",
        "frequency_penalty",
        "grammar",
        "ignore_eos",
        "logit_bias",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "presence_penalty",
        "repeat_last_n",
        "repeat_penalty",
        "samplers",
        "top_k",
        "top_n_sigma",
        "typical_p",
        "xtc_probability",
        "xtc_threshold",
    }
)

_TEXT_TOO_LONG = re.compile(
    r"input \((?P<needed>\d{1,12}) tokens\) is too large to process.*"
    r"batch size: (?P<allowed>\d{1,12})"
)


#: The server reads a model's own marks in what somebody says as if it had set them itself.
_MARK = re.compile(r"<\|(?=[A-Za-z0-9_]{1,40}\|>)")
_BROKEN_MARK = "<\u2060|"


class EmbeddedDialect(OpenAIChat):
    """See ``dialect.Dialect``."""

    def __init__(self, *, provider: str) -> None:
        super().__init__(provider=provider, switches=LLAMA_CPP)

    def build_chat(self, request: ChatRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        problems = [
            f"params.extra.{name}: the embedded model takes sampling parameters only"
            for name in request.extra
            if name not in _EXTRA_FIELDS
        ]
        if problems:
            raise InvalidParams(problems)
        said = tuple(_without_marks(message) for message in request.messages)
        request = replace(request, messages=said)
        if is_forced(request):
            return marked(super().build_chat(as_schema(request), model, traits))
        return super().build_chat(request, model, traits)

    def read_reply(self, built: BuiltRequest, response: Response) -> Reply:
        reply = super().read_reply(built, response)
        return as_call(reply, built.body) if is_marked(built.body) else reply

    def open_stream(self, built: BuiltRequest) -> StreamReader:
        reader = super().open_stream(built)
        return CallReader(reader, built.body) if is_marked(built.body) else reader

    def build_embed(self, request: EmbedRequest, model: str, traits: ModelTraits) -> BuiltRequest:
        own = traits.capabilities.dimension
        if request.dimensions not in (None, own):
            gives = "its own dimension" if own is None else f"{own} dimensions"
            raise InvalidParams(f"params.dimensions: the embedded model always gives {gives}")
        problems = [
            f"params.extra.{name}: the embedded model takes nothing more with texts"
            for name in request.extra
        ]
        if problems:
            raise InvalidParams(problems)
        return super().build_embed(request, model, traits)

    def classify(self, response: Response) -> AttemptFailed:
        """Judge an error; a status of 500 here is also said of requests that never fit."""
        failure = super().classify(response)
        message = read_words(response.body).message
        found = _TEXT_TOO_LONG.search(message)
        if found is not None:
            failure.verdict, failure.kind = Verdict.TOO_LONG, "too_long"
            needed, allowed = int(found["needed"]), int(found["allowed"])
            failure.tokens_needed, failure.tokens_allowed = needed, allowed
            failure.message = f"a text of {needed} tokens; the model embeds at most {allowed}"
            failure.args = (failure.message,)
        elif response.status == 500 and "not supported" in message:
            failure.verdict = Verdict.REFUSED
        # It works for nobody but us: what it answered with an error has cost nothing.
        failure.outcome = Outcome.NOT_BILLED
        return failure


def _without_marks(message: dict[str, Any]) -> dict[str, Any]:
    """Break what would end a message, or begin one of another role, by a character that is
    not seen."""
    content = message.get("content")
    if isinstance(content, str):
        return (
            {**message, "content": _MARK.sub(_BROKEN_MARK, content)} if "<|" in content else message
        )
    if isinstance(content, list):
        parts = [
            {**part, "text": _MARK.sub(_BROKEN_MARK, part["text"])}
            if isinstance(part.get("text"), str)
            else part
            for part in content
        ]
        return {**message, "content": parts}
    return message


def traits_of(*, context_tokens: int, dimension: int | None) -> ModelTraits:
    """Give what the embedded model takes."""
    return ModelTraits(
        capabilities=Capabilities(
            embed=True,
            # It may be told of functions, and seldom calls one unless it must.
            functions=False,
            count_tokens_exact=True,
            context_tokens=context_tokens,
            max_embed_texts=MAX_EMBED_TEXTS,
            dimension=dimension,
        ),
        refuses=frozenset({"images"}),
    )
